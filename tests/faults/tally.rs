//! What became of each fault.

use std::collections::BTreeMap;
use std::fmt;

/// Something that is done to a run, and what is seen afterwards.
pub struct Fault<'a> {
    pub class: &'static str,
    pub name: String,
    pub act: Box<dyn FnOnce() -> Verdict + Send + 'a>,
}

#[derive(Debug)]
pub enum Verdict {
    /// As if nothing had happened.
    Whole,
    /// Refused by name with a cure; what was whole is whole, and without the fault the command ends as if nothing had happened.
    Refused,
    /// This machine can't do it.
    Impossible(String),
    /// Exit code 0 and another result.
    Different(String),
    /// Something that was there is gone, or half-made.
    Lost(String),
    /// A panic, an abort, or an error without a cure or with a wrong exit code.
    Panic(String),
    Hang(String),
}

/// What a step of a fault goes on with, or how the fault ends here.
pub type Step<T = ()> = Result<T, Verdict>;

#[derive(Default)]
pub struct Tally {
    classes: BTreeMap<&'static str, [usize; 7]>,
    failures: Vec<String>,
}

const COLUMNS: [&str; 7] = ["whole", "refused", "impossible", "silently different", "lost", "panics", "hangs"];

impl Tally {
    pub fn count(&mut self, class: &'static str, name: &str, verdict: Verdict) {
        let (column, failure) = match verdict {
            Verdict::Whole => (0, None),
            Verdict::Refused => (1, None),
            Verdict::Impossible(why) => {
                println!("not possible here: {class}: {name}: {why}");
                (2, None)
            }
            Verdict::Different(what) => (3, Some(what)),
            Verdict::Lost(what) => (4, Some(what)),
            Verdict::Panic(what) => (5, Some(what)),
            Verdict::Hang(what) => (6, Some(what)),
        };
        self.classes.entry(class).or_default()[column] += 1;
        if let Some(what) = failure {
            let line = format!("{class}: {name}: {}: {what}", COLUMNS[column]);
            println!("{line}");
            self.failures.push(line);
        }
    }

    /// Those that were done.
    pub fn faults(&self) -> usize {
        self.classes.values().map(|row| row.iter().sum::<usize>() - row[2]).sum()
    }

    pub fn is_clean(&self) -> bool {
        self.failures.is_empty()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "{:<10}{:>8}  {}", "class", "faults", COLUMNS.join("  "))?;
        for (class, row) in &self.classes {
            let cells: Vec<String> = row.iter().zip(COLUMNS).map(|(n, column)| format!("{n:>width$}", width = column.len())).collect();
            writeln!(f, "{class:<10}{:>8}  {}", row.iter().sum::<usize>() - row[2], cells.join("  "))?;
        }
        self.failures.iter().try_for_each(|failure| writeln!(f, "{failure}"))
    }
}
