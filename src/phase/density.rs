//! Measuring the likelihood of a family that measures by itself.

use super::{Done, Phase};
use crate::error::Result;
use crate::likelihood::Density;
use crate::run::Run;
use crate::run::log::Log;
use crate::session::Session;

pub struct Evaluating(pub Density);

impl Phase for Evaluating {
    fn name(&self) -> &'static str {
        "likelihood"
    }

    fn run(&self, session: &Session, folder: &Run, log: &mut Log) -> Result<Done> {
        let shows = Some("likelihood.json");
        let weights = session.average(folder)?;
        let of = self.0.subject(session.plan().seed, weights);
        let done = folder.is_done(self.name(), &of)?;
        session.ranks().want(!done)?;
        if done {
            return Ok(Done { worked: false, shows });
        }
        let values = session.density(&self.0, folder, folder, self.name())?;
        log.show(&values.points(session.step(folder)?))?;
        let mut product = folder.product(self.name(), of);
        values.save(&mut product, self.name(), weights)?;
        product.finish()?;
        Ok(Done { worked: true, shows })
    }

    fn help(&self, session: &Session, folder: &Run) -> Result<()> {
        if session.ranks().want(false)? { session.density(&self.0, folder, folder, self.name()).map(drop) } else { Ok(()) }
    }
}
