//! What a model can say of x_t, and how one quantity becomes another: the one place where it does.
//!
//! With x̂ = `E[x_0 | x_t]` and ε = `E[z | x_t]`, x_t = α x̂ + σ ε, the score is -ε / σ, and the velocity of the probability flow
//! α' x̂ + σ' ε = f x - ½ g² s (Song et al. 2021, eq. 13; Lipman et al. 2023, arXiv 2210.02747, sec. 4). So each is a linear function of
//! x_t and of any other. So is the mean of a step down a chain, which a network in discrete time may predict.

use std::cell::LazyCell;

use tch::Tensor;

use super::At;
use crate::sde::{Level, Sde, Transition};
use crate::tensor::{column, column_of};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// x̂, the denoised state.
    Data,
    /// ε, the noise.
    Noise,
    /// ∇ₓ ln p_t(x) = -ε / σ.
    Score,
    /// dx/dt of the probability flow.
    Velocity,
    /// v = α ε - σ x̂ (Salimans & Ho 2022, arXiv 2202.00512, appendix D), under VP the velocity along the angle arctan(σ / α).
    V,
}

pub struct Prediction {
    pub quantity: Quantity,
    /// [B, ...].
    pub value: Tensor,
    /// Of a model that has learnt the variance of its steps down, β^v β̃^(1-v) ([`Variance::Learned`](crate::sde::Variance)): v [B, ...], as
    /// β and β̃ are those of whichever step.
    pub interpolation: Option<Tensor>,
}

impl Prediction {
    /// Of nothing else.
    pub fn of(quantity: Quantity, value: Tensor) -> Prediction {
        Prediction { quantity, value, interpolation: None }
    }

    pub fn of_score(value: Tensor) -> Prediction {
        Prediction::of(Quantity::Score, value)
    }

    /// From the mean μ = x / α_ts - γ ε of a step down, with x̂ for x_0 in that of q(x_s | x_t, x_0) and γ of [`Transition::gain`] (Ho et al.
    /// 2020, eq. 11). `step` is the one from each time.
    pub fn of_mean(mean: Tensor, at: &At, step: &dyn Fn(f64) -> Transition) -> Prediction {
        let of = |number: &dyn Fn(Transition) -> f64| column_of(at.x, at.t, |t| number(step(t)));
        let value = at.x * of(&|step| 1.0 / (step.shrinkage() * step.gain())) - mean * of(&|step| 1.0 / step.gain());
        Prediction::of(Quantity::Noise, value)
    }

    /// How far it is off the truth for x = α x_0 + σ z at the level `level(t)`, in its own quantity [B, ...], and the factors c `[B]` with which that is
    /// the noise's error ε - z. A score's is the noise's.
    pub fn errors(self, sde: &dyn Sde, level: &dyn Fn(f64) -> Level, (x0, z): (&Tensor, &Tensor), at: &At) -> (Tensor, Vec<f64>) {
        let levels: Vec<Level> = at.t.iter().map(|&t| level(t)).collect();
        let all = |f: &dyn Fn(&Level) -> f64| levels.iter().map(f).collect::<Vec<f64>>();
        let of = |f: &dyn Fn(&Level) -> f64| column(x0, all(f));
        match self.quantity {
            Quantity::Data => (self.value - x0, all(&|level| -level.alpha / level.sigma)),
            Quantity::Velocity => {
                let truth = x0 * of(&|level| sde.slope(level.t).alpha) + z * of(&|level| sde.slope(level.t).sigma);
                // α / (α σ' - σ α'), where g² = 2 σ (σ' - σ α' / α).
                (self.value - truth, all(&|level| 2.0 * level.sigma / sde.diffusion(level.t).powi(2)))
            }
            Quantity::V => {
                let truth = z * of(&|level| level.alpha) - x0 * of(&|level| level.sigma);
                (self.value - truth, all(&|level| level.alpha / (level.alpha.powi(2) + level.sigma.powi(2))))
            }
            Quantity::Noise | Quantity::Score => (self.into_quantity(Quantity::Noise, sde, level, at) - z, vec![1.0; levels.len()]),
        }
    }

