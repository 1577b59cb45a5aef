//! Training the score.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};

use super::Phase;
use crate::data::Split;
use crate::error::{Error, Result};
use crate::run::log::Log;
use crate::run::{Run, checkpoint};
use crate::session::Session;
use crate::train::{Source, Surroundings, Train, train};

pub struct Training(pub Train);

impl Phase for Training {
    fn name(&self) -> &'static str {
        "train"
    }

    fn product(&self) -> String {
        checkpoint::name(self.0.steps)
    }

    fn run(&self, session: &Session, folder: &Run, log: &mut Log) -> Result<()> {
        let Some(network) = session.network() else { return Ok(()) };
        let plan = session.plan();
        let source = Source { dataset: session.dataset(Split::Train)?, scale: session.scale(), flip: plan.data.flip() };
        let stop = stop_on_signal()?;
        let around = Surroundings { run: folder, log, terminal: session.terminal(), stop: stop.clone() };
        train(&self.0, plan.seed, session.sde(), network, checkpoint::latest(folder)?, source, around)?;
        // From here on there is nothing to save in between: a signal ends the process at once.
        stop.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// The first SIGINT or SIGTERM asks training to save and stop; the second ends the process.
fn stop_on_signal() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, stop.clone())
            .and_then(|_| signal_hook::flag::register(signal, stop.clone()))
            .map_err(|e| Error::io("listen for signals in", "this process", e))?;
    }
    Ok(stop)
}
