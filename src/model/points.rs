//! The exact answer for finitely many data.

use tch::{Device, Kind, Tensor};

use super::{At, Model, Prediction, Quantity};
use crate::sde::{NoiseLaw, Sde};
use crate::tensor::column_of;

/// Data that are n points x_i with equal probability, under any process: E[x_0 | x] = Σ w_i x_i with w_i ∝ p(x | x_i). Under a Poisson flow it
/// is the electric field of charges at the x_i (Xu et al. 2022, eq. 5; Xu et al. 2023, eq. 3).
pub struct ExactPoints<'a> {
    sde: &'a dyn Sde,
    /// [n, D], f64
    points: Tensor,
}

impl<'a> ExactPoints<'a> {
    /// Of `points` [n, D].
    pub fn new(sde: &'a dyn Sde, points: &Tensor, device: Device) -> ExactPoints<'a> {
        ExactPoints { sde, points: points.to_kind(Kind::Double).to_device(device) }
    }

    /// ln p(x | x_i) [B, n] but for terms that i does not change.
    fn log_weights(&self, x: &Tensor, t: &[f64]) -> Tensor {
        let off = x.unsqueeze(1) - column_of(x, t, |t| self.sde.alpha(t)).unsqueeze(1) * &self.points;
        let squares = off.square().sum_dim_intlist(2i64, false, None::<Kind>) / column_of(x, t, |t| self.sde.sigma(t).powi(2));
        match self.sde.noise() {
            NoiseLaw::Normal => squares * -0.5,
            NoiseLaw::Student { freedom } => (squares / freedom).log1p() * (-0.5 * (freedom + x.size()[1] as f64)),
        }
    }
}

impl Model for ExactPoints<'_> {
    fn sde(&self) -> &dyn Sde {
        self.sde
    }

    fn last_time(&self) -> f64 {
        1.0
    }

