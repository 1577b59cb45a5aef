//! The bound of a chain as a loss: one level for each example (Ho et al. 2020, sec. 3.4; Nichol & Dhariwal 2021, arXiv 2102.09672, sec. 2.1).

use tch::{Kind, Tensor};

use super::decoder::DecoderLaw;
use super::level::{dimension, signal_share, surplus};
use crate::loss::{Batch, Reduction};
use crate::model::{At, Model};
use crate::sde::{Chain, Level, Transition, Variance, place_of};
use crate::tensor::{column, indices, select, sum_per_example};

/// N L_i of each example at its level i, one draw each: their mean over examples and levels is the sum L_0 + … + L_{N-1} of
/// [`Vlb::terms`](super::Vlb::terms), the bound without the prior's term, which no network changes.
///
/// With the noise prediction ẑ the terms above the decoder's are ½ ‖z - ẑ‖² γ² / v + a constant, γ of [`Transition::gain`]: denoising score
/// matching with w = γ² / v (Ho et al. 2020, eq. 12). -> losses `[B]`, f64: nats by [`Reduction::HalfSum`], twice the nats for each of the D
/// numbers by [`Reduction::Mean`].
pub fn chain_losses(model: &dyn Model, chain: &Chain, variance: Variance, law: DecoderLaw, reduction: Reduction, batch: &Batch) -> Tensor {
    let Batch { x0, t, z, .. } = *batch;
    let levels: Vec<Level> = t.iter().map(|&t| chain.level(t)).collect();
    let of = |number: &dyn Fn(&Level) -> f64| column(x0, levels.iter().map(number));
    let x = x0 * of(&|level| level.alpha) + z * of(&|level| level.sigma);
    let noise = model.noise(&At::whole(&x, t));
    let raw = sum_per_example(&(z - &noise).to_kind(Kind::Double).square());
    let per_example = |number: &dyn Fn(usize) -> f64| column(&raw, (0..t.len()).map(number));
    let error = &raw - surplus(z) * per_example(&|j| signal_share(&levels[j]).powi(2));
    // None at the lowest level, which is the decoder's.
    let steps: Vec<Option<Transition>> = t.iter().map(|&t| (place_of(t, chain.len()) > 0).then(|| chain.step(t))).collect();
    let weight = per_example(&|j| steps[j].map_or(0.0, |step| step.gain().powi(2) / (2.0 * model.variance(&step, variance))));
    let widening = per_example(&|j| steps[j].map_or(0.0, |step| 0.5 * dimension(x0) * step.widening(model.variance(&step, variance))));
    let mut terms = error * weight + widening;
    let lowest: Vec<usize> = (0..t.len()).filter(|&j| steps[j].is_none()).collect();
    if !lowest.is_empty() {
        let level = chain.levels()[0];
        let denoised = (select(&x, &lowest) - select(&noise, &lowest) * level.sigma) / level.alpha;
        let reconstruction = -law.log_density(&select(x0, &lowest), &denoised, &level);
        terms = terms.index_add(0, &indices(&lowest, x0.device()), &reconstruction);
    }
    batch.weighted_sums(&(terms * (2.0 * chain.len() as f64)), reduction)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::super::{Decoder, Vlb};
    use super::*;
    use crate::space::Scale;
    use crate::testing::{CHAINED, Formula, largest, mean_and_error, normal};

    const LEVELS: usize = 30;

    /// x_0 of pixels in [-1, 1], black and white among them.
    fn pixels() -> (Scale, Tensor) {
        let scale = Scale::Pixels { range: [-1.0, 1.0], dequantise: false };
        let values = [0.0, 255.0, 3.0, 120.0, 130.0, 250.0].map(|pixel| scale.centre(pixel));
        (scale, Tensor::from_slice(&values).view([3, 2]))
    }

    #[test]
    fn over_all_levels_it_is_the_bound_without_the_priors_term() {
        tch::set_num_threads(1);
        let (scale, x0) = pixels();
        let rows = x0.size()[0];
        for (name, sde) in CHAINED {
            let chain = sde.chain(LEVELS).unwrap();
            // -x / (α² / 3 + σ²), the score of a Gaussian with the variance of a uniform law on [-1, 1].
            let score = |x: &Tensor, t: &[f64]| {
                -x / column(x, t.iter().map(|&t| chain.level(t).alpha.powi(2) / 3.0 + chain.level(t).sigma.powi(2)))
            };
            let model = Formula { sde, chain: Some(chain.clone()), score };
            for (law, variance) in [(DecoderLaw::of(scale), Variance::Beta), (DecoderLaw::Tweedie, Variance::BetaTilde)] {
                let decoder = Decoder { model: &model, level: chain.levels()[0], law };
                let vlb = Vlb { model: &model, levels: chain.levels().to_vec(), variance, decoder };
                let terms = vlb.terms(&x0, &mut |i| normal(i as u64, &[rows, 2])).narrow(1, 0, LEVELS as i64);
                let mut truth = terms.sum_dim_intlist(1i64, false, Kind::Double);
                if law == DecoderLaw::Tweedie {
                    // Its control variate.
                    let share = signal_share(&chain.levels()[0]).powi(2);
                    truth += surplus(&normal(0, &[rows, 2])) * (0.5 * share);
                }
                let losses = |i: usize| {
                    let (t, z) = (vec![chain.time(i); rows as usize], normal(i as u64, &[rows, 2]));
                    chain_losses(&model, &chain, variance, law, Reduction::HalfSum, &Batch { x0: &x0, t: &t, z: &z, w: &[1.0; 3] })
                };
                let all = (0..LEVELS).map(losses).fold(x0.select(1, 0).zeros_like(), |sum, losses| sum + losses) / LEVELS as f64;
                let apart = largest(&((&all - &truth) / truth.abs()));
                assert!(apart < 1e-9, "{name}, {law:?}: {all} is not {truth}");
            }
        }
    }

    /// At the bound's variances the weight is that of denoising; the decoder of bins has a gradient where its tails are open, too.
    #[test]
    fn its_gradient_is_finite_and_that_of_the_weighted_errors() {
        tch::set_num_threads(1);
        let (scale, x0) = pixels();
        for (name, sde) in CHAINED {
            let chain = sde.chain(LEVELS).unwrap();
            let slope = Tensor::from_slice(&[0.8]).set_requires_grad(true);
            let model = Formula { sde, chain: Some(chain.clone()), score: |x: &Tensor, _: &[f64]| -(x * &slope) };
            let gradient = |losses: Tensor| Tensor::run_backward(&[losses.mean(None)], &[&slope], false, false).remove(0);
            let z = normal(5, &[3, 2]);
            let t = [0.0, chain.time(12), 1.0];
            let batch = Batch { x0: &x0, t: &t, z: &z, w: &[1.0; 3] };
            let bins = gradient(chain_losses(&model, &chain, Variance::Beta, DecoderLaw::of(scale), Reduction::Mean, &batch));
            assert!(bins.isfinite().all().int64_value(&[]) == 1 && largest(&bins) > 0.0, "{name}: {bins}");
            let got = gradient(chain_losses(&model, &chain, Variance::BetaTilde, DecoderLaw::Tweedie, Reduction::Mean, &batch));
            // Around Tweedie's mean the decoder's weight is 1.
            let w = t.map(|t| if t == 0.0 { 1.0 } else { chain.step(t).gain().powi(2) / chain.step(t).beta_tilde } * LEVELS as f64);
            let weighted = crate::loss::denoising_score_matching(&model, Reduction::Mean, &Batch { w: &w, ..batch });
            let truth = gradient(weighted);
            assert!(largest(&((&got - &truth) / &truth)) < 1e-9, "{name}: {got} is not {truth}");
        }
    }

    /// The mean over drawn levels, as training draws them, in whatever batch.
    #[test]
    fn a_batch_of_drawn_levels_is_an_unbiased_draw() {
        tch::set_num_threads(1);
        const N: usize = 4000;
        let (_, sde) = CHAINED[0];
        let chain = sde.chain(LEVELS).unwrap();
        let model = Formula { sde, chain: Some(chain.clone()), score: |x: &Tensor, _: &[f64]| -x };
        let x0 = Tensor::full([N as i64, 1], 0.4, (Kind::Double, Device::Cpu));
        let z = normal(1, &[N as i64, 1]);
        let t: Vec<f64> = (0..N).map(|j| chain.time(j % LEVELS)).collect();
        let batch = Batch { x0: &x0, t: &t, z: &z, w: &[1.0; N] };
        let drawn = chain_losses(&model, &chain, Variance::Beta, DecoderLaw::Tweedie, Reduction::HalfSum, &batch);
        let decoder = Decoder { model: &model, level: chain.levels()[0], law: DecoderLaw::Tweedie };
        let vlb = Vlb { model: &model, levels: chain.levels().to_vec(), variance: Variance::Beta, decoder };
        let terms = vlb.terms(&x0, &mut |i| normal(100 + i as u64, &[N as i64, 1])).narrow(1, 0, LEVELS as i64);
        let (got, error) = mean_and_error(&drawn);
        let (truth, other) = mean_and_error(&terms.sum_dim_intlist(1i64, false, Kind::Double));
        assert!((got - truth).abs() < 4.0 * error.hypot(other), "{got} ± {error} is not {truth} ± {other}");
    }
}
