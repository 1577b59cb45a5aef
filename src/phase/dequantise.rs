//! Training the law of dequantisation.

use super::{Done, Phase};
use crate::error::Result;
use crate::run::Run;
use crate::run::log::Log;
use crate::session::Session;

pub struct Dequantising;

impl Phase for Dequantising {
    fn name(&self) -> &'static str {
        "dequantisation"
    }

    fn run(&self, session: &Session, folder: &Run, log: &mut Log) -> Result<Done> {
        Ok(Done { worked: session.dequantise(folder, log)?, shows: None })
    }
}
