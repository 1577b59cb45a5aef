//! The bound of a hierarchy of latent variables z_1, …, z_L, by which x is encoded from below and made from above:
//!
//! ```text
//! q(z_1 | x) Π_{l=2}^L q(z_l | z_{l-1}),     p(z_L) = N(0, I),     Π_{l=1}^{L-1} p(z_l | z_{l+1}),     p(x | z_1),
//!
//! -ln p(x) <= E[-ln p(x | z_1)] + Σ_{l<L} E[ln q(z_l | z_{l-1}) - ln p(z_l | z_{l+1})] + E KL(q(z_L | z_{L-1}) ‖ N(0, I)),
//! ```
//!
//! the expectations over paths of q (Rezende et al. 2014, arXiv 1401.4082; Burda et al. 2016, arXiv 1509.00519, sec. 2). At L = 1 it is
//! the bound of a VAE; a diffusion chain is the hierarchy whose encoder adds noise ([`super::LinearGaussian`]).

use std::ops::Range;

use tch::{Kind, Tensor};

use crate::law::Normal;

/// How x is made of z_L.
pub trait StepsDown {
    /// p(z_l | z_{l+1}) for the l in `levels`, within 1 to L - 1, from those z_{l+1} [levels, B, n]; they are one at least.
    fn laws(&self, levels: Range<i64>, above: &Tensor) -> Normal;

    /// ln p(x | z_1) `[B]`, nats, for x [B, ...] and z_1 [B, n].
    fn log_likelihood(&self, x: &Tensor, z: &Tensor) -> Tensor;
}

/// How z_1, …, z_L come from x.
pub trait Encoder {
    /// A path z_1, …, z_L [L, B, n] from x [B, ...] by normal `noise` [L, B, n], and the laws q(z_l | z_{l-1}) it was drawn from.
    fn path(&self, x: &Tensor, noise: &Tensor) -> (Tensor, Normal);

    /// One draw of the bound's terms: a path, and what is known of its laws in closed form.
    fn terms(&self, down: &dyn StepsDown, x: &Tensor, noise: &Tensor) -> Terms {
        let (z, up) = self.path(x, noise);
        let last = z.size()[0] - 1;
        let steps = up.entropy().narrow(0, 0, last).neg() - log_steps(down, &z);
        let highest = Normal { mean: up.mean.get(last), log_variance: up.log_variance.get(last) };
        Terms { reconstruction: -down.log_likelihood(x, &z.get(0)), steps, prior: highest.divergence_from_standard() }
    }
}

/// The terms of the bound, nats, with a graph.
pub struct Terms {
    /// -ln p(x | z_1) `[B]`.
    pub reconstruction: Tensor,
    /// What q is off p between the levels [L - 1, B], from the lowest.
    pub steps: Tensor,
    /// What q(z_L | …) is off N(0, I) `[B]`.
    pub prior: Tensor,
}

impl Terms {
    /// The steps' together `[B]`.
    pub fn of_steps(&self) -> Tensor {
        self.steps.sum_dim_intlist(0i64, false, None::<Kind>)
    }

    /// The bound `[B]`.
    pub fn sum(&self) -> Tensor {
        &self.reconstruction + self.of_steps() + &self.prior
    }
}

/// ln w `[B]`, f64, of one path: w = p(x, z_1, …, z_L) / q(z_1, …, z_L | x), so that E w = p(x), and E[-ln w] is the bound.
pub fn log_weight(encoder: &dyn Encoder, down: &dyn StepsDown, x: &Tensor, noise: &Tensor) -> Tensor {
    let (z, up) = encoder.path(x, noise);
    let sum = |of_levels: Tensor| of_levels.sum_dim_intlist(0i64, false, Kind::Double);
    let highest = z.get(z.size()[0] - 1);
    let prior = Normal::new(highest.zeros_like(), &highest.zeros_like()).log_density(&highest);
    down.log_likelihood(x, &z.get(0)).to_kind(Kind::Double) + sum(log_steps(down, &z)) + prior - sum(up.log_density(&z))
}

/// ln p(z_l | z_{l+1}) [L - 1, B] along a path.
fn log_steps(down: &dyn StepsDown, z: &Tensor) -> Tensor {
    let &[levels, rows, _] = &z.size()[..] else { unreachable!("a path is [L, B, n]") };
    if levels == 1 {
        return Tensor::zeros([0, rows], (z.kind(), z.device()));
    }
    down.laws(1..levels, &z.narrow(0, 1, levels - 1)).log_density(&z.narrow(0, 0, levels - 1))
}

#[cfg(test)]
mod tests;
