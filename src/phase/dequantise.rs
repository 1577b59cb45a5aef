//! Training the law of dequantisation.

use super::Phase;
use crate::dequantisation::Dequantiser;
use crate::error::Result;
use crate::run::Run;
use crate::run::log::Log;
use crate::session::Session;

pub struct Dequantising;

impl Phase for Dequantising {
    fn name(&self) -> &'static str {
        "dequantisation"
    }

    fn product(&self) -> String {
        Dequantiser::FILE.into()
    }

    fn run(&self, session: &Session, folder: &Run, log: &mut Log) -> Result<()> {
        session.average(folder)?;
        session.dequantise(folder, log)
    }
}
