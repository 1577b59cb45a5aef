//! A model times a factor.

use std::f64::consts::PI;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::{conjugate_gradients, term};
use crate::divergence::Linearised;
use crate::error::Fault;
use crate::model::{At, Decorator, Model, Prediction};
use crate::sde::Level;
use crate::tensor::column_of;

/// `[sample.guidance.product]`: samples of p(x) r(x) / const (Sohl-Dickstein et al. 2015, arXiv 1503.03585, sec. 2.5), x in the data's units and
/// as one row of D numbers. A class as a factor is `[sample.guidance.classifier]`, a delta function is a measurement by a mask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Factor {
    /// r = N(x; mean, std² I).
    Gaussian {
        /// D numbers.
        mean: Vec<f64>,
        /// Above 0.
        std: f64,
    },
    /// r = 1 where ⟨normal, x⟩ >= above, and else 0.
    HalfSpace {
        /// D numbers, not all of them 0.
        normal: Vec<f64>,
        /// Of ⟨normal, x⟩, the least.
        above: f64,
    },
    /// r = 1 where least <= x <= most for each number, and else 0.
    Box {
        /// D numbers; -inf for none.
        least: Vec<f64>,
        /// D numbers above those; inf for none.
        most: Vec<f64>,
    },
}

impl Factor {
    fn name(&self) -> &'static str {
        match self {
            Factor::Gaussian { .. } => "gaussian",
            Factor::HalfSpace { .. } => "half-space",
            Factor::Box { .. } => "box",
        }
    }

    /// A fault's key is relative to `[sample.guidance.product]`.
    pub fn check(&self) -> Result<(), Fault> {
        let fault = |key: &str, message: &str, help: &str| Err(Fault::new(format!("{}.{key}", self.name()), message, help));
        let finite = |numbers: &[f64]| numbers.iter().all(|number| number.is_finite());
        match self {
            Factor::Gaussian { std, .. } if !(*std > 0.0 && std.is_finite()) => {
                fault("std", &format!("std is {std}"), "give a number above 0")
            }
            Factor::Gaussian { mean, .. } if !finite(mean) => fault("mean", "it is not finite", "give finite numbers"),
            Factor::HalfSpace { normal, .. } if !finite(normal) || normal.iter().all(|a| *a == 0.0) => {
                fault("normal", "no half of space lies along it", "give finite numbers that are not all 0")
            }
            Factor::HalfSpace { above, .. } if !above.is_finite() => fault("above", &format!("above is {above}"), "give a finite number"),
            Factor::Box { least, most } if least.iter().zip(most).any(|(least, most)| least.is_nan() || most.is_nan() || least >= most) => {
                fault("most", "the box is empty", "give each number above that of least")
            }
            _ => Ok(()),
        }
    }

    /// Whether it is of examples of D numbers.
    pub fn check_against(&self, dimension: usize) -> Result<(), Fault> {
        let rows: &[(&str, &Vec<f64>)] = match self {
            Factor::Gaussian { mean, .. } => &[("mean", mean)],
            Factor::HalfSpace { normal, .. } => &[("normal", normal)],
            Factor::Box { least, most } => &[("least", least), ("most", most)],
        };
        match rows.iter().find(|(_, row)| row.len() != dimension) {
            None => Ok(()),
            Some((key, row)) => {
                let message = format!("it has {} numbers, and an example {dimension}", row.len());
                Err(Fault::new(format!("{}.{key}", self.name()), message, format!("give {dimension} numbers")))
            }
        }
    }

    /// The same factor of `slope` x + `shift`, slope > 0.
    pub fn in_model_space(&self, slope: f64, shift: f64) -> Factor {
        let moved = |row: &[f64]| row.iter().map(|x| slope * x + shift).collect::<Vec<_>>();
        match self {
            Factor::Gaussian { mean, std } => Factor::Gaussian { mean: moved(mean), std: slope * std },
            Factor::HalfSpace { normal, above } => {
                Factor::HalfSpace { normal: normal.clone(), above: slope * above + shift * normal.iter().sum::<f64>() }
            }
            Factor::Box { least, most } => Factor::Box { least: moved(least), most: moved(most) },
        }
    }
}

/// s + ∇ ln E[r(x_0) | x_t], with x_0 given x_t taken for N(x̂, V), V = σ²/α ∂x̂/∂x, Tweedie's covariance: right for any Gaussian, and for a box
/// if its components are independent. x̂ and all products with its Jacobian come from one forward pass.
pub struct Product<'a> {
    pub model: Box<dyn Model + 'a>,
    /// In model space.
    pub factor: Factor,
}

