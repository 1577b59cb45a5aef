//! The bound of a chain as a loss: one level for each example (Ho et al. 2020, sec. 3.4; Nichol & Dhariwal 2021, arXiv 2102.09672, sec. 2.1).

use tch::{Kind, Tensor};

use super::decoder::DecoderLaw;
use super::level::divergence;
use crate::loss::{Batch, Reduction};
use crate::model::{At, Model, Quantity};
use crate::sde::{Chain, Level, Transition, Variance, place_of};
use crate::tensor::{column, indices, select, sum_per_example};

/// The bound of a chain as a loss, with these steps down and this decoder from the lowest level.
pub struct ChainLoss {
    pub chain: Chain,
    pub variance: Variance,
    pub law: DecoderLaw,
    pub reduction: Reduction,
}

/// A batch at its levels.
struct Asked {
    /// α x_0 + σ z, and what the model says of z there [B, ...].
    x: Tensor,
    noise: Tensor,
    /// The steps down, one an example, and their variances. The lowest level has none but the decoder: what stands here for it is not used.
    steps: Vec<Transition>,
    variance: Tensor,
}

impl ChainLoss {
    /// N L_i of each example at its level i, one draw each: their mean over examples and levels is the sum L_0 + … + L_{N-1} of
    /// [`Vlb::terms`](super::Vlb::terms), the bound without the prior's term, which no network changes.
    ///
    /// With the noise prediction ẑ the terms above the decoder's are ½ ‖z - ẑ‖² γ² / v + a constant, γ of [`Transition::gain`]: denoising
    /// score matching with w = γ² / v (Ho et al. 2020, eq. 12). -> losses `[B]`, f64: nats by [`Reduction::HalfSum`], twice the nats for each
    /// of the D numbers by [`Reduction::Mean`].
    pub fn bound(&self, model: &dyn Model, batch: &Batch) -> Tensor {
        self.terms(model, batch, &self.ask(model, batch))
    }

    /// The two losses of L_simple + λ L_vlb (Nichol & Dhariwal 2021, eq. 16), by one evaluation: ‖z - ẑ‖² as denoising score matching has it,
    /// and [`ChainLoss::bound`], whose gradient goes to the variances and not to ẑ. -> `[B]` each, f64.
    pub fn hybrid(&self, model: &dyn Model, batch: &Batch) -> [Tensor; 2] {
        let asked = self.ask(model, batch);
        let errors = sum_per_example(&(batch.z - &asked.noise).to_kind(Kind::Double).square());
        let bound = self.terms(model, batch, &Asked { noise: asked.noise.detach(), ..asked });
        [batch.weighted_sums(&errors, self.reduction), bound]
    }

    fn ask(&self, model: &dyn Model, batch: &Batch) -> Asked {
        let Batch { x0, t, z, .. } = *batch;
        let of = |number: &dyn Fn(&Level) -> f64| column(x0, t.iter().map(|&t| number(&self.chain.level(t))));
        let x = x0 * of(&|level| level.alpha) + z * of(&|level| level.sigma);
        let above_the_lowest = |&t: &f64| self.chain.step(self.chain.time(place_of(t, self.chain.len()).max(1)));
        let steps: Vec<Transition> = t.iter().map(above_the_lowest).collect();
        let (noise, variance) = model.with_variance(Quantity::Noise, &At::whole(&x, t), &steps, self.variance);
        Asked { x, noise, steps, variance }
    }

    fn terms(&self, model: &dyn Model, batch: &Batch, asked: &Asked) -> Tensor {
        let Batch { x0, t, z, .. } = *batch;
        let (chain, Asked { x, noise, steps, variance }) = (&self.chain, asked);
        let mut terms = divergence(model, self.variance, steps, z, noise, variance);
        let lowest: Vec<usize> = (0..t.len()).filter(|&j| place_of(t[j], chain.len()) == 0).collect();
        if !lowest.is_empty() {
            let (level, places) = (chain.levels()[0], indices(&lowest, x0.device()));
            let denoised = (select(x, &lowest) - select(noise, &lowest) * level.sigma) / level.alpha;
            let reconstruction = -self.law.log_density(&select(x0, &lowest), &denoised, &level);
            terms = terms.index_fill(0, &places, 0.0).index_add(0, &places, &reconstruction);
        }
        batch.weighted_sums(&(terms * (2.0 * chain.len() as f64)), self.reduction)
    }
}

#[cfg(test)]
mod tests;
