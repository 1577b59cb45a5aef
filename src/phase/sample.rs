//! Drawing samples.

use super::Phase;
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

    fn product(&self) -> String {
        "samples/samples.json".into()
    }

    fn run(&self, session: &Session, folder: &Run, log: &mut Log) -> Result<()> {
        let step = session.average(folder)?.unwrap_or(0);
        let picture = session.sample_into(&self.0, folder, "samples")?;
        log.image("samples", step, &picture);
        Ok(())
    }
}
