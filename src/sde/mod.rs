//! The forward processes: f64 functions of t, no tensors, no I/O.
//!
//! Every process has an affine drift, dx = f(t) x dt + g(t) dw on t in [0, 1], so that p(x_t | x_0) = N(α(t) x_0, σ(t)² I)
//! (Song et al. 2021, arXiv 2011.13456, sec. 3.4 and appendix B). The pair (α, σ) is all a solver needs to know. A Poisson flow has the same
//! levels, but another law of noise, and so a probability flow alone.

mod chain;
mod cosine;
mod edm;
mod formula;
mod level;
mod linear;
mod noise;
mod optimal_transport;
mod path;
mod poisson_flow;
mod sub_vp;
mod table;
mod transition;
mod ve;
mod vp;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Fault;
pub use chain::{Chain, place_of};
pub use cosine::Cosine;
pub use edm::Edm;
pub use formula::{Expression, Formula};
pub use level::{Level, Slope, normal_entropy};
pub use linear::Linear;
pub use noise::NoiseLaw;
pub use optimal_transport::OptimalTransport;
pub use poisson_flow::PoissonFlow;
pub use sub_vp::SubVp;
pub use table::Table;
pub use transition::{Transition, Variance};
pub use ve::Ve;
pub use vp::Vp;

/// A forward process on t in [0, 1]. Its levels and slopes are enough; where there are closed forms of the rest, they are better.
pub trait Sde: Send + Sync {
    /// t with α(t), the factor on x_0 in the mean of x_t, and σ(t), the standard deviation of x_t given x_0.
    fn level(&self, t: f64) -> Level;
    /// α'(t), σ'(t).
    fn slope(&self, t: f64) -> Slope;
    /// The standard deviation of the prior that stands for p(x_1).
    fn prior_std(&self) -> f64 {
        self.sigma(1.0)
    }
    /// What z is in x_t = α x_0 + σ z, and in the prior.
    fn noise(&self) -> NoiseLaw {
        NoiseLaw::Normal
    }
    /// The last time at which whoever divides by α may stand: 1, or before it where the process ends without a signal and α / σ is still
    /// [`LEAST_SIGNAL`]. What is taken for the prior there is off by so little that ½ α² ‖x_0‖² / σ², in nats, bounds what it costs a likelihood.
    fn horizon(&self) -> f64 {
        path::horizon(self)
    }
    /// The t at which [`log_snr`](Sde::log_snr) is `lambda`.
    fn time_of_log_snr(&self, lambda: f64) -> f64 {
        path::time_of_log_snr(self, lambda)
    }
    /// The chain with so many noise levels that this process is the limit of. A fault's key is `levels`: fewer than 2, too few for the
    /// process, or there is no such chain.
    fn chain(&self, levels: usize) -> Result<Chain, Fault> {
        check_levels(levels).map(|()| chain::sampled(self, levels))
    }
    /// (f, G) of the step x' = x + f x + G z that stands for 1 / `steps` of the process at time t: that of the chain with so many levels.
    fn discretised(&self, t: f64, steps: usize) -> (f64, f64) {
        chain::sampled_step(self, t, steps)
    }
    /// Whether this is a process. A fault's key is one of its own.
    fn check(&self) -> Result<(), Fault> {
        path::check(self)
    }

    fn alpha(&self, t: f64) -> f64 {
        self.level(t).alpha
    }
    fn sigma(&self, t: f64) -> f64 {
        self.level(t).sigma
    }
    /// f(t) of the drift f(t) x: α' = f α.
    fn drift(&self, t: f64) -> f64 {
        self.slope(t).alpha / self.alpha(t)
    }
    /// g(t): (σ²)' = 2 f σ² + g².
    fn diffusion(&self, t: f64) -> f64 {
        (2.0 * self.sigma(t) * (self.slope(t).sigma - self.drift(t) * self.sigma(t))).sqrt()
    }
    /// ln(α² / σ²), strictly decreasing in t.
    fn log_snr(&self, t: f64) -> f64 {
        self.level(t).log_snr()
    }
    /// ln of the prior's density at x in nats, given ‖x‖² and the dimension of x.
    fn prior_log_density(&self, squared_norm: f64, dimension: usize) -> f64 {
        self.noise().log_density(self.prior_std().powi(2), squared_norm, dimension)
    }
    /// Whether training pairs the examples of a batch with their noise by optimal transport.
    fn pairs_by_transport(&self) -> bool {
        false
    }
    /// Why -ε / σ is not the score of x_t, which it is for normal noise that is independent of the data; nothing where it is.
    fn without_score(&self) -> Option<&'static str> {
        None
    }
    /// The fault of what needs a score, and not a flow alone.
    fn check_score(&self, key: &str, message: &str, help: &str) -> Result<(), Fault> {
        match self.without_score() {
            None => Ok(()),
            Some(why) => Err(Fault::new(key, format!("{message}, and {why}"), help)),
        }
    }
}

