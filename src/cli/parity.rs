//! `score-sde parity`: golden cases through the code here, one row each.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::Form;
use crate::error::{Error, Result};
use crate::parity::{Case, Check, Index, Outcome, Row, kinds, run};

#[derive(Args, Debug)]
pub struct Arguments {
    /// An index.json of golden cases; tests/golden/README.md describes the format.
    index: PathBuf,
    /// Only this case. May be given many times.
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
    #[arg(long = "kind", value_name = "KIND,...", value_delimiter = ',', help = kinds_help())]
    kinds: Vec<String>,
    /// Threads of LibTorch.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=1024))]
    threads: i32,
    #[command(flatten)]
    form: Form,
}

fn kinds_help() -> String {
    format!("Only cases of these kinds: {}; cases of others are reported as not covered", kinds().join(", "))
}

pub fn parity(Arguments { index, cases, kinds, threads, form }: Arguments) -> Result<()> {
    tch::set_num_threads(threads);
    let index = Index::open(&index)?;
    let cases = index.select(&cases, &kinds)?;
    let width = cases.iter().map(|case: &Case| case.name().len()).max().unwrap_or(0);
    if !form.json {
        println!("{}", Row::header(width));
    }
    let (mut ok, mut failed, mut not_covered, mut reports) = (0, 0, 0, Vec::new());
    for case in &cases {
        let row = run(case);
        match form.json {
            true => reports.push(report(&row)),
            false => println!("{}", row.line(width)),
        }
        match row.ok() {
            Some(true) => ok += 1,
            Some(false) => failed += 1,
            None => not_covered += 1,
        }
    }
    match form.json {
        true => form.print(&json!(reports))?,
        false => println!("{ok} ok, {failed} failed, {not_covered} not covered"),
    }
    if failed > 0 {
        return Err(Error::Parity { failed, compared: ok + failed });
    }
    Ok(())
}

/// A row for programs; a check is of a quantity in one precision.
fn report(row: &Row) -> Value {
    let check = |check: &Check| {
        let Check { quantity, precision, absolute, relative, tolerance } = check;
        let precision = if *precision == tch::Kind::Double { "f64" } else { "f32" };
        json!({ "quantity": quantity, "precision": precision, "absolute": absolute, "relative": relative, "tolerance": tolerance })
    };
    let (checks, message) = match &row.outcome {
        Outcome::Compared(report) => (report.checks().iter().map(check).collect(), None),
        Outcome::Failed(message) => (Vec::new(), Some(message)),
        Outcome::NotCovered => (Vec::new(), None),
    };
    json!({ "case": row.case, "kind": row.kind, "ok": row.ok(), "checks": checks, "message": message })
}
