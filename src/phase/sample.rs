//! Drawing samples.

use super::{Done, Phase};
use crate::error::Result;
use crate::run::Run;
use crate::run::log::{Curves, Log};
use crate::sample::Sample;
use crate::session::Session;

pub struct Sampling(pub Sample);

impl Phase for Sampling {
    fn name(&self) -> &'static str {
        "samples"
    }

    fn run(&self, session: &Session, folder: &Run, log: &mut Log) -> Result<Done> {
        let worked = session.sample_into(&self.0, folder, folder, self.name(), Curves::OfRun(log))?;
        Ok(Done { worked, shows: Some("samples/samples.png") })
    }

    fn help(&self, session: &Session, folder: &Run) -> Result<()> {
        if session.ranks().want(false)? { session.help_sample(&self.0, folder) } else { Ok(()) }
    }
}
