//! Laws of the bound as a loss.

use tch::Device;

use super::super::level::{signal_share, surplus};
use super::super::{Decoder, Vlb};
use super::*;
use crate::loss::denoising_score_matching;
use crate::model::{NetworkVariance, Output, Parametrisation, Preconditioned};
use crate::net::{Dropout, Network, Told};
use crate::space::Scale;
use crate::tensor::to_vec;
use crate::testing::{Formula, Interpolating, chained, largest, mean_and_error, normal};

const LEVELS: usize = 30;

fn of_chain(chain: &Chain, variance: Variance, law: DecoderLaw, reduction: Reduction) -> ChainLoss {
    ChainLoss { chain: chain.clone(), variance, law, reduction }
}

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
    for (name, sde) in chained() {
        let chain = sde.chain(LEVELS).unwrap();
        // -x / (α² / 3 + σ²), the score of a Gaussian with the variance of a uniform law on [-1, 1].
        let score =
            |x: &Tensor, t: &[f64]| -x / column(x, t.iter().map(|&t| chain.level(t).alpha.powi(2) / 3.0 + chain.level(t).sigma.powi(2)));
        let model = Formula { sde, chain: Some(chain.clone()), score };
        let model = Interpolating { model: &model, v: |x: &Tensor| x.sin() };
        let variances = [Variance::Beta, Variance::BetaTilde, Variance::Learned].map(|variance| (DecoderLaw::Tweedie, variance));
        for (law, variance) in variances.into_iter().chain([(DecoderLaw::of(scale), Variance::Learned)]) {
            let decoder = Decoder { model: &model, level: chain.levels()[0], law };
            let vlb = Vlb { model: &model, levels: chain.levels().to_vec(), variance, decoder };
            let terms = vlb.terms(&x0, &mut |i| normal(i as u64, &[rows, 2])).narrow(1, 0, LEVELS as i64);
            let mut truth = terms.sum_dim_intlist(1i64, false, Kind::Double);
            if law == DecoderLaw::Tweedie {
                // Its control variate.
                let share = signal_share(&chain.levels()[0]).powi(2);
                truth += surplus(&normal(0, &[rows, 2])) * (0.5 * share);
            }
            let loss = of_chain(&chain, variance, law, Reduction::HalfSum);
            let losses = |i: usize| {
                let (t, z) = (vec![chain.time(i); rows as usize], normal(i as u64, &[rows, 2]));
                let batch = Batch { x0: &x0, t: &t, z: &z, w: &[1.0; 3] };
                let [_, hybrid] = loss.hybrid(&model, &batch);
                Tensor::stack(&[loss.bound(&model, &batch), hybrid], 0)
            };
            let all = (0..LEVELS).map(losses).fold(Tensor::zeros([2, rows], (Kind::Double, Device::Cpu)), |sum, losses| sum + losses);
            let apart = largest(&((all / LEVELS as f64 - &truth) / truth.abs()));
            assert!(apart < 1e-9, "{name}, {law:?}, {variance:?}: {apart} from {truth}");
        }
    }
}

/// At the bound's variances the weight is that of denoising; the decoder of bins has a gradient where its tails are open, too.
#[test]
fn its_gradient_is_finite_and_that_of_the_weighted_errors() {
    tch::set_num_threads(1);
    let (scale, x0) = pixels();
    for (name, sde) in chained() {
        let chain = sde.chain(LEVELS).unwrap();
        let slope = Tensor::from_slice(&[0.8]).set_requires_grad(true);
        let model = Formula { sde, chain: Some(chain.clone()), score: |x: &Tensor, _: &[f64]| -(x * &slope) };
        let gradient = |losses: Tensor| Tensor::run_backward(&[losses.mean(None)], &[&slope], false, false).remove(0);
        let z = normal(5, &[3, 2]);
        let t = [0.0, chain.time(12), 1.0];
        let batch = Batch { x0: &x0, t: &t, z: &z, w: &[1.0; 3] };
        let bins = gradient(of_chain(&chain, Variance::Beta, DecoderLaw::of(scale), Reduction::Mean).bound(&model, &batch));
        assert!(bins.isfinite().all().int64_value(&[]) == 1 && largest(&bins) > 0.0, "{name}: {bins}");
        let got = gradient(of_chain(&chain, Variance::BetaTilde, DecoderLaw::Tweedie, Reduction::Mean).bound(&model, &batch));
        // Around Tweedie's mean the decoder's weight is 1.
        let w = t.map(|t| if t == 0.0 { 1.0 } else { chain.step(t).gain().powi(2) / chain.step(t).beta_tilde } * LEVELS as f64);
        let weighted = denoising_score_matching(&model, Reduction::Mean, &Batch { w: &w, ..batch });
        let truth = gradient(weighted);
        assert!(largest(&((&got - &truth) / &truth)) < 1e-9, "{name}: {got} is not {truth}");
    }
}

