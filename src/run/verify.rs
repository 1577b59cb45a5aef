//! Every file of a run read and judged.

use serde_json::Value;

use super::log::{METRICS, events, stamps};
use super::product::{self, Found};
use super::{AUTOENCODER, CLASSIFIER, EXPERIMENT, Run, checkpoint, journal};
use crate::error::Result;

/// What is known of a file, or of files that were made together.
#[derive(Debug, PartialEq)]
pub struct Finding {
    /// Relative to the run.
    pub name: String,
    pub state: State,
}

#[derive(Debug, PartialEq)]
pub enum State {
    /// As it was written.
    Whole,
    /// What is wrong, and what the next `score-sde run` makes of it.
    Damaged { what: String, cure: &'static str },
}

/// Judges run.json, checkpoints, products, journals and curves; of an autoencoder's run in the run, too.
pub fn verify(run: &Run) -> Result<Vec<Finding>> {
    let mut findings = vec![finding("run.json", run.about().map(drop).map_err(|e| e.to_string()), "it is made again")];
    for (name, judged) in checkpoint::judge(run)? {
        findings.push(finding(name, judged, "training goes on from the one before"));
    }
    for folder in ["", "samples", "lab"] {
        for name in run.folder().names(folder)? {
            let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            if let Some(product) = name.strip_suffix(".manifest") {
                let judged = match product::find(run.folder(), product)? {
                    Found::Damaged(what) => Err(what),
                    Found::Whole(_) | Found::Nothing => Ok(()),
                };
                findings.push(finding(format!("{product}.*"), judged, "it is made again"));
            } else if name.ends_with(".journal") {
                let bytes = run.read(&name)?.unwrap_or_default();
                findings.push(finding(name, journal::judge(&bytes), "what follows the damage is made again"));
            }
        }
    }
    let mut stamped = stamps::judge(run)?;
    stamped.retain(|_, judged| judged.is_some());
    let cure = "restore it from a copy, or remove curves.stamps and go on with the curves as they are";
    findings.extend(stamped.iter().map(|(name, judged)| finding(name, Err(judged.clone().unwrap_or_default()), cure)));
    if let Some(bytes) = run.read(METRICS)?.filter(|_| !stamped.contains_key(METRICS)) {
        findings.push(finding(METRICS, judge_lines(&bytes), "the next session drops the line"));
    }
    for name in events::files(run)?.into_iter().filter(|name| !stamped.contains_key(name)) {
        let bytes = run.read(&name)?.unwrap_or_default();
        findings.push(finding(name, events::judge(&bytes), "TensorBoard shows what is before the damage"));
    }
    for name in [AUTOENCODER, CLASSIFIER] {
        let inner = run.path().join(name);
        if inner.join(EXPERIMENT).is_file() {
            let of_inner = verify(&Run::reading(&inner)?)?;
            findings.extend(of_inner.into_iter().map(|finding| Finding { name: format!("{name}/{}", finding.name), ..finding }));
        }
    }
    Ok(findings)
}

fn finding(name: impl Into<String>, judged: Result<(), String>, cure: &'static str) -> Finding {
    let state = judged.map_or_else(|what| State::Damaged { what, cure }, |()| State::Whole);
    Finding { name: name.into(), state }
}

fn judge_lines(bytes: &[u8]) -> Result<(), String> {
    let wrong = |line: &[u8]| !line.ends_with(b"\n") || serde_json::from_slice::<Value>(line).is_err();
    match bytes.split_inclusive(|byte| *byte == b'\n').position(wrong) {
        None => Ok(()),
        Some(i) => Err(format!("line {} is no whole line of JSON", i + 1)),
    }
}
