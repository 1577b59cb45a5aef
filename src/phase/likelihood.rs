//! Measuring the likelihood.

use super::{Done, Phase};
use crate::error::Result;
use crate::likelihood::Likelihood;
use crate::run::Run;
use crate::run::log::Log;
use crate::session::Session;

pub struct Measuring(pub Likelihood);

impl Phase for Measuring {
    fn name(&self) -> &'static str {
        "likelihood"
    }

    fn run(&self, session: &Session, folder: &Run, log: &mut Log) -> Result<Done> {
        let shows = Some("likelihood.json");
        let of = session.likelihood_subject(&self.0, folder)?;
        let done = folder.is_done(self.name(), &of)?;
        session.ranks().want(!done)?;
        if done {
            return Ok(Done { worked: false, shows });
        }
        let weights = session.average(folder)?;
        let values = session.likelihood(&self.0, folder, folder, self.name())?;
        values.bound_headline().iter().for_each(|line| session.terminal().say(line));
        log.show(&values.points(session.step(folder)?))?;
        let mut product = folder.product(self.name(), of);
        values.save(&mut product, self.name(), &values.report(weights))?;
        product.finish()?;
        Ok(Done { worked: true, shows })
    }

    fn help(&self, session: &Session, folder: &Run) -> Result<()> {
        if session.ranks().want(false)? { session.likelihood(&self.0, folder, folder, self.name()).map(drop) } else { Ok(()) }
    }
}
