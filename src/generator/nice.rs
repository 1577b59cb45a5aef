//! NICE: additive couplings (Dinh et al. 2014, arXiv 1410.8516).

use std::f64::consts::PI;
use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, no_grad};

use super::{Draws, Estimate, Generator};
use crate::error::Fault;
use crate::net::Held;
use crate::net::perceptron::Perceptron;
use crate::optim::{Builder, Init, Losses};
use crate::rng::{self, Law, Purpose};
use crate::tensor::{logistic_of_normal, sum_per_example};

/// `[flow.nice]`: additive couplings of every other component, and a scale for each. Dinh et al. 2014.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Couplings, 3 to 1000; with fewer some components do not see all others. The paper has 4.
    pub couplings: usize,
    /// Features of a coupling's hidden layers, 1 to 65536; the paper has 1000 for MNIST.
    pub width: usize,
    /// Hidden layers of a coupling, 1 to 100; the paper has 5 for MNIST.
    pub depth: usize,
    pub prior: Prior,
}

/// The law of a component of z; all are independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Prior {
    /// ln p(z) = -ln(1 + e^z) - ln(1 + e^-z).
    Logistic,
    /// N(0, 1).
    Gaussian,
}

impl Prior {
    /// Σ ln p(z_i) `[B]` of z [B, D].
    fn log_density(self, z: &Tensor) -> Tensor {
        match self {
            Prior::Logistic => sum_per_example(&(z.log_sigmoid() + z.neg().log_sigmoid())),
            Prior::Gaussian => sum_per_example(&((z.square() + (2.0 * PI).ln()) * -0.5)),
        }
    }

    /// Draws of it from draws of N(0, 1).
    fn of_normal(self, z: &Tensor) -> Tensor {
        match self {
            Prior::Logistic => logistic_of_normal(z),
            Prior::Gaussian => z.shallow_clone(),
        }
    }
}

impl Spec {
    /// Whether it can serve data of so many dimensions.
    pub fn check(&self, dimension: usize) -> Result<(), Fault> {
        Fault::unless_in("couplings", self.couplings, 3..=1000, "4 are in the paper")?;
        Fault::unless_in("width", self.width, 1..=65536, "128 serves two dimensions")?;
        Fault::unless_in("depth", self.depth, 1..=100, "2 serves two dimensions")?;
        if dimension < 2 {
            return Err(Fault::new(
                "",
                "the data have one dimension, and a coupling maps one half of them by the other",
                "use another family",
            ));
        }
        Ok(())
    }

    pub(super) fn held(&self, dimension: usize) -> Held {
        let (of_one, half) = (|size| Perceptron::held(size, self.depth), dimension.div_ceil(2));
        let pass = of_one([half, self.width, half]);
        Held { with_graph: self.couplings as f64 * pass, without_graph: pass + 4.0 * dimension as f64 }
    }
}

/// z = eˢ ⊙ h_n: h_0 = x, and coupling l adds m_l(one half of the components) to the other half, in turns (eq. 5 to 7, 3.3), so that
/// ln p(x) = Σ ln p(z_i) + Σ s_i. The halves are the components of even and of odd number; z has the even ones first.
pub struct Nice {
    couplings: Vec<Perceptron>,
    /// s `[D]`, in the order of z.
    log_scale: Tensor,
    prior: Prior,
    /// Of a batch, [-1, ...].
    shape: Vec<i64>,
}

impl Nice {
    /// `spec` has passed its check for data of `shape`.
    pub fn new(spec: &Spec, shape: &[usize], builder: &Builder) -> Nice {
        let d = shape.iter().product::<usize>() as i64;
        let half = |l: usize| (d + 1 - l as i64 % 2) / 2;
        let coupling = |l| Perceptron::new([half(l + 1), spec.width as i64, half(l)], spec.depth, 0.0, &builder.part("couplings").part(l));
        let couplings = (0..spec.couplings).map(coupling).collect();
        let log_scale = builder.parameter("log_scale", &[d], Init::Constant(0.0));
        let shape = std::iter::once(-1).chain(shape.iter().map(|&n| n as i64)).collect();
        Nice { couplings, log_scale, prior: spec.prior, shape }
    }

