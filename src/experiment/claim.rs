//! Which run folder is whose.

use std::collections::BTreeMap;

use serde_json::json;

use super::changes::Changes;
use super::load::Loaded;
use super::paths;
use super::written::Experiment;
use crate::error::{Error, Result};
use crate::progress::warn;
use crate::run::{About, Run, checkpoint};
use crate::train::Train;

impl Loaded {
    /// What a run of it says of itself.
    ///
    /// Error: a file of the data can't be read.
    pub fn about(&self, run: &Run) -> Result<About> {
        Ok(About::new(&self.shape, self.condition, self.mark_in(run)?, paths::fingerprints(&self.experiment)?))
    }

    /// The mark of a run of this experiment: that of the steps which it was begun with, if it was told of more since.
    fn mark_in(&self, run: &Run) -> Result<String> {
        let first = run.history()?.iter().find_map(|line| line["changes"]["train.steps"]["from"].as_str()?.parse().ok());
        let begun = first.and_then(|steps| Some(Train { steps, ..self.experiment.train.clone()? }));
        Ok(match begun {
            Some(train) => Experiment { train: Some(train), ..self.experiment.clone() }.mark(),
            None => self.experiment.mark(),
        })
    }

    /// Makes the folder this experiment's, or refuses if it is another's. Says what changed of a run that goes on otherwise than it was begun.
    pub fn claim(&self, run: &Run) -> Result<Vec<String>> {
        let (experiment, mark) = (&self.experiment, self.mark_in(run)?);
        let stored_path = run.path().join("experiment.toml");
        // Where nothing but the weights vouches for them, both files can be made again.
        if run.is_anonymous()? && checkpoint::may_bear(run, &mark)? {
            if run.has("experiment.toml") {
                warn(&format!("{} is lost or damaged; it is made again", run.path().join("run.json").display()));
            }
            run.introduce(&self.about(run)?)?;
        }
        let about = run.about()?;
        let parse = |text: String| toml::from_str(&text).map_err(|e| about.unreadable(&stored_path, e.message().trim()));
        let stored: Result<Option<Experiment>> = run.experiment().and_then(|text| text.map(parse).transpose());
        let stored = match stored {
            Ok(Some(stored)) => stored,
            // Its results say themselves what they are of.
            Ok(None) | Err(Error::Run { .. }) if about.mark == mark => {
                stored.err().into_iter().for_each(|error| warn(&format!("{error}; it is made again")));
                self.keep_program(run)?;
                run.note("experiment", json!({ "origins": self.origins }))?;
                return run.keep_experiment(&experiment.resolved()).map(|()| Vec::new());
            }
            Ok(None) => return Err(Error::run(run.path(), "holds a run of another experiment", "give this one another folder: --out DIR")),
            Err(error) => return Err(error),
        };
        let stored = paths::resolved(stored, |_| run.path());
        let same_data = self.has_data_of(run, &about)?;
        let changes = Changes::between(experiment, &stored, same_data);
        if !changes.is_empty() {
            changes.accept(run, &self.origins)?;
            run.keep_experiment(&experiment.resolved())?;
        }
        self.keep_program(run).map(|()| changes.lines())
    }

    /// Whether the files of the data are known to be those that the run was begun with, wherever they are now.
    ///
    /// Error: they are others.
    fn has_data_of(&self, run: &Run, about: &About) -> Result<bool> {
        let prints = if about.data.is_empty() { BTreeMap::new() } else { paths::fingerprints(&self.experiment)? };
        match about.data.iter().find(|(key, print)| prints.get(*key).is_some_and(|now| now != *print)) {
            None => Ok(!about.data.is_empty()),
            Some((key, _)) => {
                let message = format!("was begun with other data: what {key} names is not what it was then");
                Err(Error::run(run.path(), message, "restore it; or start this one as a run of its own: --out DIR"))
            }
        }
    }
}
