//! A run that begins with the weights of another one.

use std::path::Path;

use super::Session;
use crate::error::{Error, Result};
use crate::optim::Parameters;
use crate::run::checkpoint::{self, Checkpoint, Choice};
use crate::run::{About, Origin, Run};
use crate::train::State;

impl Session {
    /// Begins `run`, which is `about` this session's experiment, with the weights of another run: its checkpoint of step 0 has their raw values and
    /// their moving average, and Adam's moments begin anew. A run that was begun so goes on.
    ///
    /// Errors: nothing is trained here; the other run has no such checkpoint, or other parameters; `run` was begun otherwise.
    pub fn begin_from(&self, run: &Run, (other, choice): (&Path, Choice), about: About) -> Result<()> {
        let (Some(spec), Some(parameters)) = (self.plan.train(), self.parameters()) else {
            let help = "leave out --from, or give an experiment that trains".into();
            return Err(Error::Usage { message: "nothing is trained here that could begin with other weights".into(), help });
        };
        let source = Run::reading(other)?;
        let checkpoint = checkpoint::choose(&source, choice)?
            .ok_or_else(|| Error::run(source.path(), "holds no checkpoint yet", "train it first, or name another run"))?;
        fits(parameters, &source, &checkpoint)?;
        let path = std::path::absolute(other).unwrap_or_else(|_| other.to_owned());
        let origin = Origin { run: path, step: checkpoint.step };
        match run.about()?.from {
            from if from.as_ref() == Some(&origin) => {}
            None if run.is_anonymous()? && !run.has("experiment.toml") => run.introduce(&About { from: Some(origin), ..about })?,
            from => {
                let begun = from.map_or("fresh weights".into(), |from| format!("those of {} at step {}", from.run.display(), from.step));
                let message = format!("was begun with other weights: {begun}");
                return Err(Error::run(run.path(), message, "leave out --from to go on with it, or give another folder: --out DIR"));
            }
        }
        if !checkpoint::steps(run)?.is_empty() {
            return Ok(());
        }
        let mut state = State::new(spec, parameters);
        state.load_weights(&checkpoint)?;
        state.save(run, spec.keep)
    }
}

/// Error: the parameters of a checkpoint have other names or shapes.
fn fits(parameters: &Parameters, source: &Run, checkpoint: &Checkpoint) -> Result<()> {
    let unfit = |name: &str, size: Vec<i64>| match checkpoint.tensor(&format!("model.{name}")) {
        Ok(there) if there.size() == size => None,
        Ok(there) => Some(format!("{name} has shape {:?} there, and here {size:?}", there.size())),
        Err(_) => Some(format!("{name} is not there")),
    };
    let wrong: Vec<String> = parameters.named().filter_map(|(name, tensor, _)| unfit(name, tensor.size())).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let shown = wrong.iter().take(3).cloned().collect::<Vec<_>>().join("; ");
    let message = format!("has weights of another network: {shown}; {} of {} parameters differ", wrong.len(), parameters.named().count());
    Err(Error::run(source.path(), message, "give a run with the same [network.*] and data of the same shape"))
}
