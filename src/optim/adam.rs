//! Adam (Kingma & Ba 2015) on one flat buffer, with L2 regularisation, warm-up and clipping by the global norm.

use tch::{Tensor, no_grad};

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
    /// for the gradient g + weight decay · θ, that of a loss with ½ weight decay ‖θ‖².
    pub fn update(&mut self, parameters: &Tensor, gradient: &Tensor, lr: f64, n: u64) {
        no_grad(|| {
            let [beta1, beta2] = self.betas;
            let decayed = (self.weight_decay != 0.0).then(|| gradient + parameters * self.weight_decay);
            let gradient = decayed.as_ref().unwrap_or(gradient);
            let _ = self.first_moment.lerp_(gradient, 1.0 - beta1);
            let _ = self.second_moment.lerp_(&gradient.square(), 1.0 - beta2);
            if lr == 0.0 {
                return;
            }
            // The factor -lr / (1 - β₁ⁿ) goes into the denominator, so that one pass ends the update.
            let factor = -(1.0 - beta1.powf(n as f64)) / lr;
            let denominator = self.second_moment.sqrt() * (factor / (1.0 - beta2.powf(n as f64)).sqrt()) + factor * self.eps;
            let _ = parameters.shallow_clone().addcdiv_(&self.first_moment, &denominator);
        })
    }
}

/// Scales a gradient `[P]` down to norm `max` where it is longer, in place; returns its norm before, a tensor without axes.
pub fn clip_by_norm(gradient: &mut Tensor, max: f64) -> Tensor {
    no_grad(|| {
        let norm = gradient.norm();
        if max.is_finite() {
            let _ = gradient.g_mul_(&(max / (&norm + 1e-6)).clamp_max(1.0));
        }
        norm
    })
}

/// lr · min(step / warm-up, 1) for step = 0, 1, …; as in the reference, the first step has rate 0.
pub fn warm_up(lr: f64, warmup: u64, step: u64) -> f64 {
    if step < warmup { lr * step as f64 / warmup as f64 } else { lr }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::to_vec;

    #[test]
    fn first_update_is_the_learning_rate_in_the_direction_of_the_sign() {
        let parameters = Tensor::from_slice(&[1.0, 2.0, 3.0]);
        let mut adam = Adam::new(&parameters, [0.9, 0.999], 1e-8, 0.0);
        adam.update(&parameters, &Tensor::from_slice(&[0.3, -20.0, 0.0]), 0.1, 1);
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
            let gradient = [theta[0] * 3.0, (n as f64).sin()];
            let lr = warm_up(0.02, 10, n - 1);
            adam.update(&parameters, &Tensor::from_slice(&gradient), lr, n);
            for i in 0..2 {
                let g: f64 = gradient[i] + 0.1 * theta[i];
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
    fn clipping_keeps_the_direction_and_short_gradients() {
        let mut long = Tensor::from_slice(&[3.0, 4.0]);
        assert_eq!(clip_by_norm(&mut long, 1.0).double_value(&[]), 5.0);
        assert!((to_vec(&long)[0] - 0.6).abs() < 1e-6 && (to_vec(&long)[1] - 0.8).abs() < 1e-6);
        let mut short = Tensor::from_slice(&[0.3, 0.4]);
        let _ = clip_by_norm(&mut short, 1.0);
        assert_eq!(to_vec(&short), [0.3, 0.4]);
    }

    #[test]
    fn warm_up_starts_at_zero_and_reaches_the_rate() {
        assert_eq!([0, 1, 5, 10, 11].map(|step| warm_up(2.0, 10, step)), [0.0, 0.2, 1.0, 2.0, 2.0]);
        assert_eq!(warm_up(2.0, 0, 0), 2.0);
    }
}
