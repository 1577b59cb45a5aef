//! A run at a glance, by its files alone, also those of other versions.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::{ASKED, EXPERIMENT, LOCK, Run, checkpoint, manifest};
use crate::error::Result;

/// What a run is and how far it is.
#[derive(Debug, Serialize)]
pub struct Overview {
    pub run: PathBuf,
    /// The choice of `[sde]`, or the family without one.
    pub model: String,
    pub data: String,
    /// Of training: done, and planned; 0 where nothing is trained.
    pub steps: u64,
    pub planned: u64,
    pub likelihood: Option<Measured>,
    pub samples: Option<u64>,
    /// Of all sessions that ended.
    pub seconds: f64,
    pub state: State,
}

/// A likelihood in its unit.
#[derive(Debug, Serialize)]
pub struct Measured {
    pub mean: f64,
    pub standard_error: Option<f64>,
    pub unit: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Running,
    Stopped,
    Done,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Stopped => "stopped",
            State::Done => "done",
        }
    }
}

impl Run {
    /// Error: its folder can't be read.
    pub fn overview(&self) -> Result<Overview> {
        let text = self.read(EXPERIMENT)?.unwrap_or_default();
        let experiment: toml::Table = toml::from_str(&String::from_utf8_lossy(&text)).unwrap_or_default();
        let choice = |table: &str| Some(experiment.get(table)?.as_table()?.keys().next()?.clone());
        let family = ["flow", "vae", "hierarchical_vae"].into_iter().find(|family| experiment.contains_key(*family));
        let trained = experiment.get("train").or_else(|| experiment.get("classifier")?.get("train"));
        let planned = trained.and_then(|train| train.get("steps")?.as_integer()).unwrap_or(0) as u64;
        let steps = checkpoint::steps(self)?.last().copied().unwrap_or(0);
        let report =
            |name: &str| Ok::<_, crate::error::Error>(self.read(name)?.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok()));
        let answered = ASKED.iter().filter(|asked| experiment.contains_key(asked.table)).all(|asked| self.has(&manifest(asked.product)));
        let state = match () {
            () if is_running(self) => State::Running,
            () if steps >= planned && answered => State::Done,
            () => State::Stopped,
        };
        let ended = self.history()?;
        Ok(Overview {
            run: self.path().to_owned(),
            model: choice("sde").or(family.map(str::to_owned)).unwrap_or_else(|| "?".into()),
            data: choice("data").unwrap_or_else(|| "?".into()),
            steps,
            planned,
            likelihood: report("likelihood.json")?.and_then(|report| Measured::of(&report)),
            samples: report("samples/samples.json")?.and_then(|report| report["count"].as_u64()),
            seconds: ended.iter().filter_map(|line| line["seconds"].as_f64()).sum(),
            state,
        })
    }
}

impl Measured {
    fn of(report: &Value) -> Option<Measured> {
        let unit = report["unit"].as_str()?;
        let number = &report[unit];
        let name = if unit == "bits_per_dim" { "bits/dim" } else { unit };
        Some(Measured { mean: number["mean"].as_f64()?, standard_error: number["standard_error"].as_f64(), unit: name.into() })
    }

    /// For people.
    pub fn line(&self) -> String {
        let error = self.standard_error.map_or(String::new(), |error| format!(" ± {error:.4}"));
        format!("{:.4}{error} {}", self.mean, self.unit)
    }
}

/// Whether another process works in a run: the one whose number its lock has lives, and holds it.
fn is_running(run: &Run) -> bool {
    let owner = fs::read_to_string(run.folder().at(LOCK)).ok().and_then(|owner| owner.trim().parse::<u32>().ok());
    let owner = owner.filter(|owner| *owner != std::process::id());
    let lives = owner.is_some_and(|owner| Path::new("/proc").join(owner.to_string()).exists());
    lives && fs::File::open(run.folder().at(LOCK)).is_ok_and(|lock| lock.try_lock_shared().is_err())
}

/// The runs in a folder and in those below it, but not those that are parts of a run; in the order of their paths.
pub fn runs_below(folder: &Path) -> Vec<PathBuf> {
    const DEEPEST: usize = 4;
    let is_run = |path: &Path| path.join(EXPERIMENT).is_file();
    let mut walk = walkdir::WalkDir::new(folder).max_depth(DEEPEST).sort_by_file_name().into_iter();
    let mut found = Vec::new();
    while let Some(entry) = walk.next() {
        let Ok(entry) = entry else { continue };
        if entry.file_type().is_dir() && is_run(entry.path()) {
            found.push(entry.path().to_owned());
            walk.skip_current_dir();
        }
    }
    found
}