    /// The value as another quantity: x at t is at the level `level(t)`, the velocity is that of `sde`.
    ///
    /// From x̂, the velocity and v all is finite where α = 0, too; from the noise and the score what divides by α is not.
    pub fn into_quantity(self, wanted: Quantity, sde: &dyn Sde, level: &dyn Fn(f64) -> Level, at: &At) -> Tensor {
        if self.quantity == wanted {
            return self.value;
        }
        let together = at.t.iter().all(|&t| t == at.t[0]);
        let times = if together { &at.t[..1] } else { at.t };
        let combinations: Vec<[f64; 3]> = times.iter().map(|&t| combination(self.quantity, wanted, sde, t, level)).collect();
        let all = |i: usize, number: f64| combinations.iter().all(|combination| combination[i] == number);
        let factor = |i: usize| column(at.x, combinations.iter().map(|combination| combination[i]));
        let mut sum = self.value * factor(1);
        if !all(0, 0.0) {
            sum += if all(0, 1.0) { at.x.shallow_clone() } else { at.x * factor(0) };
        }
        if all(2, 1.0) { sum } else { sum / factor(2) }
    }
}

/// [p, q, r] of (p x + q value) / r at t.
fn combination(given: Quantity, wanted: Quantity, sde: &dyn Sde, t: f64, level: &dyn Fn(f64) -> Level) -> [f64; 3] {
    use Quantity::{Data, Noise, Score, V, Velocity};
    // What a case does not need is not worked out.
    let at = LazyCell::new(|| level(t));
    let slope = LazyCell::new(|| sde.slope(t));
    let half_rate = || 0.5 * sde.diffusion(t).powi(2);
    let determinant = || at.alpha * slope.sigma - at.sigma * slope.alpha;
    let square = || at.alpha * at.alpha + at.sigma * at.sigma;
    let half_square_slope = || at.alpha * slope.alpha + at.sigma * slope.sigma;
    match (given, wanted) {
        (Data, Data) | (Noise, Noise) | (Score, Score) | (Velocity, Velocity) | (V, V) => [0.0, 1.0, 1.0],
        (Score, Data) => [1.0, at.sigma * at.sigma, at.alpha],
        (Score, Noise) => [0.0, -at.sigma, 1.0],
        (Score, Velocity) => [sde.drift(t), -half_rate(), 1.0],
        (Noise, Data) => [1.0, -at.sigma, at.alpha],
        (Noise, Score) => [0.0, -1.0 / at.sigma, 1.0],
        (Noise, Velocity) => [sde.drift(t), half_rate() / at.sigma, 1.0],
        (Data, Noise) => [1.0, -at.alpha, at.sigma],
        (Data, Score) => [-1.0, at.alpha, at.sigma * at.sigma],
        (Data, Velocity) => [slope.sigma, -determinant(), at.sigma],
        (Velocity, Data) => [slope.sigma, -at.sigma, determinant()],
        (Velocity, Noise) => [-slope.alpha, at.alpha, determinant()],
        (Velocity, Score) => [slope.alpha, -at.alpha, at.sigma * determinant()],
        (V, Data) => [at.alpha, -at.sigma, square()],
        (V, Noise) => [at.sigma, at.alpha, square()],
        (V, Score) => [-1.0, -at.alpha / at.sigma, square()],
        (V, Velocity) => [half_square_slope(), determinant(), square()],
        (Data, V) => [at.alpha, -square(), at.sigma],
        (Noise, V) => [-at.sigma, square(), at.alpha],
        (Score, V) => [-at.sigma, -at.sigma * square(), at.alpha],
        (Velocity, V) => [-half_square_slope(), square(), determinant()],
    }
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;
    use crate::tensor::{column_of, to_vec};
    use crate::testing::{LINEAR, chained, sdes};

    const ALL: [Quantity; 5] = [Quantity::Data, Quantity::Noise, Quantity::Score, Quantity::Velocity, Quantity::V];

    /// x_t and the quantities for two examples with known x̂ and ε, at their own times.
    fn world(sde: &dyn Sde, t: &[f64]) -> (Tensor, [Tensor; 5]) {
        let data = Tensor::from_slice(&[0.3, -1.2, 2.0, 0.7]).view([2, 2]);
        let noise = Tensor::from_slice(&[-0.4, 0.9, 1.1, -2.0]).view([2, 2]);
        let of = |f: &dyn Fn(f64) -> f64| column_of(&data, t, f);
        let x = &data * of(&|t| sde.level(t).alpha) + &noise * of(&|t| sde.level(t).sigma);
        let score = -&noise / of(&|t| sde.level(t).sigma);
        let velocity = &data * of(&|t| sde.slope(t).alpha) + &noise * of(&|t| sde.slope(t).sigma);
        let v = &noise * of(&|t| sde.level(t).alpha) - &data * of(&|t| sde.level(t).sigma);
        (x, [data, noise, score, velocity, v])
    }

    #[test]
    fn every_quantity_becomes_every_other() {
        tch::set_num_threads(1);
        for (_, sde) in sdes() {
            for t in [[0.05, 0.4], [0.3, 0.3]] {
                let (x, truth) = world(sde, &t);
                for (quantity, value) in ALL.iter().zip(&truth) {
                    for (wanted, truth) in ALL.iter().zip(&truth) {
                        let given = Prediction::of(*quantity, value.copy());
                        let got = given.into_quantity(*wanted, sde, &|t| sde.level(t), &At::whole(&x, &t));
                        let apart = ((got - truth) / (truth.abs() + 1.0)).abs().max().double_value(&[]);
                        assert!(apart < 1e-9, "{quantity:?} as {wanted:?} at {t:?}: {apart}");
                    }
                }
            }
        }
    }

    #[test]
    fn errors_of_every_quantity_are_multiples_of_the_noises() {
        tch::set_num_threads(1);
        let t = [0.05, 0.4];
        for (name, sde) in sdes() {
            let (x, [data, noise, ..]) = world(sde, &t);
            let off = Tensor::from_slice(&[0.2, -0.1, 0.05, 0.3]).view([2, 2]);
            for quantity in ALL {
                // A prediction whose noise is off by `off`.
                let at = At::whole(&x, &t);
                let value = Prediction::of(Quantity::Noise, &noise + &off).into_quantity(quantity, sde, &|t| sde.level(t), &at);
                let (errors, c) = Prediction::of(quantity, value).errors(sde, &|t| sde.level(t), (&data, &noise), &at);
                let apart = (errors * column(&x, c) - &off).abs().max().double_value(&[]);
                assert!(apart < 1e-9, "{name}, {quantity:?}: {apart}");
            }
        }
    }

    #[test]
    fn the_mean_of_a_step_down_is_that_of_the_posterior_with_the_denoised_state() {
        tch::set_num_threads(1);
        for (name, sde) in chained() {
            let chain = sde.chain(100).unwrap();
            let (_, [data, noise, ..]) = world(sde, &[0.5, 0.5]);
            // From the lowest level the step leads to the data.
            for places in [[0, 1], [40, 99]] {
                let t = places.map(|i| chain.time(i));
                let of = |f: &dyn Fn(f64) -> f64| column_of(&data, &t, f);
                let x = &data * of(&|t| chain.level(t).alpha) + &noise * of(&|t| chain.level(t).sigma);
                let mean = &x * of(&|t| chain.step(t).posterior_mean().0) + &data * of(&|t| chain.step(t).posterior_mean().1);
                let got = Prediction::of_mean(mean, &At::whole(&x, &t), &|t| chain.step(t)).value;
                let apart = (got - &noise).abs().max().double_value(&[]);
                assert!(apart < 1e-7, "{name}, levels {places:?}: the noise is off by {apart}");
            }
        }
    }

    #[test]
    fn data_and_velocities_serve_a_time_without_signal() {
        tch::set_num_threads(1);
        let t = [1.0, 1.0];
        let (x, truth) = world(&LINEAR, &t);
        for (quantity, value) in [(Quantity::Data, &truth[0]), (Quantity::Velocity, &truth[3]), (Quantity::V, &truth[4])] {
            for (wanted, truth) in ALL.iter().zip(&truth) {
                let got = Prediction::of(quantity, value.copy()).into_quantity(*wanted, &LINEAR, &|t| LINEAR.level(t), &At::whole(&x, &t));
                let apart = (got - truth).abs().sum(Kind::Double).double_value(&[]);
                assert!(apart < 1e-12, "{quantity:?} as {wanted:?}: {:?}", to_vec(truth));
            }
        }
    }
}
