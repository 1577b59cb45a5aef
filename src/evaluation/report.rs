//! What was compared, how, and what came of it.

use std::fmt;

use serde::Serialize;

use super::compare::Measure;
use super::table::About;

/// A comparison with its protocol.
#[derive(Serialize)]
pub struct Report {
    /// Of this program.
    pub version: &'static str,
    /// What everything random here is a function of.
    pub seed: u64,
    pub a: About,
    /// What `a` is compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b: Option<About>,
    pub measures: Vec<Measure>,
}

impl Report {
    pub fn new(seed: u64, a: About, b: Option<About>, measures: Vec<Measure>) -> Report {
        Report { version: env!("CARGO_PKG_VERSION"), seed, a, b, measures }
    }
}

/// Digits of a hash that a table shows.
const SHOWN: usize = 12;

/// A table of 80 columns, but for names that are longer.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (side, about) in [("A", Some(&self.a)), ("B", self.b.as_ref())] {
            let Some(About { name, count, shape, sha256, note, .. }) = about else { continue };
            writeln!(
                f,
                "{side}         {name}\n          {count} examples of shape {shape:?}, SHA-256 {}",
                sha256.get(..SHOWN).unwrap_or(sha256)
            )?;
            note.iter().flat_map(|note| note.split("; ")).try_for_each(|note| writeln!(f, "          {note}"))?;
        }
        writeln!(f, "features  {}\nseed      {}", self.a.features, self.seed)?;
        if !self.measures.is_empty() {
            writeln!(f, "\n{:<32}{:>14}{:>16}{:>18}", "", "value", "95 % interval", "if laws are equal")?;
        }
        for Measure { metric, estimate, equal_laws } in &self.measures {
            writeln!(f, "{metric:<32}{:>14.6}{:>16}{equal_laws:>18}", estimate.value, format!("± {:.6}", estimate.half_width))?;
        }
        Ok(())
    }
}
