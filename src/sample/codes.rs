//! The probability flow there and back: the codes x_1 of given examples, and the samples of given codes (Song et al. 2021, sec. 4.3).

use tch::{Kind, Tensor, no_grad};

use super::Samples;
use crate::dynamics::{Reverse, denoise};
use crate::error::{Error, Fault, Result};
use crate::model::{Given, Model};
use crate::sample::{DynamicsSpec, Sample};
use crate::solver::{General, Statistics};

/// What carries examples to codes and back.
pub struct Flow<'a> {
    model: &'a dyn Model,
    /// What the model is told of the examples [N, M], or [1, M].
    condition: Option<Tensor>,
    solver: General,
    t_min: f64,
    batch: usize,
}

impl<'a> Flow<'a> {
    /// By the solver of `spec`. A fault's key is relative to `[sample]`: its dynamics have noise, or its solver knows no way back.
    pub fn new(spec: &Sample, model: &'a dyn Model) -> Result<Flow<'a>, Fault> {
        if spec.dynamics != DynamicsSpec::ProbabilityFlow {
            let help =
                "give --set sample.dynamics=probability-flow, and a solver such as --set 'sample.solver={rk45={rtol=1e-6,atol=1e-6}}'";
            return Err(Fault::new("dynamics", "codes are of the probability flow, and these samples are drawn with noise", help));
        }
        if spec.measurement.is_some() {
            return Err(Fault::new("measurement", "codes are of the data's whole law", "remove [sample.measurement]"));
        }
        if spec.guidance.is_some() {
            return Err(Fault::new("guidance", "codes are of the model's own law", "remove [sample.guidance]"));
        }
        let solver = spec.solver.general().map_err(|fault| fault.within("solver"))?;
        Ok(Flow { model, condition: None, solver, t_min: spec.t_min, batch: spec.batch })
    }

    /// Of the law given this.
    pub fn given(self, condition: Option<Tensor>) -> Flow<'a> {
        Flow { condition, ..self }
    }

    /// Parts of x [N, ...], each with its model.
    fn parts(&self, x: &Tensor) -> impl Iterator<Item = (Tensor, Given<'a>)> {
        let of = |first: i64, n: i64| match &self.condition {
            Some(condition) if condition.size()[0] > 1 => Some(condition.narrow(0, first, n)),
            condition => condition.as_ref().map(Tensor::shallow_clone),
        };
        let mut first = 0;
        let part = |x: Tensor| {
            let n = x.size()[0];
            first += n;
            (x, Given { model: self.model, condition: of(first - n, n) })
        };
        x.split(self.batch as i64, 0).into_iter().map(part).collect::<Vec<_>>().into_iter()
    }

    /// The codes x_1 of x [N, ...], taken for states at t_min; f64.
    pub fn encode(&self, x: &Tensor) -> Result<(Tensor, Statistics)> {
        self.carry(x, (self.t_min, self.solver.last_start(self.model)))
    }

    /// The states at t_min of codes [N, ...]; f64.
    pub fn decode(&self, codes: &Tensor) -> Result<(Tensor, Statistics)> {
        self.carry(codes, (self.solver.last_start(self.model), self.t_min))
    }

    /// Samples of codes, with their last denoise if `spec` asks for it.
    pub fn samples(&self, codes: &Tensor, last_denoise: bool) -> Result<Samples> {
        let begun = std::time::Instant::now();
        let (x, statistics) = self.decode(codes)?;
        let last = |(x, model): (Tensor, Given)| if last_denoise { denoise(&model, &x, self.t_min) } else { x };
        let x = Tensor::cat(&self.parts(&x).map(last).collect::<Vec<_>>(), 0);
        let x = x.to_kind(Kind::Float).to_device(tch::Device::Cpu);
        Ok(Samples { x, statistics, seconds: begun.elapsed().as_secs_f64(), ..Samples::bare() })
    }

    fn carry(&self, x: &Tensor, span: (f64, f64)) -> Result<(Tensor, Statistics)> {
        let mut statistics = Statistics::default();
        let mut parts = Vec::new();
        for (part, model) in self.parts(&x.to_kind(Kind::Double)) {
            let reverse = Reverse { model: &model, eta: 0.0 };
            let (end, cost) = no_grad(|| self.solver.solve(&reverse, self.model.sde(), &part, span, &mut |_| {}))?;
            statistics.extend(cost);
            parts.push(end);
        }
        Ok((Tensor::cat(&parts, 0), statistics))
    }
}