impl Product<'_> {
    /// The term [B, D], for x̂ [B, D].
    fn term(&self, point: &Linearised, denoised: &Tensor, Spread { tweedie, least: floor }: &Spread) -> Tensor {
        let row = |row: &[f64]| Tensor::from_slice(row).to_kind(denoised.kind()).to_device(denoised.device()).unsqueeze(0);
        let inner = |a: &Tensor, b: &Tensor| (a * b).sum_dim_intlist(1i64, true, None::<Kind>);
        match &self.factor {
            Factor::Gaussian { mean, std } => {
                let covariance = |u: &Tensor| u * (std * std) + point.pull(u, true) * tweedie;
                let u = conjugate_gradients::solve(covariance, &(row(mean) - denoised), mean.len());
                point.pull(&u, false)
            }
            Factor::HalfSpace { normal, above } => {
                let normal = row(normal);
                let pulled = point.pull(&normal, false);
                let std = (inner(&pulled, &normal) * tweedie).maximum(&(floor * inner(&normal, &normal))).sqrt();
                let z = (*above - inner(denoised, &normal)) / &std;
                pulled * (slope(&z, &z.full_like(f64::INFINITY)) / std)
            }
            Factor::Box { least, most } => {
                let bounded: Vec<usize> = (0..least.len()).filter(|&i| least[i].is_finite() || most[i].is_finite()).collect();
                let (least, most) = (row(least), row(most));
                let term = |(k, &i): (usize, &usize)| {
                    let axis = denoised.narrow(0, 0, 1).zeros_like();
                    let _ = axis.narrow(1, i as i64, 1).fill_(1.0);
                    let pulled = point.pull(&axis, k + 1 < bounded.len());
                    let at = |x: &Tensor| x.narrow(1, i as i64, 1);
                    let std = (at(&pulled) * tweedie).maximum(floor).sqrt();
                    let [least, most] = [&least, &most].map(|end| (at(end) - at(denoised)) / &std);
                    pulled * (slope(&least, &most) / std)
                };
                bounded.iter().enumerate().map(term).fold(denoised.zeros_like(), |sum, term| sum + term)
            }
        }
    }
}

/// What makes variances of products with the Jacobian, [B, 1] each.
struct Spread {
    /// σ²/α.
    tweedie: Tensor,
    /// A variance of x_0 given x_t that is taken for the least, since of a network's Jacobian it may come out below 0: a thousandth of that of a
    /// law of variance 1.
    least: Tensor,
}

/// -d/dμ of ln P(a <= z + μ <= b) at μ = 0 with the sign that shifts z into the interval: (φ(a) - φ(b)) / (Φ(b) - Φ(a)), finite in both tails.
fn slope(a: &Tensor, b: &Tensor) -> Tensor {
    let kind = a.kind();
    let [a, b] = [a, b].map(|end| end.to_kind(Kind::Double));
    // The lower of the two tails, where differences of Φ keep their digits.
    let flipped = a.gt(0.0);
    let (low, high) = (b.neg().where_self(&flipped, &a), a.neg().where_self(&flipped, &b));
    let [log_low, log_high] = [&low, &high].map(Tensor::special_log_ndtr);
    let log_mass = &log_high + (&log_low - &log_high).exp().neg().log1p();
    let density = |z: &Tensor| (z.square() * -0.5 - 0.5 * (2.0 * PI).ln() - &log_mass).exp();
    (density(&a) - density(&b)).to_kind(kind)
}

impl Decorator for Product<'_> {
    fn inner(&self) -> &dyn Model {
        &*self.model
    }

    fn decorated(&self, at: &At) -> Prediction {
        term::of_denoised(&*self.model, at, |point| {
            let denoised = point.y.detach().flatten(1, -1);
            let of = |number: &dyn Fn(Level) -> f64| column_of(&denoised, at.t, |t| number(self.model.level(t)));
            let tweedie = of(&|level| level.sigma.powi(2) / level.alpha);
            let least = of(&|level| 1e-3 * level.sigma.powi(2) / (level.sigma.powi(2) + level.alpha.powi(2)));
            self.term(point, &denoised, &Spread { tweedie, least }).view_as(at.x)
        })
    }
}

#[cfg(test)]
mod tests;
