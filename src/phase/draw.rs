//! Drawing samples of a family that draws by itself.

use super::{Done, Phase};
use crate::error::Result;
use crate::run::Run;
use crate::run::log::{Curves, Log};
use crate::sample::Draw;
use crate::session::Session;

pub struct Drawing(pub Draw);

impl Phase for Drawing {
    fn name(&self) -> &'static str {
        "samples"
    }

    fn run(&self, session: &Session, folder: &Run, log: &mut Log) -> Result<Done> {
        let worked = session.draw_into(&self.0, folder, folder, self.name(), Curves::OfRun(log))?;
        Ok(Done { worked, shows: Some("samples/samples.png") })
    }

    fn help(&self, session: &Session, folder: &Run) -> Result<()> {
        if session.ranks().want(false)? { session.help_draw(&self.0, folder) } else { Ok(()) }
    }
}