/// The mean over drawn levels, as training draws them, in whatever batch.
#[test]
fn a_batch_of_drawn_levels_is_an_unbiased_draw() {
    tch::set_num_threads(1);
    const N: usize = 4000;
    let (_, sde) = chained()[0];
    let chain = sde.chain(LEVELS).unwrap();
    let model = Formula { sde, chain: Some(chain.clone()), score: |x: &Tensor, _: &[f64]| -x };
    let x0 = Tensor::full([N as i64, 1], 0.4, (Kind::Double, Device::Cpu));
    let z = normal(1, &[N as i64, 1]);
    let t: Vec<f64> = (0..N).map(|j| chain.time(j % LEVELS)).collect();
    let batch = Batch { x0: &x0, t: &t, z: &z, w: &[1.0; N] };
    let drawn = of_chain(&chain, Variance::Beta, DecoderLaw::Tweedie, Reduction::HalfSum).bound(&model, &batch);
    let decoder = Decoder { model: &model, level: chain.levels()[0], law: DecoderLaw::Tweedie };
    let vlb = Vlb { model: &model, levels: chain.levels().to_vec(), variance: Variance::Beta, decoder };
    let terms = vlb.terms(&x0, &mut |i| normal(100 + i as u64, &[N as i64, 1])).narrow(1, 0, LEVELS as i64);
    let (got, error) = mean_and_error(&drawn);
    let (truth, other) = mean_and_error(&terms.sum_dim_intlist(1i64, false, Kind::Double));
    assert!((got - truth).abs() < 4.0 * error.hypot(other), "{got} ± {error} is not {truth} ± {other}");
}

/// F = w x + b and F' = 2 v - 1 for the rows w, b and v of a tensor [3, D], so that a step's variance is β^v β̃^(1-v).
struct Affine(Tensor);

impl Affine {
    fn new(rows: [f64; 3], dimension: i64) -> Affine {
        let rows = Tensor::from_slice(&rows).view([3, 1]).repeat([1, dimension]);
        Affine(rows.set_requires_grad(true))
    }
}

impl Network for Affine {
    fn forward(&self, x: &Tensor, _told: &Told, _dropout: Option<&Dropout>) -> Tensor {
        let variance = (self.0.get(2) * 2.0 - 1.0).expand_as(x);
        Tensor::cat(&[x * self.0.get(0) + self.0.get(1), variance], 1)
    }
}

fn with_variance<'a>(sde: &'a dyn crate::sde::Sde, network: &'a Affine, parametrisation: &'a Parametrisation) -> Preconditioned<'a> {
    Preconditioned { sde, network, parametrisation, to_unit: (1.0, 0.0), kind: Kind::Double, dropout: None }
}

fn learned(chain: &Chain) -> Parametrisation {
    Parametrisation::Discrete { chain: chain.clone(), output: Some(Output::Noise), variance: Some(NetworkVariance::Learned) }
}

#[test]
fn the_bounds_gradient_goes_to_the_variances_alone() {
    tch::set_num_threads(1);
    let (x0, z) = (normal(1, &[4, 2]), normal(2, &[4, 2]));
    for (name, sde) in chained() {
        let chain = sde.chain(LEVELS).unwrap();
        let (network, parametrisation) = (Affine::new([0.3, -0.2, 0.6], 2), learned(&chain));
        let model = with_variance(sde, &network, &parametrisation);
        let t = [0.0, chain.time(1), chain.time(12), 1.0];
        for reduction in [Reduction::Mean, Reduction::HalfSum] {
            let batch = Batch { x0: &x0, t: &t, z: &z, w: &[1.0, 0.5, 2.0, 1.0] };
            let loss = of_chain(&chain, Variance::Learned, DecoderLaw::Tweedie, reduction);
            let gradient = |losses: Tensor| Tensor::run_backward(&[losses.mean(None)], &[&network.0], true, false).remove(0);
            let [simple, bound] = loss.hybrid(&model, &batch);
            let [hybrid, alone] = [gradient(simple + bound * 0.7), gradient(loss.bound(&model, &batch) * 0.7)];
            let denoising = gradient(denoising_score_matching(&model, reduction, &batch));
            let of_the_noise = |gradient: &Tensor| gradient.narrow(0, 0, 2);
            let apart = largest(&((of_the_noise(&hybrid) - of_the_noise(&denoising)) / of_the_noise(&denoising)));
            assert!(apart < 1e-12, "{name}: the gradient of the noise prediction is {apart} from that of denoising");
            assert!(largest(&((of_the_noise(&alone)) / of_the_noise(&denoising))) > 1e-3, "{name}: the bound has none to be stopped");
            let of_the_variances = |gradient: &Tensor| gradient.get(2);
            assert!(largest(&of_the_variances(&denoising)) == 0.0 && of_the_variances(&alone).abs().min().double_value(&[]) > 1e-3);
            let apart = largest(&((of_the_variances(&hybrid) - of_the_variances(&alone)) / of_the_variances(&alone)));
            assert!(apart < 1e-12, "{name}: the gradient of the variances is {apart} from the bound's");
        }
    }
}

