//! What a run does, one after the other, each once. A phase is one file here, a table of the experiment, and a line in [`phases`].

mod analytic;
mod autoencoder;
mod classifier;
mod density;
mod dequantise;
mod draw;
mod evaluate;
mod likelihood;
mod sample;
mod train;
mod watch;

use crate::error::Result;
use crate::experiment::{Loaded, Plan};
use crate::run::log::Log;
use crate::run::{Clock, Run};
use crate::session::Session;

/// One thing a run does, once.
pub trait Phase {
    fn name(&self) -> &'static str;
    /// Does what is left of it, after the phases before it; killed anywhere and run again, it ends with the same bytes.
    fn run(&self, session: &Session, folder: &Run, log: &mut Log) -> Result<Done>;
    /// The part that the other processes of the run have in it meanwhile: none where rank 0 does it alone.
    fn help(&self, _session: &Session, _folder: &Run) -> Result<()> {
        Ok(())
    }
}

/// A phase that is done.
pub struct Done {
    /// Whether anything was left of it.
    pub worked: bool,
    /// The file of the run that a person looks at.
    pub shows: Option<&'static str>,
}

/// All phases.
pub struct Performed {
    /// Whether anything was left of any.
    pub worked: bool,
    /// The phases with a file that a person looks at.
    pub shows: Vec<(&'static str, &'static str)>,
}

/// Every phase of an experiment, in the run that is claimed for it.
pub fn perform(loaded: &Loaded, session: &Session, run: &Run) -> Result<Performed> {
    let mut log = Log::open(run, loaded.experiment.resolved())?;
    let (clock, mut performed) = (Clock::start(), Performed { worked: false, shows: Vec::new() });
    for phase in phases(&loaded.plan) {
        let done = session.ranks().wait().and_then(|()| phase.run(session, run, &mut log)).inspect_err(|error| {
            let mut ended = clock.read();
            ended["because"] = error.to_string().into();
            // What went wrong is the news, not that it can't be noted.
            let _ = if log.has_begun() { run.note("stopped", ended) } else { Ok(()) };
        })?;
        performed.worked |= done.worked;
        performed.shows.extend(done.shows.map(|file| (phase.name(), file)));
    }
    if log.has_begun() {
        run.note("ended", clock.read())?;
    }
    session.ranks().wait()?;
    Ok(performed)
}

/// What the other processes do while rank 0 performs: they wait for each phase and help with it.
pub fn help(loaded: &Loaded, session: &Session, run: &Run) -> Result<()> {
    for phase in phases(&loaded.plan) {
        session.ranks().wait()?;
        phase.help(session, run)?;
    }
    session.ranks().wait()
}

/// The phases of a plan in their order. A plan holds none itself, since a phase works on a session and a session is made of a plan.
pub fn phases(plan: &Plan) -> Vec<Box<dyn Phase>> {
    let mut phases: Vec<Box<dyn Phase>> = Vec::new();
    phases.extend(plan.latent.iter().map(|_| Box::new(autoencoder::Autoencoding) as _));
    phases.extend(plan.train().map(|spec| Box::new(train::Training(spec.clone())) as _));
    phases.extend(plan.analytic_variance.iter().map(|_| Box::new(analytic::Measuring) as _));
    phases.extend(plan.classifier.iter().map(|_| Box::new(classifier::Classifying) as _));
    phases.extend(plan.sample.iter().map(|spec| Box::new(sample::Sampling(spec.clone())) as _));
    phases.extend(plan.draw.iter().map(|spec| Box::new(draw::Drawing(spec.clone())) as _));
    phases.extend(plan.evaluate.iter().map(|spec| Box::new(evaluate::Comparing(spec.clone())) as _));
    phases.extend(plan.dequantisation.iter().map(|_| Box::new(dequantise::Dequantising) as _));
    phases.extend(plan.likelihood.iter().map(|spec| Box::new(likelihood::Measuring(spec.clone())) as _));
    phases.extend(plan.density.iter().map(|spec| Box::new(density::Evaluating(spec.clone())) as _));
    phases
}
