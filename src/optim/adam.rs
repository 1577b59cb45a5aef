//! Adam (Kingma & Ba 2015) on one flat buffer, with L2 regularisation, warm-up and clipping by the global norm.

use tch::{Tensor, no_grad};

use super::block::{Block, norm};

/// Moments of the gradient; both `[P]`, and part of every checkpoint.
pub struct Adam {
    pub first_moment: Tensor,
    pub second_moment: Tensor,
    betas: [f64; 2],
    eps: f64,
    weight_decay: f64,
}

impl Adam {
    pub fn new(parameters: &Tensor, betas: [f64; 2], eps: f64, weight_decay: f64) -> Adam {
        no_grad(|| Adam { first_moment: parameters.zeros_like(), second_moment: parameters.zeros_like(), betas, eps, weight_decay })
    }

    /// The n-th update, n = 1, 2, …: θ -= lr · m̂ / (√v̂ + ε) with m̂ = m / (1 - β₁ⁿ), v̂ = v / (1 - β₂ⁿ), m and v being averages of g and g²
    /// for the gradient g = shrink · `gradient` + weight decay · θ, that of a loss with ½ weight decay ‖θ‖². `then` gets what was updated
    /// block by block, while it is near: where the block is in the buffer, and its θ.
    pub fn update(
        &mut self,
        parameters: &Tensor,
        (gradient, shrink): (&Tensor, &Tensor),
        lr: f64,
        n: u64,
        mut then: impl FnMut(Block, &Tensor),
    ) {
        no_grad(|| {
            let [beta1, beta2] = self.betas;
            // The factor -lr / (1 - β₁ⁿ) goes into the denominator, so that one pass ends the update.
            let factor = -(1.0 - beta1.powf(n as f64)) / lr;
            for block in Block::all(parameters) {
                let [mut theta, gradient, mut m, mut v] =
                    [parameters, gradient, &self.first_moment, &self.second_moment].map(|buffer| block.of(buffer));
                let mut gradient = gradient * shrink;
                if self.weight_decay != 0.0 {
                    gradient += &theta * self.weight_decay;
                }
                let _ = m.lerp_(&gradient, 1.0 - beta1);
                let _ = v.lerp_(&gradient.square_(), 1.0 - beta2);
                if lr != 0.0 {
                    let denominator = v.sqrt().g_mul_scalar_(factor / (1.0 - beta2.powf(n as f64)).sqrt()).g_add_scalar_(factor * self.eps);
                    let _ = theta.addcdiv_(&m, &denominator);
                }
                then(block, &theta);
            }
        })
    }
}

/// The norm of a gradient `[P]`, and the factor that makes it no longer than `max`; tensors without axes.
pub fn clip_by_norm(gradient: &Tensor, max: f64) -> (Tensor, Tensor) {
    no_grad(|| {
        let norm = norm(gradient);
        let shrink = if max.is_finite() { (max / (&norm + 1e-6)).clamp_max(1.0) } else { norm.ones_like() };
        (norm, shrink)
    })
}