    fn predict(&self, at: &At) -> Prediction {
        let weights = self.log_weights(&at.x.to_kind(Kind::Double), at.t).softmax(1, None::<Kind>);
        Prediction::of(Quantity::Data, weights.matmul(&self.points).to_kind(at.x.kind()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::divergence::Probes;
    use crate::dynamics::{FlowWithLogDensity, Reverse, squared_norm};
    use crate::law::noise_rows;
    use crate::rng::Purpose;
    use crate::sde::{PoissonFlow, Ve};
    use crate::solver::{Adaptive, Problem, SolverSpec};
    use crate::tensor::to_vec;
    use crate::testing::{largest, no_noise};

    fn points() -> Tensor {
        Tensor::from_slice(&[-1.0, 0.3, 0.8, 0.9, 0.1, -1.1]).view([3, 2])
    }

    fn flow(extra_dimensions: f64) -> PoissonFlow {
        PoissonFlow { sigma_min: 0.05, sigma_max: 60.0, extra_dimensions }
    }

    fn rk45() -> SolverSpec {
        SolverSpec::Rk45(Adaptive::new(1e-8, 1e-8))
    }

    /// Xu et al. 2022, eq. 5 and 7: dx/dz = E_x / E_z with the field E = Σ (x̃ - x̃_i) / ‖x̃ - x̃_i‖^(N + 1) of charges at z = 0.
    #[test]
    fn one_extra_dimension_is_the_field_of_charges() {
        tch::set_num_threads(1);
        let (sde, points) = (flow(1.0), points());
        let field = ExactPoints::new(&sde, &points, Device::Cpu);
        let x = Tensor::from_slice(&[0.2, 0.4, -3.0, 1.0, 5.0, 20.0]).view([3, 2]);
        for t in [0.1, 0.5, 0.9] {
            let z = sde.sigma(t);
            let off = x.unsqueeze(1) - &points;
            let strength = (off.square().sum_dim_intlist(2i64, true, None::<Kind>) + z * z).pow_tensor_scalar(-1.5);
            let truth =
                (&off * &strength).sum_dim_intlist(1i64, false, None::<Kind>) / (strength.sum_dim_intlist(1i64, false, None::<Kind>) * z);
            let got = field.velocity(&At::whole(&x, &[t; 3])) / sde.slope(t).sigma;
            assert!(largest(&(&got - &truth)) < 1e-12 * largest(&truth), "{got} is not {truth}");
        }
    }

    /// Xu et al. 2023, theorem 4.
    #[test]
    fn many_extra_dimensions_are_normal_noise() {
        tch::set_num_threads(1);
        let ve = Ve { sigma_min: 0.05, sigma_max: 60.0 };
        let x = Tensor::from_slice(&[0.2, 0.4, -3.0, 1.0, 0.5, -2.0]).view([3, 2]);
        let (few, many) = (flow(1e3), flow(1e7));
        let distance = |sde| {
            let at = At::whole(&x, &[0.3, 0.5, 0.7]);
            largest(&(ExactPoints::new(sde, &points(), Device::Cpu).data(&at) - ExactPoints::new(&ve, &points(), Device::Cpu).data(&at)))
        };
        assert!(distance(&many) < 1e-5 && distance(&few) > 10.0 * distance(&many), "{}, {}", distance(&few), distance(&many));
    }

    /// From the prior the lines of the field end at the data, at each as often as another.
    #[test]
    fn samples_of_a_poisson_flow_are_the_data() {
        tch::set_num_threads(1);
        const N: i64 = 3000;
        for extra_dimensions in [1.0, 16.0] {
            let sde = flow(extra_dimensions);
            let model = ExactPoints::new(&sde, &points(), Device::Cpu);
            let prior =
                noise_rows(sde.noise(), 1, Purpose::Prior, 0..N as u64, 0, &[2], Device::Cpu).to_kind(Kind::Double) * sde.prior_std();
            let problem = Problem { x: &prior, span: (1.0, 1e-3), denoise: true };
            let solver = SolverSpec::Rk45(Adaptive::new(1e-4, 1e-4));
            let (x, _) = solver.sample(&Reverse { model: &model, eta: 0.0 }, &problem, &mut no_noise, &mut |_| {}).unwrap();
            let off = (x.unsqueeze(1) - points()).square().sum_dim_intlist(2i64, false, None::<Kind>);
            let at = off.lt(1e-2).to_kind(Kind::Double).mean_dim(0i64, false, None::<Kind>);
            for part in to_vec(&at) {
                assert!((part - 1.0 / 3.0).abs() < 4.5 * (2.0 / 9.0 / N as f64).sqrt() + 0.01, "D = {extra_dimensions}: {at}");
            }
        }
    }

    /// p at t_min is the mean of Student's densities around the data.
    #[test]
    fn the_flows_likelihood_is_the_closed_form() {
        tch::set_num_threads(1);
        // The prior has the law of x_1 but for its mean of 0.
        let centred = points() - points().mean_dim(0i64, true, None::<Kind>);
        let t = 0.35;
        let x = Tensor::from_slice(&[0.2, 0.4, -1.5, 0.1, 0.5, -2.0]).view([3, 2]);
        for extra_dimensions in [1.0, 16.0] {
            let sde = PoissonFlow { sigma_max: 2000.0, ..flow(extra_dimensions) };
            let model = ExactPoints::new(&sde, &centred, Device::Cpu);
            let flow = FlowWithLogDensity::new(&model, vec![2], Probes::Exact);
            let start = flow.start(&x);
            let (end, _) = rk45().general().unwrap().solve(&flow, &sde, &start, (t, 1.0), &mut |_| {}).unwrap();
            let (x_end, change) = flow.split(&end);
            let priors = squared_norm(&x_end).into_iter().map(|square| sde.prior_log_density(square, 2));
            let squares = (x.unsqueeze(1) - &centred).square().sum_dim_intlist(2i64, false, None::<Kind>);
            for ((prior, change), squares) in priors.zip(to_vec(&change)).zip(to_vec(&squares).chunks(3)) {
                let mean = squares.iter().map(|&square| sde.noise().log_density(sde.sigma(t).powi(2), square, 2).exp()).sum::<f64>() / 3.0;
                assert!((prior - change - mean.ln()).abs() < 1e-4, "D = {extra_dimensions}: {} is not {}", prior - change, mean.ln());
            }
        }
    }
}
