//! The law of t: how often training looks at each time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Weighting;
use super::inverse::Inverse;
use crate::error::Fault;
use crate::sde::Sde;

/// `[train] time`: the density p(t) on [t_min, t_max] that times are drawn from; t_max is 1, or the horizon of a process that ends without a
/// signal ([`Sde::horizon`]).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum TimeSpec {
    /// U(t_min, t_max).
    Uniform,
    /// p ∝ g² / σ², under which the log-SNR is uniform (Song et al. 2021b, arXiv 2101.09258, sec. 5): the likelihood weighting's losses
    /// have one scale.
    Likelihood,
    /// p ∝ w, whichever weighting is chosen ([`Weighting::at`]): its losses have one scale.
    Weighting,
    /// ln(σ / α) ~ N(mean, std²), cut to [t_min, t_max] (Karras et al. 2022, arXiv 2206.00364, inverse 1: -1.2 and 1.2 for data in [-1, 1]).
    LogNormal {
        /// Of ln(σ / α), between its values at t_min and at t_max.
        mean: f64,
        /// At least 0.01.
        std: f64,
    },
    /// ln(t / (1 - t)) ~ N(mean, std²), cut to [t_min, t_max] (Esser et al. 2024, arXiv 2403.03206, sec. 3.1: 0 and 1 for straight paths, of
    /// which it looks most at the middle).
    LogitNormal {
        /// Of ln(t / (1 - t)), between its values at t_min and at t_max.
        mean: f64,
        /// At least 0.01.
        std: f64,
    },
    /// p_i ∝ √E L_i² of the last ten losses of each level, in discrete time; uniform until there are so many (Nichol & Dhariwal 2021, arXiv
    /// 2102.09672, sec. 3.3), which takes some 30 N examples. It needs `importance = true`: each loss is divided by N p_i, and
    /// the mean stays what it is.
    LossAware,
    /// One time alone, as denoising autoencoders are trained (Vincent 2011).
    Level {
        /// t, at least t_min.
        t: f64,
    },
}

impl TimeSpec {
    /// The law on [t_min, t_max] for one process and weighting, which have passed their checks; of levels that are drawn by their losses the one
    /// they start with.
    pub fn law<'a>(&self, sde: &'a dyn Sde, weighting: Weighting, t_min: f64) -> TimeLaw<'a> {
        let span = [t_min, sde.horizon()];
        // (ln σ / α)' = g² / 2σ².
        let rate = |t: f64| (sde.diffusion(t) / sde.sigma(t)).powi(2);
        match *self {
            TimeSpec::Uniform | TimeSpec::LossAware => TimeLaw::uniform(span),
            TimeSpec::Likelihood => TimeLaw::proportional_to(rate, span),
            TimeSpec::Weighting => TimeLaw::proportional_to(move |t| weighting.at(sde, t), span),
            TimeSpec::Level { t } => TimeLaw { span, shape: Shape::Point(t) },
            TimeSpec::LogNormal { mean, std } => {
                TimeLaw::proportional_to(move |t| rate(t) * (-0.5 * ((-0.5 * sde.log_snr(t) - mean) / std).powi(2)).exp(), span)
            }
            TimeSpec::LogitNormal { mean, std } => TimeLaw::proportional_to(
                move |t| {
                    let density = (-0.5 * ((logit(t) - mean) / std).powi(2)).exp() / (t * (1.0 - t));
                    if t < 1.0 { density } else { 0.0 }
                },
                span,
            ),
        }
    }

    /// Whether there is such a law on [t_min, t_max]; a fault's key is relative to `time`.
    pub fn check(&self, sde: &dyn Sde, t_min: f64) -> Result<(), Fault> {
        let span = [t_min, sde.horizon()];
        let normal = |table: &str, (of, ends): (&str, [f64; 2]), (mean, std): (f64, f64), usual: [&str; 2]| {
            let [first, last] = ends;
            if !(first < mean && mean < last) {
                let message =
                    format!("mean is {mean}, but {of} goes from {first:.2} at t_min to {last:.2} at t = {}", (1e4 * span[1]).round() / 1e4);
                let help = format!("give a number between them; {} uses {}", usual[0], usual[1]);
                return Err(Fault::new("mean", message, help).within(table));
            }
            if !(std >= 0.01 && std.is_finite()) {
                return Err(Fault::new("std", format!("std is {std}"), "give at least 0.01, such as 1.2").within(table));
            }
            Ok(())
        };
        match *self {
            TimeSpec::Level { t } if !(span[0]..=span[1]).contains(&t) => {
                let help = format!("give a time from t_min = {t_min} to {}", span[1]);
                Err(Fault::new("level.t", format!("t is {t}"), help))
            }
            TimeSpec::LogNormal { mean, std } => {
                let ends = span.map(|t| -0.5 * sde.log_snr(t));
                normal("log-normal", ("ln(σ/α)", ends), (mean, std), ["EDM", "-1.2 for data in [-1, 1]"])
            }
            TimeSpec::LogitNormal { mean, std } => {
                normal("logit-normal", ("ln(t/(1-t))", span.map(logit)), (mean, std), ["Stable Diffusion 3", "0"])
            }
            _ => Ok(()),
        }
    }
}