/// α / σ at the horizon of a process that ends without a signal.
pub const LEAST_SIGNAL: f64 = 1e-3;

/// `[sde.*]`: the forward process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum SdeSpec {
    Vp(Vp),
    Cosine(Cosine),
    SubVp(SubVp),
    Ve(Ve),
    Linear(Linear),
    Edm(Edm),
    Table(Table),
    Formula(Formula),
    OptimalTransport(OptimalTransport),
    PoissonFlow(PoissonFlow),
}

impl SdeSpec {
    pub fn get(&self) -> &dyn Sde {
        match self {
            SdeSpec::Vp(sde) => sde,
            SdeSpec::Cosine(sde) => sde,
            SdeSpec::SubVp(sde) => sde,
            SdeSpec::Ve(sde) => sde,
            SdeSpec::Linear(sde) => sde,
            SdeSpec::Edm(sde) => sde,
            SdeSpec::Table(sde) => sde,
            SdeSpec::Formula(sde) => sde,
            SdeSpec::OptimalTransport(sde) => sde,
            SdeSpec::PoissonFlow(sde) => sde,
        }
    }

    pub fn check(&self) -> Result<(), Fault> {
        let table = match self {
            SdeSpec::Vp(_) => "vp",
            SdeSpec::Cosine(_) => "cosine",
            SdeSpec::SubVp(_) => "sub-vp",
            SdeSpec::Ve(_) => "ve",
            SdeSpec::Linear(_) => "linear",
            SdeSpec::Edm(_) => "edm",
            SdeSpec::Table(_) => "table",
            SdeSpec::Formula(_) => "formula",
            SdeSpec::OptimalTransport(_) => "optimal-transport",
            SdeSpec::PoissonFlow(_) => "poisson-flow",
        };
        self.get().check().map_err(|fault| fault.within(table))
    }
}

/// A chain has a first and a last level.
fn check_levels(levels: usize) -> Result<(), Fault> {
    Fault::unless_in("levels", levels, 2..=1_000_000, "the reference uses 1000")
}

/// (f, G) of a step of Euler and Maruyama's, for processes that are the limit of no chain.
fn euler_maruyama(sde: &dyn Sde, t: f64, steps: usize) -> (f64, f64) {
    let n = steps as f64;
    (sde.drift(t) / n, sde.diffusion(t) / n.sqrt())
}

/// The linear β(t) = β_min + t (β_max - β_min) that VP and sub-VP share.
struct LinearBeta {
    min: f64,
    max: f64,
}

impl LinearBeta {
    fn at(&self, t: f64) -> f64 {
        self.min + t * (self.max - self.min)
    }

    /// ln α(t) = -½ ∫_0^t β.
    fn log_alpha(&self, t: f64) -> f64 {
        -t * t * (self.max - self.min) / 4.0 - t * self.min / 2.0
    }

    /// The t >= 0 at which ln α is `log_alpha` <= 0: a root of a quadratic, in the form that does not cancel.
    fn time_of_log_alpha(&self, log_alpha: f64) -> f64 {
        let (a, b) = ((self.max - self.min) / 4.0, self.min / 2.0);
        -2.0 * log_alpha / (b + (b * b - 4.0 * a * log_alpha).sqrt())
    }

    fn check(&self) -> Result<(), Fault> {
        if !(self.min > 0.0 && self.min.is_finite()) {
            return Err(Fault::new("beta_min", format!("beta_min is {}", self.min), "give a number above 0; the reference uses 0.1"));
        }
        if !(self.max >= self.min && self.max.is_finite()) {
            return Err(Fault::new(
                "beta_max",
                format!("beta_max is {}, below beta_min = {}", self.max, self.min),
                "give a number of at least beta_min; the reference uses 20.0",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
