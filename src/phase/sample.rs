//! Drawing samples.

use super::{Done, Phase, show_samples};
use crate::error::Result;
use crate::run::Run;
use crate::run::log::Log;
use crate::sample::Sample;
use crate::session::Session;

pub struct Sampling(pub Sample);

impl Phase for Sampling {
    fn name(&self) -> &'static str {
        "samples"
    }

    fn run(&self, session: &Session, folder: &Run, log: &mut Log) -> Result<Done> {
        let step = session.average(folder)?.map_or(0, |weights| weights.step);
        let worked = session.sample_into(&self.0, folder, folder, self.name(), |picture| show_samples(log, step, picture))?;
        Ok(Done { worked, shows: Some("samples/samples.png") })
    }
}