/// Codes [steps, ...] from a to b, both [...] and among them, along the great circle of the prior's sphere: sin((1-s) θ) / sin θ a + sin(s
/// θ) / sin θ b, with θ the angle between them (Shoemake 1985; Song et al. 2021a, sec. 5.3).
///
/// Error: fewer than two steps.
pub fn between(a: &Tensor, b: &Tensor, steps: usize) -> Result<Tensor> {
    if steps < 2 {
        return Err(Error::Usage { message: format!("there are {steps} steps between two codes"), help: "give at least 2".into() });
    }
    let dot = |a: &Tensor, b: &Tensor| (a * b).sum(Kind::Double).double_value(&[]);
    let angle = (dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()).clamp(-1.0, 1.0).acos();
    let share = |s: f64| if angle > 1e-9 { (s * angle).sin() / angle.sin() } else { s };
    let shares = (0..steps).map(|i| i as f64 / (steps - 1) as f64);
    Ok(Tensor::stack(&shares.map(|s| a * share(1.0 - s) + b * share(s)).collect::<Vec<_>>(), 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::solver::{Adaptive, SolverSpec};
    use crate::testing::{exact, gaussian, largest, mixture, normal, points, sdes};

    fn spec() -> Sample {
        let solver = SolverSpec::Rk45(Adaptive::new(1e-8, 1e-8));
        let dynamics = DynamicsSpec::ProbabilityFlow;
        Sample {
            count: 1,
            batch: 7,
            dynamics,
            solver,
            t_min: 1e-3,
            denoise: false,
            trajectory: vec![],
            path: None,
            thresholding: None,
            given: None,
            guidance: None,
            measurement: None,
        }
    }

    /// Of a Gaussian the flow only scales: x_1 = m_1 + (x - m) σ_1/σ_0 of its marginals.
    #[test]
    fn codes_of_a_gaussian_are_its_quantiles_and_every_code_leads_back() {
        tch::set_num_threads(1);
        for (name, sde) in sdes() {
            let model = exact(sde, &gaussian(2, 0.4, 0.5));
            let flow = Flow::new(&spec(), &model).unwrap();
            let x = normal(1, &[20, 2]) * 0.5 + 0.4;
            let (codes, statistics) = flow.encode(&x).unwrap();
            let (low, high) = (sde.level(1e-3), sde.level(1.0));
            let std = |level: &crate::sde::Level| ((0.5 * level.alpha).powi(2) + level.sigma.powi(2)).sqrt();
            let truth = (&x - 0.4 * low.alpha) * (std(&high) / std(&low)) + 0.4 * high.alpha;
            assert!(largest(&((&codes - &truth) / sde.prior_std())) < 1e-5, "{name}");
            assert_eq!(statistics.len(), 20);
            let law = mixture();
            let model = exact(sde, &law);
            let flow = Flow::new(&spec(), &model).unwrap();
            let x = points(&law, 3, 10);
            let (back, _) = flow.decode(&flow.encode(&x).unwrap().0).unwrap();
            assert!(largest(&(back - x)) < 1e-4, "{name}");
        }
    }

    #[test]
    fn the_way_between_two_codes_stays_on_their_sphere() {
        tch::set_num_threads(1);
        let (a, b) = (normal(1, &[3, 4]), normal(2, &[3, 4]));
        let b = &b * (a.norm() / b.norm());
        let way = between(&a, &b, 5).unwrap();
        assert!(largest(&(way.get(0) - &a)) < 1e-12 && largest(&(way.get(4) - &b)) < 1e-12);
        assert!(
            largest(&(way.flatten(1, -1).square().sum_dim_intlist(1i64, false, None::<Kind>) / a.square().sum(Kind::Double) - 1.0)) < 1e-12
        );
        assert!(largest(&(between(&a, &a, 3).unwrap().get(1) - &a)) < 1e-12);
        assert!(between(&a, &b, 1).is_err());
    }

    #[test]
    fn noise_has_no_codes() {
        let model = exact(sdes()[0].1, &mixture());
        let noisy = Sample { dynamics: DynamicsSpec::ReverseSde, ..spec() };
        assert_eq!(Flow::new(&noisy, &model).err().unwrap().key, "dynamics");
    }
}
