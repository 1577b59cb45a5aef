//! A model times a factor.

use std::cell::Cell;
use std::f64::consts::PI;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, no_grad};

use super::conjugate_gradients;
use crate::divergence::Linearised;
use crate::error::Fault;
use crate::model::{At, Model, Prediction, Quantity};
use crate::sde::{Chain, Level, Sde};
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

impl Model for Product<'_> {
    fn sde(&self) -> &dyn Sde {
        self.model.sde()
    }

    fn predict(&self, at: &At) -> Prediction {
        let interpolation = Cell::new(None);
        let data = |x: &Tensor| {
            let at = at.moved(x);
            let mut said = self.model.predict(&at);
            interpolation.set(said.interpolation.take().map(|v| v.detach()));
            said.into_quantity(Quantity::Data, self.sde(), &|t| self.model.level(t), &at)
        };
        let point = Linearised::at(data, at.x);
        no_grad(|| {
            let denoised = point.y.detach();
            let flat = denoised.flatten(1, -1);
            let of = |number: &dyn Fn(Level) -> f64| column_of(&flat, at.t, |t| number(self.model.level(t)));
            let tweedie = of(&|level| level.sigma.powi(2) / level.alpha);
            let least = of(&|level| 1e-3 * level.sigma.powi(2) / (level.sigma.powi(2) + level.alpha.powi(2)));
            let term = self.term(&point, &flat, &Spread { tweedie, least }).view_as(at.x);
            let said = Prediction::of(Quantity::Data, denoised);
            let score = said.into_quantity(Quantity::Score, self.sde(), &|t| self.model.level(t), at) + term;
            Prediction { interpolation: interpolation.take(), ..Prediction::of_score(score) }
        })
    }

    fn chain(&self) -> Option<&Chain> {
        self.model.chain()
    }

    fn mean_square_error(&self, log_snr: f64) -> f64 {
        self.model.mean_square_error(log_snr)
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::dynamics::Reverse;
    use crate::law::GaussianMixture;
    use crate::solver::{Problem, SolverSpec, TimeGrid};
    use crate::tensor::to_vec;
    use crate::testing::{SDES, VP, exact, largest, no_noise, normal, prior};

    const T: [f64; 4] = [0.3, 0.45, 0.6, 1.0];

    fn gaussian(correlation: f64) -> GaussianMixture {
        let covariance = vec![vec![1.0, correlation], vec![correlation, 0.5]];
        GaussianMixture { weights: vec![1.0], means: vec![vec![0.4, -0.3]], covariances: vec![covariance] }
    }

    fn score(sde: &dyn Sde, law: &GaussianMixture, factor: Factor, x: &Tensor) -> Tensor {
        Product { model: Box::new(exact(sde, law)), factor }.score(&At::whole(x, &T))
    }

    #[test]
    fn a_gaussian_factor_gives_the_products_law() {
        tch::set_num_threads(1);
        let (law, mean, std) = (gaussian(0.4), [0.9, 0.2], 0.6);
        // Knowing x + std n = mean is that factor.
        let identity = nalgebra::DMatrix::identity(2, 2);
        let product = law.posterior(&identity, &mean, std);
        for (name, sde) in SDES {
            let x = normal(1, &[4, 2]) * sde.prior_std();
            let got = score(sde, &law, Factor::Gaussian { mean: mean.to_vec(), std }, &x);
            let truth = exact(sde, &product).score(&At::whole(&x, &T));
            assert!(largest(&((got - &truth) / truth.abs().clamp_min(1e-3))) < 1e-8, "{name}");
        }
    }

    /// The gradient of ln p_t + ln E[r(x_0) | x_t] by differences, the latter by the mass of a normal law.
    #[test]
    fn half_spaces_and_boxes_are_exact_for_a_gaussian() {
        tch::set_num_threads(1);
        let inf = f64::INFINITY;
        let cases = [
            (0.4, Factor::HalfSpace { normal: vec![1.0, -2.0], above: 1.5 }),
            (0.0, Factor::Box { least: vec![0.6, -inf], most: vec![1.4, -0.5] }),
            (0.0, Factor::Box { least: vec![-inf, -0.1], most: vec![inf, inf] }),
        ];
        for (name, sde) in SDES {
            for (correlation, factor) in &cases {
                let law = gaussian(*correlation);
                let model = exact(sde, &law);
                let mass = |x: &Tensor| {
                    let at = At::whole(x, &T);
                    let denoised = model.data(&at);
                    // V of a Gaussian: C - α² C (α² C + σ² I)⁻¹ C.
                    let c = Tensor::from_slice(&law.covariances[0].concat()).view([2, 2]);
                    let one = Tensor::eye(2, (Kind::Double, Device::Cpu));
                    let of = |t: f64| {
                        let (a, s) = (sde.alpha(t).powi(2), sde.sigma(t).powi(2));
                        &c - c.matmul(&(&c * a + &one * s).inverse()).matmul(&c) * a
                    };
                    let v = Tensor::stack(&T.map(of), 0);
                    let between = |mean: Tensor, variance: Tensor, least: f64, most: f64| {
                        let std = variance.sqrt();
                        let cdf = |end: f64| ((end - &mean) / &std).special_ndtr();
                        (cdf(most) - cdf(least)).log()
                    };
                    match factor {
                        Factor::HalfSpace { normal, above } => {
                            let a = Tensor::from_slice(normal).unsqueeze(1);
                            let variance = a.tr().matmul(&v).matmul(&a).view(-1);
                            between(denoised.matmul(&a).view(-1), variance, *above, inf)
                        }
                        Factor::Box { least, most } => {
                            let axis = |i: usize| {
                                let (mean, variance) = (denoised.select(1, i as i64), v.select(1, i as i64).select(1, i as i64));
                                between(mean, variance, least[i], most[i])
                            };
                            axis(0) + axis(1)
                        }
                        Factor::Gaussian { .. } => unreachable!("not among the cases"),
                    }
                };
                let x = Tensor::from_slice(&[0.9, -0.3, 1.0, -0.6, 0.5, -0.2, 0.3, -0.4]).view([4, 2]) * sde.prior_std().min(2.0);
                let got = score(sde, &law, factor.clone(), &x) - model.score(&At::whole(&x, &T));
                let direction = normal(2, &[4, 2]);
                let h = 1e-5;
                let slope = (mass(&(&x + &direction * h)) - mass(&(&x - &direction * h))) / (2.0 * h);
                let along = (got * &direction).sum_dim_intlist(1i64, false, None::<Kind>);
                let off = largest(&((along - &slope) / slope.abs().clamp_min(1e-3)));
                assert!(off < 1e-4, "{name}, {}: {off}", factor.name());
            }
        }
    }

    /// Of N(0, 1) cut at b the mean is φ(b) / Φ(-b).
    #[test]
    fn samples_stay_in_their_half_of_space() {
        tch::set_num_threads(1);
        let law = GaussianMixture { weights: vec![1.0], means: vec![vec![0.0]], covariances: vec![vec![vec![1.0]]] };
        let model = Product { model: Box::new(exact(&VP, &law)), factor: Factor::HalfSpace { normal: vec![1.0], above: 1.0 } };
        let start = prior(&VP, &[2000, 1]);
        let problem = Problem { x: &start, span: (1.0, 1e-3), denoise: false };
        let solver = SolverSpec::Heun { grid: TimeGrid::LogSnr { steps: 60 } };
        let (x, _) = solver.sample(&Reverse { model: &model, eta: 0.0 }, &problem, &mut |_| no_noise(0), &mut |_| {}).unwrap();
        let x = to_vec(&x);
        assert!(x.iter().all(|x| *x > 0.9), "{:?}", x.iter().copied().fold(f64::INFINITY, f64::min));
        let mean = x.iter().sum::<f64>() / 2000.0;
        assert!((mean - 1.525).abs() < 0.04, "{mean}");
    }

    #[test]
    fn far_from_an_interval_the_slope_is_finite_and_leads_there() {
        tch::set_num_threads(1);
        let at = |a: f64, b: f64| slope(&Tensor::from_slice(&[a]), &Tensor::from_slice(&[b])).double_value(&[0]);
        for (a, b) in [(30.0, 31.0), (30.0, f64::INFINITY), (-31.0, -30.0), (f64::NEG_INFINITY, -30.0)] {
            let slope = at(a, b);
            assert!((slope.abs() - 30.0).abs() < 0.1 && slope.signum() == a.signum(), "{slope} of ({a}, {b})");
        }
        let far = slope(&Tensor::from_slice(&[1e4f32]), &Tensor::from_slice(&[f32::INFINITY])).double_value(&[0]);
        assert!((far / 1e4 - 1.0).abs() < 1e-3, "{far}");
        assert!(at(-1.0, 1.0).abs() < 1e-15 && at(f64::NEG_INFINITY, f64::INFINITY) == 0.0);
    }
}