    /// z [B, D] of x [B, ...], and ln |det ∂z/∂x|, the same number for every x.
    pub fn forward(&self, x: &Tensor) -> (Tensor, Tensor) {
        let x = x.flatten(1, -1);
        let mut halves = [0, 1].map(|first| x.slice(1, first, None, 2));
        for (l, coupling) in self.couplings.iter().enumerate() {
            halves[l % 2] = &halves[l % 2] + coupling.forward(&halves[1 - l % 2]);
        }
        (Tensor::cat(&halves, 1) * self.log_scale.exp(), self.log_scale.sum(None::<Kind>))
    }

    /// x [B, ...] of z [B, D], and ln |det ∂x/∂z|; without a graph.
    pub fn inverse(&self, z: &Tensor) -> (Tensor, Tensor) {
        no_grad(|| {
            let h = z * self.log_scale.neg().exp();
            let even = (h.size()[1] + 1) / 2;
            let mut halves = [h.narrow(1, 0, even), h.narrow(1, even, h.size()[1] - even)];
            for (l, coupling) in self.couplings.iter().enumerate().rev() {
                halves[l % 2] = &halves[l % 2] - coupling.forward(&halves[1 - l % 2]);
            }
            let x = h.empty_like();
            halves.iter().zip([0, 1]).for_each(|(half, first)| x.slice(1, first, None, 2).copy_(half));
            (x.view(self.shape.as_slice()), -self.log_scale.sum(None::<Kind>))
        })
    }

    /// In the kind of the network.
    fn log_density_of(&self, x: &Tensor) -> Tensor {
        let (z, log_det) = self.forward(&x.to_kind(self.log_scale.kind()));
        self.prior.log_density(&z) + log_det
    }
}

impl Generator for Nice {
    /// -ln p(x₀) in model space, nats.
    fn losses(&self, x0: &Tensor, _seed: u64, _positions: Range<u64>) -> Losses {
        Losses { of_examples: -self.log_density_of(x0), t: None, parts: Vec::new() }
    }

    fn draw(&self, seed: u64, rows: Range<u64>, temperature: f64) -> Tensor {
        let d = self.log_scale.size();
        let normal = rng::rows(Law::Gaussian, seed, Purpose::Prior, rows, 0, &d, self.log_scale.device());
        let z = self.prior.of_normal(&normal.to_kind(self.log_scale.kind())) * temperature;
        self.inverse(&z).0
    }