/// ln(t / (1 - t)).
fn logit(t: f64) -> f64 {
    (t / (1.0 - t)).ln()
}

/// Of independent u_i ~ U(0, 1), one in each stratum: (i + u_i) / n. Each t of a batch then has its part of the law, and a mean over a
/// batch, whose expectation stays, varies less.
pub fn stratified(u: &[f64]) -> Vec<f64> {
    let n = u.len() as f64;
    u.iter().enumerate().map(|(i, u)| (i as f64 + u) / n).collect()
}

/// A law of t on [t_min, t_max] with its inverse distribution function.
pub struct TimeLaw<'a> {
    /// [t_min, t_max].
    span: [f64; 2],
    shape: Shape<'a>,
}

enum Shape<'a> {
    /// The inverse is a line.
    Uniform,
    Density(Inverse<'a>),
    Point(f64),
}

impl<'a> TimeLaw<'a> {
    /// U(t_min, t_max).
    pub fn uniform(span: [f64; 2]) -> TimeLaw<'a> {
        TimeLaw { span, shape: Shape::Uniform }
    }

    /// p ∝ `weight`, which is positive on the span (it may underflow to 0 in places) and has no poles there; 0 < t_min < t_max.
    pub fn proportional_to(weight: impl Fn(f64) -> f64 + Send + Sync + 'a, span: [f64; 2]) -> TimeLaw<'a> {
        TimeLaw { span, shape: Shape::Density(Inverse::new(Box::new(weight), span)) }
    }

    /// t_max - t_min.
    fn length(&self) -> f64 {
        self.span[1] - self.span[0]
    }

    /// The t below which the part u of the law lies, u in [0, 1]: of a uniform u, a draw.
    pub fn time(&self, u: f64) -> f64 {
        match &self.shape {
            Shape::Uniform => self.span[0] + u * self.length(),
            Shape::Density(inverse) => inverse.time(u).clamp(self.span[0], self.span[1]),
            Shape::Point(t) => *t,
        }
    }

    /// The part of the law up to t in [t_min, t_max].
    pub fn cdf(&self, t: f64) -> f64 {
        match &self.shape {
            Shape::Uniform => (t - self.span[0]) / self.length(),
            Shape::Density(inverse) => inverse.mass_below(t) / inverse.normaliser(),
            Shape::Point(point) => f64::from(u8::from(t >= *point)),
        }
    }

    /// p(t), normalised, for t in [t_min, t_max]; infinite for a law of one time.
    pub fn density(&self, t: f64) -> f64 {
        self.weight(t) / self.normaliser()
    }

    /// Z = ∫ weight dt over [t_min, t_max], where p = weight / Z; t_max - t_min for the uniform law, whose weight is 1.
    pub fn normaliser(&self) -> f64 {
        match &self.shape {
            Shape::Uniform => self.length(),
            Shape::Density(inverse) => inverse.normaliser(),
            Shape::Point(_) => 1.0,
        }
    }

    /// 1 / (p(t) (t_max - t_min)), the factor with which a mean over this law is one over U(t_min, t_max). On the likelihood weighting under its
    /// own law it leaves the constant w = Z / (t_max - t_min).
    pub fn importance(&self, t: f64) -> f64 {
        self.normaliser() / (self.weight(t) * self.length())
    }

    fn weight(&self, t: f64) -> f64 {
        match &self.shape {
            Shape::Uniform => 1.0,
            Shape::Density(inverse) => inverse.weight(t),
            Shape::Point(_) => f64::INFINITY,
        }
    }
}

#[cfg(test)]
mod tests;
