//! One reader, by name, under a fuzzer that sees which branches an input takes.
//!
//!     scripts/fuzz journal 600

#![no_main]

#[path = "../subjects.rs"]
mod subjects;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use subjects::{SUBJECTS, Subject};

static SUBJECT: LazyLock<Subject> = LazyLock::new(|| {
    let name = std::env::var("SCORE_SDE_FUZZ").unwrap_or_default();
    let subject = SUBJECTS.into_iter().find(|(known, _)| *known == name);
    subject.unwrap_or_else(|| panic!("SCORE_SDE_FUZZ is {name:?}; the subjects are {:?}", SUBJECTS.map(|(name, _)| name))).1
});

fuzz_target!(|bytes: &[u8]| SUBJECT(bytes));