    fn log_density(&self, x: &Tensor, _draws: &Draws) -> Estimate {
        Estimate::exact(no_grad(|| self.log_density_of(x).to_kind(Kind::Double)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::{Adam, Parameters, clip_by_norm};
    use crate::testing::{largest, mean_and_error, normal};
    use tch::Device;

    fn flow(prior: Prior, dimension: usize) -> (Nice, Parameters) {
        let spec = Spec { couplings: 4, width: 16, depth: 2, prior };
        spec.check(dimension).unwrap();
        let builder = Builder::new(1, Kind::Double, Device::Cpu);
        let flow = Nice::new(&spec, &[dimension], &builder);
        let parameters = builder.finish();
        // A new flow is the identity.
        let flat = parameters.flat();
        let _ = no_grad(|| flat.shallow_clone().g_add_(&(normal(9, &flat.size()) * 0.3)));
        (flow, parameters)
    }

    #[test]
    fn the_density_integrates_to_one() {
        tch::set_num_threads(1);
        for prior in [Prior::Logistic, Prior::Gaussian] {
            let (n, width) = (400, 60.0);
            let axis = (Tensor::arange(n, (Kind::Double, Device::Cpu)) + 0.5) * (width / n as f64) - width / 2.0;
            let grid = Tensor::stack(&Tensor::meshgrid_indexing(&[&axis, &axis], "ij"), 2).view([-1, 2]);
            let mass =
                no_grad(|| flow(prior, 2).0.log_density_of(&grid)).exp().sum(Kind::Double).double_value(&[]) * (width / n as f64).powi(2);
            assert!((mass - 1.0).abs() < 1e-4, "{prior:?}: {mass}");
        }
    }

    #[test]
    fn the_two_directions_undo_each_other() {
        tch::set_num_threads(1);
        for dimension in [2, 5] {
            let (flow, _) = flow(Prior::Logistic, dimension);
            let x = normal(0, &[7, dimension as i64]);
            let (z, there) = flow.forward(&x);
            let (back, and_back) = flow.inverse(&z);
            assert!(largest(&(&back - &x)) < 1e-12 && largest(&(&z - &x)) > 0.1);
            assert!((there + and_back).double_value(&[]).abs() < 1e-15);
        }
    }

    #[test]
    fn the_log_determinant_is_that_of_the_jacobian() {
        tch::set_num_threads(1);
        let (flow, _) = flow(Prior::Logistic, 5);
        let x = normal(0, &[1, 5]).set_requires_grad(true);
        let (z, log_det) = flow.forward(&x);
        let rows: Vec<Tensor> = (0..5).map(|i| Tensor::run_backward(&[z.get(0).get(i)], &[&x], true, false).remove(0)).collect();
        let truth = Tensor::linalg_slogdet(&Tensor::cat(&rows, 0)).1;
        assert!((&log_det - truth).double_value(&[]).abs() < 1e-12 && log_det.double_value(&[]).abs() > 0.1);
    }

    #[test]
    fn draws_are_of_the_density() {
        tch::set_num_threads(1);
        for prior in [Prior::Logistic, Prior::Gaussian] {
            // The entropy by draws, against that of the prior less the log-determinant.
            let (flow, _) = flow(prior, 2);
            let (entropy, error) = mean_and_error(&-flow.log_density_of(&flow.draw(1, 0..4000, 1.0)));
            let of_prior = match prior {
                Prior::Logistic => 2.0,
                Prior::Gaussian => 0.5 * (2.0 * PI).ln() + 0.5,
            };
            let truth = 2.0 * of_prior - flow.log_scale.sum(Kind::Double).double_value(&[]);
            assert!((entropy - truth).abs() < 4.0 * error, "{prior:?}: {entropy} ± {error} is not {truth}");
        }
        let (flow, _) = flow(Prior::Gaussian, 3);
        let apart = flow.draw(1, 4..6, 0.5) - flow.draw(1, 0..6, 0.5).narrow(0, 4, 2);
        assert!(largest(&apart) < 1e-12, "a sample does not depend on its batch");
    }

    #[test]
    fn trained_on_a_gaussian_it_reaches_the_entropy() {
        tch::set_num_threads(1);
        let mix = Tensor::from_slice(&[1.0, 0.0, 0.8, 0.5]).view([2, 2]);
        let data = |draw| normal(draw, &[512, 2]).matmul(&mix.tr());
        let (flow, parameters) = flow(Prior::Gaussian, 2);
        let mut adam = Adam::new(parameters.flat(), [0.9, 0.999], 1e-8, 0.0);
        for step in 1..=300 {
            let loss = flow.losses(&data(step), 1, 0..512).of_examples.mean(Kind::Double);
            let gradient = parameters.gradient(&loss);
            let (_, shrink) = clip_by_norm(&gradient, 10.0);
            adam.update(parameters.flat(), (&gradient, &shrink), 0.01, step, |_, _| ());
        }
        let x = data(1000);
        let truth = (2.0 * PI).ln() + 1.0 + 0.5f64.ln();
        let (entropy, error) = mean_and_error(&-flow.log_density_of(&x));
        assert!((entropy - truth).abs() < 4.0 * error + 0.02, "{entropy} ± {error} is not {truth}");
    }
}
