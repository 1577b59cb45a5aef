//! The encoder that only shrinks and adds noise, of which every law is known: that of diffusion.

use std::ops::Range;

use tch::{Kind, Tensor};

use super::hierarchy::{Encoder, StepsDown, Terms};
use crate::law::Normal;

/// z_l = a_l z_{l-1} + √v_l ε_l with z_0 = x, so that
///
/// ```text
/// q(z_l | x) = N(α_l x, σ_l² I),   α_l = Π a_j,   σ_l² = α_l² Σ_{j<=l} v_j / α_j²,
/// q(z_l | z_{l+1}, x) = N(α_l x + (a_{l+1} σ_l² / σ_{l+1}²) (z_{l+1} - α_{l+1} x), (v_{l+1} σ_l² / σ_{l+1}²) I),
/// ```
///
/// and the bound compares the latter with the steps down, in closed form given z_{l+1}:
///
/// ```text
/// E[-ln p(x | z_1)] + Σ_{l<L} E KL(q(z_l | z_{l+1}, x) ‖ p(z_l | z_{l+1})) + KL(q(z_L | x) ‖ N(0, I))
/// ```
///
/// (Sohl-Dickstein et al. 2015, arXiv 1503.03585, appendix B). All of it can be differentiated through the steps.
pub struct LinearGaussian {
    /// ln a_l and ln v_l `[L]`, f64.
    log_shrinkage: Tensor,
    log_variance: Tensor,
    /// ln α_l and ln σ_l² `[L]`, f64.
    log_alpha: Tensor,
    log_sigma_squared: Tensor,
}

impl LinearGaussian {
    /// From ln a_l and ln v_l `[L]`, f64.
    pub fn new(log_shrinkage: Tensor, log_variance: Tensor) -> LinearGaussian {
        let log_alpha = log_shrinkage.cumsum(0, Kind::Double);
        let log_sigma_squared = (&log_variance - &log_alpha * 2.0).logcumsumexp(0) + &log_alpha * 2.0;
        LinearGaussian { log_shrinkage, log_variance, log_alpha, log_sigma_squared }
    }

    /// The steps that leave N(0, I) as it is, a_l² = 1 - β_l and v_l = β_l, from ln β_l / (1 - β_l) `[L]`, f64.
    pub fn preserving(log_odds: &Tensor) -> LinearGaussian {
        LinearGaussian::new(log_odds.neg().log_sigmoid() * 0.5, log_odds.log_sigmoid())
    }

    /// ln a_l, ln v_l, ln α_l and ln σ_l² for the l in `levels`, [levels, 1, 1] each, in the kind of `like`.
    pub fn numbers(&self, levels: Range<i64>, like: &Tensor) -> [Tensor; 4] {
        [&self.log_shrinkage, &self.log_variance, &self.log_alpha, &self.log_sigma_squared]
            .map(|numbers| numbers.narrow(0, levels.start - 1, levels.end - levels.start).view([-1, 1, 1]).to_kind(like.kind()))
    }

    /// L.
    fn levels(&self) -> i64 {
        self.log_alpha.size()[0]
    }

    /// q(z_l | x) for all l, [L, B, n], for x [B, n].
    fn marginals(&self, x: &Tensor) -> Normal {
        let [_, _, log_alpha, log_sigma_squared] = self.numbers(1..self.levels() + 1, x);
        Normal::new(log_alpha.exp() * x, &log_sigma_squared)
    }

    /// q(z_l | z_{l+1}, x) for the l in `levels`, within 1 to L - 1, from those z_{l+1} [levels, B, n], for x [B, n] or [levels, B, n].
    pub fn posteriors(&self, levels: Range<i64>, x: &Tensor, above: &Tensor) -> Normal {
        let [_, _, of_x, variance] = self.numbers(levels.clone(), x);
        let [shrinkage, step, of_x_above, variance_above] = self.numbers(levels.start + 1..levels.end + 1, x);
        let share = variance - variance_above;
        Normal::new(of_x.exp() * x + (shrinkage + &share).exp() * (above - of_x_above.exp() * x), &(step + share))
    }
}

impl Encoder for LinearGaussian {
    fn path(&self, x: &Tensor, noise: &Tensor) -> (Tensor, Normal) {
        let x = x.flatten(1, -1);
        let [shrinkage, variance, ..] = self.numbers(1..self.levels() + 1, &x);
        let mut means: Vec<Tensor> = Vec::new();
        let mut z = vec![x];
        for l in 0..self.levels() {
            let law = Normal::new(shrinkage.get(l).exp() * &z[l as usize], &variance.get(l));
            z.push(law.draw(&noise.get(l)));
            means.push(law.mean);
        }
        (Tensor::stack(&z[1..], 0), Normal::new(Tensor::stack(&means, 0), &variance))
    }

    fn terms(&self, down: &dyn StepsDown, x: &Tensor, noise: &Tensor) -> Terms {
        let (flat, last) = (x.flatten(1, -1), self.levels() - 1);
        let marginals = self.marginals(&flat);
        let z = marginals.draw(noise);
        let above = z.narrow(0, 1, last);
        let steps = self.posteriors(1..last + 1, &flat, &above).divergence(&down.laws(1..last + 1, &above));
        let prior = marginals.divergence_from_standard().get(last);
        Terms { reconstruction: -down.log_likelihood(x, &z.get(0)), steps, prior }
    }
}