/// lr · min(step / warm-up, 1) for step = 0, 1, …; as in the reference, the first step has rate 0.
pub fn warm_up(lr: f64, warmup: u64, step: u64) -> f64 {
    if step < warmup { lr * step as f64 / warmup as f64 } else { lr }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::optim::Ema;
    use crate::optim::block::LENGTH;
    use crate::rng::{self, Purpose};
    use crate::tensor::to_vec;

    #[test]
    fn first_update_is_the_learning_rate_in_the_direction_of_the_sign() {
        let parameters = Tensor::from_slice(&[1.0, 2.0, 3.0]);
        let mut adam = Adam::new(&parameters, [0.9, 0.999], 1e-8, 0.0);
        adam.update(&parameters, (&Tensor::from_slice(&[0.3, -20.0, 0.0]), &Tensor::from(1.0)), 0.1, 1, |_, _| ());
        for (got, truth) in to_vec(&parameters).iter().zip([0.9, 2.1, 3.0]) {
            assert!((got - truth).abs() < 1e-6, "{got} is not {truth}");
        }
    }

    #[test]
    fn updates_equal_the_formula_written_out() {
        let parameters = Tensor::from_slice(&[0.5, -0.7]);
        let mut adam = Adam::new(&parameters, [0.8, 0.95], 1e-3, 0.1);
        let (mut theta, mut m, mut v) = ([0.5, -0.7], [0.0; 2], [0.0; 2]);
        for n in 1..=20u64 {
            let (gradient, shrink) = ([theta[0] * 3.0, (n as f64).sin()], 1.0 / n as f64);
            let lr = warm_up(0.02, 10, n - 1);
            adam.update(&parameters, (&Tensor::from_slice(&gradient), &Tensor::from(shrink)), lr, n, |_, _| ());
            for i in 0..2 {
                let g: f64 = shrink * gradient[i] + 0.1 * theta[i];
                m[i] = 0.8 * m[i] + 0.2 * g;
                v[i] = 0.95 * v[i] + 0.05 * g * g;
                let (m_hat, v_hat) = (m[i] / (1.0 - 0.8f64.powi(n as i32)), v[i] / (1.0 - 0.95f64.powi(n as i32)));
                theta[i] -= lr * m_hat / (f64::sqrt(v_hat) + 1e-3);
            }
        }
        for (got, truth) in to_vec(&parameters).iter().zip(theta) {
            assert!((got - truth).abs() < 1e-12, "{got} is not {truth}");
        }
    }

    #[test]
    fn a_long_buffer_is_updated_as_its_parts_are() {
        tch::set_num_threads(1);
        let lengths = [LENGTH, LENGTH, 3];
        let size = lengths.iter().sum::<i64>();
        let [start, gradient] = [0, 1].map(|draw| rng::normal(1, Purpose::Init, draw, &[size], Device::Cpu));
        let updated = |begin: i64, length: i64| {
            let (theta, gradient) = (start.narrow(0, begin, length).copy(), gradient.narrow(0, begin, length));
            let (mut adam, ema) = (Adam::new(&theta, [0.9, 0.999], 1e-8, 0.01), Ema::new(&theta, 0.9));
            for n in 1..=3 {
                adam.update(&theta, (&gradient, &Tensor::from(0.5f32)), 0.1, n, |block, theta| ema.update(&block, theta, n));
            }
            Tensor::stack(&[theta, ema.average, adam.first_moment, adam.second_moment], 0)
        };
        let parts: Vec<Tensor> = lengths
            .iter()
            .scan(0, |end, length| Some((std::mem::replace(end, *end + length), *length)))
            .map(|(begin, length)| updated(begin, length))
            .collect();
        let whole = updated(0, size);
        assert!(whole.equal(&Tensor::cat(&parts, 1)));
        assert!((whole.get(0) - start).abs().min().double_value(&[]) > 0.0, "every number moved");
    }

    #[test]
    fn clipping_keeps_short_gradients() {
        let clip = |values: &[f64], max| {
            let (norm, shrink) = clip_by_norm(&Tensor::from_slice(values), max);
            [norm.double_value(&[]), shrink.double_value(&[])]
        };
        let [norm, shrink] = clip(&[3.0, 4.0], 1.0);
        assert!(norm == 5.0 && (shrink - 0.2).abs() < 1e-6);
        assert_eq!(clip(&[0.3, 0.4], 1.0)[1], 1.0);
        assert_eq!(clip(&[3.0, 4.0], f64::INFINITY), [5.0, 1.0]);
    }

    #[test]
    fn warm_up_starts_at_zero_and_reaches_the_rate() {
        assert_eq!([0, 1, 5, 10, 11].map(|step| warm_up(2.0, 10, step)), [0.0, 0.2, 1.0, 2.0, 2.0]);
        assert_eq!(warm_up(2.0, 0, 0), 2.0);
    }
}
