//! Comments of an experiment's keys, from the words of the structs that parse them.

use crate::experiment::choices::{Names, names_at, words_at};
use crate::progress::wrapped;

/// Letters of a comment, beyond which sentences are left out.
const LONGEST: usize = 200;

/// An experiment's text with a comment above each key and table.
pub(super) fn commented(text: &str) -> String {
    let (mut table, mut shown) = (Vec::new(), String::new());
    for line in text.lines() {
        let words = if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            table = path(name);
            words_at(&table)
        } else {
            let key = line.split_once(" = ").map(|(key, _)| [&table[..], &path(key)[..]].concat());
            key.and_then(|key| words_at(said(&key)))
        };
        if let Some(words) = words {
            shown += &(wrapped(&short(&words), "# ", "# ") + "\n");
        }
        shown += &format!("{line}\n");
    }
    shown
}

fn path(key: &str) -> Vec<String> {
    key.split('.').map(|name| name.trim().to_owned()).collect()
}

/// Of a key the part that its comment is of: the first choice below its table, if there is one.
fn said(key: &[String]) -> &[String] {
    let chooses = (2..key.len()).find(|&n| key.len() > n && n > 1 && matches!(names_at(&key[..n]), Some(Names::Choices(_))));
    chooses.map_or(key, |n| &key[..=n])
}

/// Whole sentences as far as they go, without Markdown's links.
fn short(words: &str) -> String {
    let words = words.replace('\n', " ").replace("[`", "`").replace("`]", "`");
    let ends = words.match_indices(". ").map(|(place, _)| place + 1).filter(|end| *end >= 40 && !words[..*end].ends_with("app."));
    let end = ends.take_while(|end| *end <= LONGEST).last();
    match end {
        _ if words.len() <= LONGEST => words,
        Some(end) => words[..end].to_owned(),
        None => words.split_once(". ").map_or(words.clone(), |(first, _)| format!("{first}.")),
    }
}
