//! Training the score, or another family.

use super::{Done, Phase, watch};
use crate::data::Split;
use crate::error::{Error, Result};
use crate::run::log::Log;
use crate::run::{FORMAT, Run, checkpoint};
use crate::session::Session;
use crate::train::{Source, Surroundings, Train, Writer, train};

pub struct Training(pub Train);

impl Phase for Training {
    fn name(&self) -> &'static str {
        "train"
    }

    fn run(&self, session: &Session, folder: &Run, log: &mut Log) -> Result<Done> {
        checkpoint::set_damaged_aside(folder)?;
        let newest = checkpoint::latest(folder)?;
        let step = newest.as_ref().map_or(0, |checkpoint| checkpoint.step);
        let checkpoint = |step, log: &mut Log| watch::at_checkpoint(&self.0, session, folder, step, log);
        let ranks = session.ranks();
        let wanted = step < self.0.steps;
        ranks.want(wanted)?;
        let (Some(subject), true) = (session.trained()?, wanted) else {
            let worked = step == self.0.steps && checkpoint(step, log)?;
            return Ok(Done { worked, shows: None });
        };
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
        log.begin(self.name(), step + 1)?;
        if let Some(newest) = &newest {
            checkpoint(newest.step, log)?;
        }
        let mut go_on = |step, log: &mut Log| checkpoint(step, log).map(drop);
        let writer = Some(Writer { run: folder, log, checkpoint: &mut go_on });
        let around = Surroundings { ranks, terminal: session.terminal(), writer };
        train(&self.0, session.plan().seed, &*subject, newest, source(session)?, around)?;
        checkpoint(self.0.steps, log)?;
        Ok(Done { worked: true, shows: None })
    }

    fn help(&self, session: &Session, _folder: &Run) -> Result<()> {
        let ranks = session.ranks();
        let wanted = ranks.want(false)?;
        let (Some(subject), true) = (session.trained()?, wanted) else { return Ok(()) };
        let around = Surroundings { ranks, terminal: session.terminal(), writer: None };
        train(&self.0, session.plan().seed, &*subject, None, source(session)?, around)
    }
}

fn source(session: &Session) -> Result<Source> {
    Ok(Source { dataset: session.dataset(Split::Train)?, scale: session.scale(), flip: session.plan().data.flip() })
}
