//! The analytic variance of a session's steps: measured once, kept with the run, read by whoever needs it.

use serde_json::{Value, json};

use super::Session;
use crate::analytic::{self, AnalyticVariance, Subject};
use crate::data::Split;
use crate::error::{Error, Result};
use crate::run::{Journal, Run, journal};
use crate::sde::Variance;

impl Session {
    /// Measures what the analytic variance of the plan is made of, with the averaged weights of `run`, and saves it there; false where it is
    /// there already, or not asked for.
    pub fn measure_variance(&self, run: &Run) -> Result<bool> {
        let plan = self.plan();
        let Some(spec) = &plan.analytic_variance else { return Ok(false) };
        let (of, kept) = (self.variance_subject(spec, run)?, "analytic_variance.journal");
        if run.is_done(AnalyticVariance::NAME, &of)? {
            journal::discard(run.folder(), kept)?;
            return Ok(false);
        }
        let mut journal = Journal::open(run.folder(), kept, &of)?;
        let (model, dataset, conditions) = (&*self.model()?, self.dataset(Split::Train)?, self.conditions(Split::Train)?);
        let (scale, flip, latent, device) = (self.scale(), plan.data.flip(), self.latent()?, self.device());
        let subject = Subject { model, dataset, conditions, scale, flip, latent, device };
        let squares = analytic::measure(spec, plan.seed, subject, &mut journal, self.terminal())?;
        let mut product = run.product(AnalyticVariance::NAME, of);
        analytic::save(&squares, &mut product)?;
        product.finish()?;
        journal.remove()?;
        Ok(true)
    }

    /// All that a result depends on, with what its variance adds to it: the analytic one is read of the run, for [`Session::model`] to know.
    pub(super) fn with_variance(&self, variance: Option<Variance>, run: &Run, mut of: Value) -> Result<Value> {
        if let (Some(Variance::Analytic), Some(spec)) = (variance, &self.plan().analytic_variance) {
            if self.squares.get().is_none() {
                let squares = analytic::load(run, &self.variance_subject(spec, run)?)?;
                self.squares.get_or_init(|| squares);
            }
            of["analytic_variance"] = json!(spec);
        }
        Ok(of)
    }

    /// Error: the variance is the analytic one, and nothing of it was read yet; or the learnt one, and the model has learnt none.
    pub(super) fn check_variance(&self, variance: Option<Variance>) -> Result<()> {
        let (message, help) = match variance {
            Some(Variance::Analytic) if self.squares.get().is_none() => (
                "no analytic variance was read of a run",
                "call Session::measure_variance, and draw with Session::sample_into, which reads it of its run",
            ),
            Some(Variance::Learned) if !self.network().is_some_and(|network| network.parametrisation.learns_variance()) => (
                "the model has learnt no variance of its steps",
                "give another variance, or an experiment with [precondition.discrete] variance = \"learned\"",
            ),
            _ => return Ok(()),
        };
        Err(Error::Usage { message: message.into(), help: help.into() })
    }

    fn variance_subject(&self, spec: &AnalyticVariance, run: &Run) -> Result<Value> {
        Ok(json!({ "seed": self.plan().seed, "weights": self.average(run)?, "analytic_variance": spec }))
    }
}
