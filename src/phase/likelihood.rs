//! Measuring the likelihood.

use super::Phase;
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

    fn product(&self) -> String {
        "likelihood.json".into()
    }

    fn run(&self, session: &Session, folder: &Run, log: &mut Log) -> Result<()> {
        let step = session.average(folder)?;
        let values = session.likelihood(&self.0, folder, "likelihood")?;
        values.bound_headline().iter().for_each(|line| session.terminal().say(line));
        values.save(folder, "likelihood", &values.report(step))?;
        let step = step.unwrap_or(0);
        log.scalars(step, &values.scalars());
        log.histogram("likelihood/of_examples", step, &values.histogram());
        log.image("likelihood", step, &values.picture());
        Ok(())
    }
}
