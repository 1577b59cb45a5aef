//! What may change of an experiment while its run goes on: how long it trains and in which parts, and what is asked of it and not answered yet.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::origins::Origins;
use super::paths::{is_of_data, is_path};
use super::written::Experiment;
use crate::error::{Error, Result};
use crate::run::{ASKED, Asked, Run, checkpoint, journal, manifest};

const STEPS: &str = "train.steps";
/// How a batch is parted, which is for the machine at hand to say.
const MICRO_BATCH: &str = "train.micro_batch";

/// The keys in which an experiment differs from that of its run: (key, now, in the run).
pub(super) struct Changes(Vec<(String, String, String)>);

impl Changes {
    /// `same_data`: whatever their files are called, they hold the same. A path that leads nowhere any more is the one in the run, if that ends so.
    pub fn between(now: &Experiment, stored: &Experiment, same_data: bool) -> Changes {
        let mut differences = now.differences(stored);
        differences.retain(|(key, now, there)| !(same_data && is_of_data(key) || is_path(key) && is_end_of(now, there)));
        Changes(differences)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A line for each.
    pub fn lines(&self) -> Vec<String> {
        self.0.iter().map(|(key, now, there)| format!("{key}: {there} in the run, {now} now")).collect()
    }

    /// Writes the changes down, and drops what was half done with the old settings.
    ///
    /// Error: one of them would change what is done, or another run.
    pub fn accept(&self, run: &Run, origins: &Origins) -> Result<()> {
        let trained = checkpoint::steps(run)?.last().copied();
        let steps = self.0.iter().find(|(key, ..)| key == STEPS).and_then(|(_, now, _)| now.parse::<u64>().ok());
        let goes_further = steps.is_some_and(|steps| Some(steps) > trained);
        for (key, now, _) in &self.0 {
            match self.asked(key) {
                _ if key.ends_with(MICRO_BATCH) => {}
                Some(Asked { product, .. }) if goes_further || !run.has(&manifest(product)) => {}
                Some(Asked { table, .. }) => return Err(self.is_done(run, table)),
                None if key == STEPS && steps.is_some_and(|steps| Some(steps) >= trained) => {}
                None if key == STEPS => {
                    let message = format!("has trained {} steps already, and train.steps is {now}", trained.unwrap_or_default());
                    let help = "give more steps; or sample an earlier checkpoint, if it is kept: score-sde sample RUN --step N";
                    return Err(Error::run(run.path(), message, help));
                }
                None => return Err(self.is_another(run)),
            }
        }
        let dropped =
            |table: &str| steps.is_some() || self.0.iter().any(|(key, ..)| self.asked(key).is_some_and(|asked| asked.table == table));
        for Asked { table, product, journals } in ASKED {
            for kept in journals.iter().filter(|_| dropped(table) && !run.has(&manifest(product))) {
                journal::discard(run.folder(), kept)?;
            }
        }
        let changes: Map<String, Value> =
            self.0.iter().map(|(key, now, there)| (key.clone(), json!({ "from": there, "to": now }))).collect();
        let origins = origins.among(|key| self.0.iter().any(|(changed, ..)| changed == key));
        run.note("changed", json!({ "step": trained, "changes": changes, "origins": origins }))
    }

    fn asked(&self, key: &str) -> Option<Asked> {
        let table = key.split('.').next().unwrap_or_default();
        ASKED.into_iter().find(|asked| asked.table == table)
    }

    /// The changes as an error lists them.
    fn shown(&self) -> String {
        let lines = self.lines();
        let rest = lines.len().saturating_sub(8);
        let more = if rest > 0 { format!("\n  and {rest} more") } else { String::new() };
        lines.iter().take(8).map(|line| format!("\n  {line}")).collect::<String>() + &more
    }

    fn is_done(&self, run: &Run, table: &str) -> Error {
        let (path, verb) = (run.path().display(), if ["likelihood", "density"].contains(&table) { "likelihood" } else { "sample" });
        let message = format!("has done what [{table}] asked for:{}", self.shown());
        let help = format!("to have both results: score-sde {verb} {path} --set ...; or start a run of its own: --out DIR");
        Error::run(run.path(), message, help)
    }

    fn is_another(&self, run: &Run) -> Error {
        let help = format!(
            "to start this one as a run of its own, give it another folder: --out DIR\nto go on with the old one: score-sde run {}",
            run.path().display()
        );
        Error::run(run.path(), format!("holds a run of another experiment:{}", self.shown()), help)
    }
}

/// Whether a relative path, as TOML has it, is the end of another one.
fn is_end_of(path: &str, whole: &str) -> bool {
    let [path, whole] = [path, whole].map(|path| Path::new(path.trim_matches(['"', '\''])));
    path.is_relative() && whole.is_absolute() && whole.ends_with(path)
}
