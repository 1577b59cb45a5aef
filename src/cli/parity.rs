//! `score-sde parity`: golden cases through the code here, one row each.

use std::path::Path;

use tch::Device;

use super::Common;
use crate::error::{Error, Result};
use crate::parity::{Case, Index, Row, run};

pub fn parity(index: &Path, cases: &[String], kinds: &[String], common: &Common) -> Result<()> {
    if !common.overrides.is_empty() || common.device != Device::Cpu {
        return Err(Error::Usage {
            message: "--set and --device have nothing to do here".into(),
            help: "golden cases are complete, and their numbers were made on the cpu".into(),
        });
    }
    tch::set_num_threads(common.threads.unwrap_or(1));
    let index = Index::open(index)?;
    let cases = index.select(cases, kinds)?;
    let width = cases.iter().map(|case: &Case| case.name().len()).max().unwrap_or(0);
    println!("{}", Row::header(width));
    let (mut ok, mut failed, mut not_covered) = (0, 0, 0);
    for case in &cases {
        let row = run(case);
        println!("{}", row.line(width));
        match row.ok() {
            Some(true) => ok += 1,
            Some(false) => failed += 1,
            None => not_covered += 1,
        }
    }
    println!("{ok} ok, {failed} failed, {not_covered} not covered");
    if failed > 0 {
        return Err(Error::Parity { failed, compared: ok + failed });
    }
    Ok(())
}
