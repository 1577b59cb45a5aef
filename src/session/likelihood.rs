//! A session measures the likelihood of a score.

use serde_json::Value;

use super::Session;
use crate::error::Result;
use crate::likelihood::{self, BoundSpec, Bounded, Dequantisation, Likelihood, Likelihoods, Solved};
use crate::run::Run;

impl Session {
    /// Measures the likelihood with the weights of `run`, and bounds it where that is asked for; the solves are kept in `<name>.journal` in
    /// `place`, the bounds in `<name>.bound.journal`.
    pub fn likelihood(&self, spec: &Likelihood, run: &Run, place: &Run, name: &str) -> Result<Likelihoods> {
        let weights = self.average(run)?;
        let dataset = &*self.dataset(spec.split)?;
        let model = &*self.model()?;
        let dequantiser = match spec.dequantisation {
            Dequantisation::Variational { .. } => self.dequantiser(run)?,
            _ => None,
        };
        let seed = self.plan.seed;
        let conditions = self.conditions(spec.split)?;
        let subject = likelihood::Subject {
            model,
            dataset,
            conditions: conditions.as_deref(),
            scale: self.scale(),
            dequantiser: dequantiser.as_ref(),
            latent: self.latent()?,
            seed,
            device: self.device(),
        };
        let of = likelihood::dependence(spec, seed, weights, Solved::FOREIGN);
        let mut journal = self.journal(place, &format!("{name}.journal"), &of)?;
        let mut values = likelihood::likelihood(spec, &subject, &mut journal, &self.terminal)?;
        if let Some(bound) = &spec.bound {
            let of = self.with_variance(bound.variance(), run, likelihood::dependence(spec, seed, weights, Bounded::FOREIGN))?;
            self.check_variance(bound.variance())?;
            let model = &*self.model()?;
            let subject = likelihood::Subject { model, ..subject };
            let mut journal = self.journal(place, &format!("{name}.bound.journal"), &of)?;
            values.bounds = Some(likelihood::bounds(bound, spec, &subject, &mut journal, &self.terminal)?);
        }
        Ok(values)
    }

    /// All that a likelihood with the weights of `run` depends on.
    pub fn likelihood_subject(&self, spec: &Likelihood, run: &Run) -> Result<Value> {
        let variance = spec.bound.as_ref().and_then(BoundSpec::variance);
        self.with_variance(variance, run, likelihood::dependence(spec, self.plan.seed, self.average(run)?, &[]))
    }
}
