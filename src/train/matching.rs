//! The keys of `[train]` that are for scores alone, and what is wrong with them.

use crate::error::Fault;
use crate::loss::{Objective, Reduction, TimeSpec, Weighting};
use crate::sde::Sde;

/// What `[train]` says of scores alone.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreMatching {
    pub objective: Objective,
    pub weighting: Weighting,
    pub reduction: Reduction,
    pub time: TimeSpec,
    pub importance: bool,
    pub stratified: bool,
    /// The least time that is trained at.
    pub t_min: f64,
}

impl ScoreMatching {
    /// A fault's key is relative to `[train]`.
    pub fn check(&self, sde: &dyn Sde) -> Result<(), Fault> {
        if !(self.t_min > 0.0 && self.t_min < 1.0) {
            return Err(Fault::new("t_min", format!("t_min is {}", self.t_min), "give a number between 0 and 1; the reference uses 1e-5"));
        }
        self.objective.check().map_err(|fault| fault.within("objective"))?;
        if self.objective != Objective::Denoising {
            sde.check_score("objective", "this objective is of normal noise", "use \"denoising\"")?;
        }
        if self.weighting == Weighting::Likelihood {
            sde.check_score("weighting", "the likelihood's weighting is of normal noise", "use \"variance\", or edm")?;
        }
        self.weighting.check().map_err(|fault| fault.within("weighting"))?;
        let weight = |t: f64| self.weighting.at(sde, t);
        if let Some(t) = [self.t_min, sde.horizon()].into_iter().find(|&t| !(weight(t) > 0.0 && weight(t).is_finite())) {
            let message = format!("its weight at t = {t} is {}", weight(t));
            return Err(Fault::new("weighting", message, "raise t_min, or give other constants"));
        }
        if let (TimeSpec::Level { .. }, true) = (self.time, self.importance) {
            let message = "no mean over one time is one over all of them";
            return Err(Fault::new("importance", message, "use importance = false with time = { level = { t = ... } }"));
        }
        self.time.check(sde, self.t_min).map_err(|fault| fault.within("time"))
    }

    /// What can't serve data whose law is unknown.
    pub fn check_unknown(&self) -> Result<(), Fault> {
        if self.objective == Objective::Explicit { Err(ScoreMatching::needs_law()) } else { Ok(()) }
    }

    /// The fault of a regression on a score that is not known.
    pub(super) fn needs_law() -> Fault {
        let help = "use [data.gaussian-mixture], or \"denoising\", whose mean differs by a constant";
        Fault::new("objective", "explicit score matching needs the score of the data, whose law is not known", help)
    }

    /// What times, instead of levels of noise, can't serve.
    pub fn check_continuous(&self) -> Result<(), Fault> {
        if self.time == TimeSpec::LossAware {
            let help = "use \"weighting\" or another law of times, or [precondition.discrete]";
            return Err(Fault::new("time", "only levels are drawn by their losses, and this network is in continuous time", help));
        }
        let table = match self.objective {
            Objective::Vlb { .. } => "vlb",
            Objective::Hybrid { .. } => "hybrid",
            _ => return Ok(()),
        };
        Err(ScoreMatching::needs_levels(table).within("objective"))
    }

    /// The fault of a bound without a chain.
    pub(super) fn needs_levels(table: &str) -> Fault {
        let help = "use [precondition.discrete], or \"denoising\" with the weighting \"likelihood\", the bound in continuous time";
        Fault::new(table, "the bound of a chain needs its levels, and this network is in continuous time", help)
    }

    /// What levels of noise, instead of times, can't serve; `learned` where the network says the variance of its steps.
    pub fn check_discrete(&self, learned: bool) -> Result<(), Fault> {
        let refuse = |key: &str, message: &str, choice: &str| {
            Err(Fault::new(key, message, format!("use {choice}, or continuous time: [precondition.reference]")))
        };
        match self.objective {
            Objective::Denoising => {}
            Objective::Vlb { .. } | Objective::Hybrid { .. } if self.weighting == Weighting::Variance => {}
            Objective::Vlb { .. } | Objective::Hybrid { .. } => {
                return refuse("weighting", "the bound has weights of its own", "\"variance\"");
            }
            _ => return refuse("objective", "levels of noise are trained by denoising or by their bound", "\"denoising\", vlb or hybrid"),
        }
        match (self.objective.trains_variance(), learned) {
            (true, false) => {
                let help = "give [precondition.discrete] variance = \"learned\"";
                return Err(Fault::new("objective", "this trains a variance, and the network says none", help));
            }
            (false, true) => {
                let help = "use hybrid = { vlb = 0.001 } or vlb = { variance = \"learned\" }, or leave out precondition.discrete.variance";
                return Err(Fault::new("objective", "this does not train the variance that the network says", help));
            }
            _ => {}
        }
        if self.weighting.is_rate() {
            return refuse("weighting", "this weighting is by how fast noise comes, and levels have no rate", "\"variance\"");
        }
        match self.time {
            TimeSpec::Uniform => Ok(()),
            TimeSpec::LossAware if self.importance => Ok(()),
            TimeSpec::LossAware => {
                let message = "levels that are drawn by their losses would change what is learnt";
                Err(Fault::new("importance", message, "give true, which divides each loss by N p"))
            }
            _ => refuse("time", "levels of noise are drawn alike, or by their losses", "\"uniform\" or \"loss-aware\""),
        }
    }
}