/// Numbers of the data with a spread of their own, each a Gaussian: the variance that is learnt for each is the reverse process's, which for
/// one number is the analytic one.
#[test]
fn on_a_gaussian_the_variance_that_is_learnt_is_that_of_the_reverse_process() {
    tch::set_num_threads(1);
    let (mean, stds) = (0.4, [0.3, 0.9]);
    // x_0 and z have the moments of N(mean, std²) and N(0, 1), and are not correlated.
    let signs = |signs: [f64; 4]| Tensor::from_slice(&signs).view([4, 1]);
    let x0 = signs([1.0, 1.0, -1.0, -1.0]) * Tensor::from_slice(&stds) + mean;
    let z = signs([1.0, -1.0, 1.0, -1.0]).repeat([1, 2]);
    for (name, sde) in chained() {
        let chain = sde.chain(LEVELS).unwrap();
        for place in [1, 7, LEVELS - 1] {
            let (step, level) = (chain.step(chain.time(place)), chain.levels()[place]);
            let parametrisation = learned(&chain);
            let network = Affine::new([0.0, 0.0, 0.5], 2);
            let spread = stds.map(|std| (level.alpha * std).powi(2) + level.sigma.powi(2));
            // ẑ = σ (x - α mean) / spread, with (z - ẑ)² = α² std² / spread in the mean.
            let exact = spread.map(|spread| [level.sigma / spread, -level.sigma * level.alpha * mean / spread]);
            let of = |i: usize| Tensor::from_slice(&exact.map(|rows| rows[i]));
            tch::no_grad(|| (0..2).for_each(|i| network.0.get(i as i64).copy_(&of(i))));
            let model = with_variance(sde, &network, &parametrisation);
            let t = [chain.time(place); 4];
            let batch = Batch { x0: &x0, t: &t, z: &z, w: &[1.0; 4] };
            let loss = of_chain(&chain, Variance::Learned, DecoderLaw::Tweedie, Reduction::HalfSum);
            for _ in 0..100 {
                let [_, bound] = loss.hybrid(&model, &batch);
                let gradient = Tensor::run_backward(&[bound.mean(None)], &[&network.0], false, false).remove(0).get(2);
                // Newton's step from near the minimum in ln v, and never far.
                let newton = gradient / (0.5 * LEVELS as f64 * step.span().powi(2));
                let _ = tch::no_grad(|| network.0.get(2).g_sub_(&newton.clamp(-0.2, 0.2)));
            }
            for (v, (std, spread)) in to_vec(&network.0.get(2)).into_iter().zip(stds.into_iter().zip(spread)) {
                let got = step.beta * ((v - 1.0) * step.span()).exp();
                let analytic = step.variance(Variance::Analytic, (level.alpha * std).powi(2) / spread);
                let below = step.below();
                let reverse = 1.0 / (1.0 / ((below.alpha * std).powi(2) + below.sigma.powi(2)) + step.shrinkage().powi(2) / step.beta);
                assert!((got / analytic - 1.0).abs() < 1e-6, "{name}, level {place}: {got} is not the analytic {analytic}");
                assert!((got / reverse - 1.0).abs() < 1e-6, "{name}, level {place}: {got} is not the reverse process's {reverse}");
            }
        }
    }
}

/// The control variate, which has the middle variance for its weight, is 0 for signs.
#[test]
fn at_its_ends_a_learnt_variance_is_one_of_the_others() {
    tch::set_num_threads(1);
    let (_, x0) = pixels();
    let signs = normal(4, &[3, 2]).sign();
    for (name, sde) in chained() {
        let chain = sde.chain(LEVELS).unwrap();
        let other = Formula { sde, chain: Some(chain.clone()), score: |x: &Tensor, _: &[f64]| -x };
        for (v, variance) in [(0.0, Variance::BetaTilde), (1.0, Variance::Beta)] {
            let learnt = Interpolating { model: &other, v: |x: &Tensor| x.full_like(v) };
            let of = |model: &dyn Model, variance| {
                let t = [0.0, chain.time(12), 1.0];
                let loss = of_chain(&chain, variance, DecoderLaw::Tweedie, Reduction::HalfSum);
                let losses = loss.bound(model, &Batch { x0: &x0, t: &t, z: &signs, w: &[1.0; 3] });
                let decoder = Decoder { model, level: chain.levels()[0], law: DecoderLaw::Tweedie };
                let vlb = Vlb { model, levels: chain.levels().to_vec(), variance, decoder };
                let paths = vlb.log_weight(&x0, &mut |i| normal(i as u64, &[3, 2]));
                [losses, vlb.terms(&x0, &mut |_| signs.shallow_clone()), paths].map(|numbers| to_vec(&numbers))
            };
            for (got, truth) in of(&learnt, Variance::Learned).into_iter().zip(of(&other, variance)) {
                for (got, truth) in got.into_iter().zip(truth) {
                    assert!((got - truth).abs() < 1e-9 * (1.0 + truth.abs()), "{name}, {variance:?}: {got} is not {truth}");
                }
            }
        }
    }
}
