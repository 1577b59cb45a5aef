//! Drawing samples of a family that draws by itself.

use super::{Done, Phase, show_samples};
use crate::error::Result;
use crate::run::Run;
use crate::run::log::Log;
use crate::sample::Draw;
use crate::session::Session;

pub struct Drawing(pub Draw);

impl Phase for Drawing {
    fn name(&self) -> &'static str {
        "samples"
    }

    fn run(&self, session: &Session, folder: &Run, log: &mut Log) -> Result<Done> {
        let step = session.average(folder)?.map_or(0, |weights| weights.step);
        let worked = session.draw_into(&self.0, folder, folder, self.name(), |picture| show_samples(log, step, picture))?;
        Ok(Done { worked, shows: Some("samples/samples.png") })
    }
}
