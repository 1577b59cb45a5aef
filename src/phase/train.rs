//! Training the score, or another family.

use super::{Done, Phase, evaluate};
use crate::data::Split;
use crate::error::{Error, Result};
use crate::run::log::Log;
use crate::run::{FORMAT, Run, checkpoint};
use crate::session::Session;
use crate::train::{Source, Surroundings, Train, train};

pub struct Training(pub Train);

impl Phase for Training {
    fn name(&self) -> &'static str {
        "train"
    }

    fn run(&self, session: &Session, folder: &Run, log: &mut Log) -> Result<Done> {
        checkpoint::set_damaged_aside(folder)?;
        let newest = checkpoint::latest(folder)?;
        let step = newest.as_ref().map_or(0, |checkpoint| checkpoint.step);
        let (Some(subject), true) = (session.trained()?, step < self.0.steps) else { return Ok(Done { worked: false, shows: None }) };
        let format = folder.about()?.format;
        // A training that was begun with other random numbers can't go on with these.
        if format < FORMAT && newest.is_some() {
            let message = format!("is a run of format {format}, whose training draws are others than those of format {FORMAT}");
            return Err(Error::run(folder.path(), message, "finish it with the version that began it, or start it anew (--out DIR)"));
        }
        if let (None, Some(from)) = (&newest, folder.about()?.from) {
            let message = format!("has lost the weights that it begins with, those of {} at step {}", from.run.display(), from.step);
            return Err(Error::run(folder.path(), message, "run it again with --from, or start it anew (--out DIR)"));
        }
        let plan = session.plan();
        let source = Source { dataset: session.dataset(Split::Train)?, scale: session.scale(), flip: plan.data.flip() };
        log.begin(self.name(), step + 1)?;
        let mut checkpoint = |step, log: &mut Log| evaluate::during_training(session, folder, step, log);
        if let Some(newest) = &newest {
            checkpoint(newest.step, log)?;
        }
        let around = Surroundings { run: folder, log, terminal: session.terminal(), checkpoint: &mut checkpoint };
        train(&self.0, plan.seed, &*subject, newest, source, around)?;
        Ok(Done { worked: true, shows: None })
    }
}
