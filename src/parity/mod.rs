//! Golden cases: numbers that the reference implementation produced, beside those of the functions that train, sample and measure here.
//!
//! A folder holds an `index.json` (case name -> description) and safetensors files. Results that start with `f64.` are the truth; those
//! with `f32.` tell how far the reference's own f32 is from it. One file here for each kind of case.

mod compare;
mod control;
mod golden;
mod likelihood;
mod losses;
mod model;
mod ode;
mod pc;
mod sde;
mod train;

use std::fmt;

pub use compare::{Check, Report};
pub use golden::{Case, Index};

use crate::error::Result;

/// One case with what came out.
pub struct Row {
    pub case: String,
    pub kind: String,
    pub outcome: Outcome,
}

pub enum Outcome {
    /// Nothing here computes this kind.
    NotCovered,
    /// The case could not be read, or asks for something that does not exist here.
    Failed(String),
    Compared(Report),
}

/// A kind of case and how one is compared.
type Kind = (&'static str, fn(&Case) -> Result<Report>);

/// The kinds of cases that are computed here.
const KINDS: [Kind; 8] = [
    ("model", model::report),
    ("sde", sde::report),
    ("losses", losses::report),
    ("train", train::report),
    ("pc", pc::report),
    ("ode", ode::report),
    ("likelihood", likelihood::report),
    ("control", control::report),
];

/// The names of the kinds that are computed here.
pub fn kinds() -> [&'static str; KINDS.len()] {
    KINDS.map(|(name, _)| name)
}

/// Computes a case in f64 and in f32 and compares.
pub fn run(case: &Case) -> Row {
    let outcome = match KINDS.iter().find(|(name, _)| *name == case.kind()) {
        None => Outcome::NotCovered,
        Some((_, report)) => report(case).map_or_else(|error| Outcome::Failed(error.to_string()), Outcome::Compared),
    };
    Row { case: case.name().to_owned(), kind: case.kind().to_owned(), outcome }
}

impl Row {
    /// `None` where nothing was compared because the kind is not covered.
    pub fn ok(&self) -> Option<bool> {
        match &self.outcome {
            Outcome::NotCovered => None,
            Outcome::Failed(_) => Some(false),
            Outcome::Compared(report) => Some(report.ok()),
        }
    }

    /// The columns' names, for cases with names of up to `width` letters.
    pub fn header(width: usize) -> String {
        let precision = "abs      rel      tol    ";
        format!("{:width$}  {:10}  {:>7}  f64 {precision}  f32 {precision}  ok", "case", "kind", "checks")
    }

    /// One line, and one more for everything that is not as it should be.
    pub fn line(&self, width: usize) -> String {
        let start = format!("{:width$}  {:10}", self.case, self.kind);
        match &self.outcome {
            Outcome::NotCovered => format!("{start}  not covered: only {} are", kinds().join(", ")),
            Outcome::Failed(message) => format!("{start}  FAILED: {message}"),
            Outcome::Compared(report) => format!("{start}  {report}"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:7}", self.checks().len())?;
        for kind in [tch::Kind::Double, tch::Kind::Float] {
            match self.worst(kind) {
                Some(Check { relative, tolerance, .. }) => {
                    write!(f, "      {:<8.1e} {relative:<8.1e} {tolerance:<7.1e}", self.absolute(kind))?;
                }
                None => write!(f, "      {:<25}", "-")?,
            }
        }
        write!(f, "   {}", if self.ok() { "ok" } else { "FAILED" })?;
        for check in self.checks().iter().filter(|check| !check.ok()) {
            let Check { quantity, precision, absolute, relative, tolerance } = check;
            let precision = if *precision == tch::Kind::Double { "f64" } else { "f32" };
            write!(f, "\n    {precision}.{quantity} is off by {absolute:.1e}, {relative:.1e} relative, over {tolerance:.1e}")?;
        }
        for name in self.not_covered() {
            write!(f, "\n    {name} is not covered")?;
        }
        Ok(())
    }
}
