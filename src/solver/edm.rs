//! Heun's method in σ/α with churn: Karras et al. 2022 (EDM, arXiv 2206.00364), algorithm 2, for every process.
//!
//! With y = x/α and s = σ/α the probability flow is dy/ds = -σ ∇ₓ ln p(x), the predicted noise, whatever the process is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::grid::TimeGrid;
use super::sampler::{Noise, Sampler, Solution, Statistics};
use super::trajectory::{Step, Watch};
use crate::dynamics::Reverse;
use crate::error::{Fault, Result};
use crate::model::At;
use crate::tensor::select;

/// `solver.edm = { s_churn, s_min, s_max, s_noise, grid }`. Levels of noise are of s = σ/α.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Churn {
    /// Before each of N steps s is raised by min(s_churn / N, √2 - 1) of itself with fresh noise; at least 0, which is the deterministic method.
    /// EDM uses 0 to 80. Its N counts the last step to σ = 0, which is no step of the grid here: a published S_churn is this times
    /// (steps + 1) / steps.
    pub s_churn: f64,
    /// Only steps that start within [s_min, s_max] are churned, levels of s = σ/α; at least 0. EDM uses 0.05.
    pub s_min: f64,
    /// At least s_min; `inf` for no limit. EDM uses 50.
    pub s_max: f64,
    /// The standard deviation of the fresh noise, above 0; 1 keeps the law, a little more makes up for a network that denoises too much
    /// (EDM: 1 to 1.007).
    pub s_noise: f64,
    pub grid: TimeGrid,
}

impl Churn {
    pub fn check(&self) -> Result<(), Fault> {
        let Churn { s_churn, s_min, s_max, s_noise, .. } = *self;
        let wrong = |key, value: f64, help| Err(Fault::new(key, format!("{key} is {value}"), help));
        match () {
            _ if !(s_churn >= 0.0 && s_churn.is_finite()) => wrong("s_churn", s_churn, "give a number of at least 0; EDM uses 0 to 80"),
            _ if s_min.is_nan() || s_min < 0.0 => wrong("s_min", s_min, "give a number of at least 0, a level of σ/α; EDM uses 0.05"),
            _ if s_max.is_nan() || s_max < s_min => {
                let message = format!("s_max is {s_max}, below s_min = {s_min}: no step would be churned");
                Err(Fault::new("s_max", message, "give a number above s_min; EDM uses 50, and inf has no limit"))
            }
            _ if !(s_noise > 0.0 && s_noise.is_finite()) => wrong("s_noise", s_noise, "give a number above 0; EDM uses 1 to 1.007"),
            _ => self.grid.check(),
        }
    }

    /// The factor on s before a step of `steps` that starts at s.
    fn raise(&self, s: f64, steps: usize) -> f64 {
        let churned = (self.s_min..=self.s_max).contains(&s);
        if churned { 1.0 + (self.s_churn / steps as f64).min(std::f64::consts::SQRT_2 - 1.0) } else { 1.0 }
    }
}

/// dy/ds at x and t.
fn predicted_noise(reverse: &Reverse, x: &Tensor, t: f64) -> Tensor {
    reverse.model.noise(&At::whole(x, &vec![t; x.size()[0] as usize]))
}

/// Two evaluations a step.
///
/// The paper ends at s = 0 with a step of Euler's; here the way ends at `span.1`, where s is above 0 and Heun's correction is as good as
/// before. That last step to 0 is [`crate::dynamics::denoise`]. Churn stops at s of t = 1, or of the horizon, beyond which nothing was learnt.
impl Sampler for Churn {
    fn solve(&self, reverse: &Reverse, x: &Tensor, span: (f64, f64), noise: &mut Noise, watch: &mut Watch) -> Result<Solution> {
        let _no_grad = tch::no_grad_guard();
        let sde = reverse.sde();
        let times = self.grid.times(sde, span);
        let (batch, steps) = (x.size()[0] as usize, times.len() - 1);
        let level = |t: f64| sde.sigma(t) / sde.alpha(t);
        let mut y = x / sde.alpha(span.0);
        for (n, pair) in times.windows(2).enumerate() {
            let (s, s_new) = (level(pair[0]), level(pair[1]));
            let raised = (s * self.raise(s, steps)).min(level(sde.horizon()));
            let t = if raised > s { sde.time_of_log_snr(-2.0 * raised.ln()).min(sde.horizon()) } else { pair[0] };
            if raised > s {
                y += noise(n) * (self.s_noise * (raised * raised - s * s).sqrt());
            }
            let from = raised.max(s);
            let d = predicted_noise(reverse, &(&y * sde.alpha(t)), t);
            let euler = &y + &d * (s_new - from);
            let change = predicted_noise(reverse, &(euler * sde.alpha(pair[1])), pair[1]) - &d;
            // The slope is a straight line in s.
            let state_at = |t: f64| {
                let (s, alpha) = (level(t), sde.alpha(t));
                let half_share = 0.5 * (s - from) / (s_new - from);
                (&y + (&d + &change * half_share) * (s - from)) * alpha
            };
            let state = |rows: &[usize], times: &[f64]| select(&state_at(times[0]), rows);
            watch(&Step::on_grid(batch, &times, n, raised <= s, &state));
            y = &y + (&d + &change * 0.5) * (s_new - from);
        }
        Ok((y * sde.alpha(span.1), Statistics::of_steps(batch, steps, 2)))
    }
}
