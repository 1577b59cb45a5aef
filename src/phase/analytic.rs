//! Measuring what the analytic variance is made of.

use super::{Done, Phase};
use crate::error::Result;
use crate::run::Run;
use crate::run::log::Log;
use crate::session::Session;

pub struct Measuring;

impl Phase for Measuring {
    fn name(&self) -> &'static str {
        "analytic_variance"
    }

    fn run(&self, session: &Session, folder: &Run, _log: &mut Log) -> Result<Done> {
        Ok(Done { worked: session.measure_variance(folder)?, shows: None })
    }
}
