//! The hierarchy's bound against the chain's, against closed forms, and its gradient.

use tch::{Device, Kind};

use super::super::level::{signal_share, surplus};
use super::super::{Decoder, DecoderLaw, LinearGaussian, Vlb};
use super::*;
use crate::model::{At, Model};
use crate::sde::{Chain, Transition, Variance};
use crate::tensor::column;
use crate::testing::{Formula, chained, largest, mean_and_error, normal};

/// A model's steps down a chain of levels, in units of the prior's standard deviation.
struct ModelSteps<'a> {
    model: &'a dyn Model,
    chain: &'a Chain,
    variance: Variance,
}

impl ModelSteps<'_> {
    fn unit(&self) -> f64 {
        self.model.sde().prior_std()
    }

    /// x̂ for z at level l.
    fn data(&self, l: i64, z: &Tensor) -> Tensor {
        self.model.data(&At::whole(&(z * self.unit()), &vec![self.chain.time(l as usize - 1); z.size()[0] as usize]))
    }
}

impl StepsDown for ModelSteps<'_> {
    fn laws(&self, levels: Range<i64>, above: &Tensor) -> Normal {
        let law = |(l, z): (i64, Tensor)| {
            let step = self.chain.step(self.chain.time(l as usize));
            let (of_x, of_x0) = step.posterior_mean();
            let variance = step.variance(self.variance, 0.0) / self.unit().powi(2);
            (&z * of_x + self.data(l + 1, &z) * (of_x0 / self.unit()), Tensor::full_like(&z, variance.ln()))
        };
        let (means, variances): (Vec<Tensor>, Vec<Tensor>) = levels.zip(above.unbind(0)).map(law).unzip();
        Normal { mean: Tensor::stack(&means, 0), log_variance: Tensor::stack(&variances, 0) }
    }

    fn log_likelihood(&self, x: &Tensor, z: &Tensor) -> Tensor {
        DecoderLaw::Tweedie.log_density(x, &self.data(1, z), &self.chain.levels()[0])
    }
}

/// A chain's steps up, in units of the prior's standard deviation.
fn noising(chain: &Chain, unit: f64) -> LinearGaussian {
    let number = |of: &dyn Fn(usize, Transition) -> f64| {
        let numbers: Vec<f64> = (0..chain.len()).map(|i| of(i, chain.step(chain.time(i))).ln()).collect();
        Tensor::from_slice(&numbers)
    };
    let first = chain.levels()[0];
    let shrinkage = number(&|i, step| if i == 0 { first.alpha / unit } else { step.shrinkage() });
    let variance = number(&|i, step| if i == 0 { first.sigma.powi(2) } else { step.beta } / unit.powi(2));
    LinearGaussian::new(shrinkage, variance)
}

const LEVELS: usize = 30;

/// For every chain a model with steps of both variances; `check` sees its bound, its steps and their encoder.
fn with_models(check: impl Fn(&str, &Vlb, &ModelSteps, &LinearGaussian)) {
    for (name, sde) in chained() {
        let chain = sde.chain(LEVELS).unwrap();
        // Bent, so that no term is at its least.
        let score = |x: &Tensor, t: &[f64]| {
            -(x + (x * 2.0).sin() * 0.3) / column(x, t.iter().map(|&t| chain.level(t).alpha.powi(2) / 3.0 + chain.level(t).sigma.powi(2)))
        };
        let model = Formula { sde, chain: Some(chain.clone()), score };
        for variance in [Variance::Beta, Variance::BetaTilde] {
            let decoder = Decoder { model: &model, level: chain.levels()[0], law: DecoderLaw::Tweedie };
            let vlb = Vlb { model: &model, levels: chain.levels().to_vec(), variance, decoder };
            let steps = ModelSteps { model: &model, chain: &chain, variance };
            check(name, &vlb, &steps, &noising(&chain, steps.unit()));
        }
    }
}

fn points() -> Tensor {
    Tensor::from_slice(&[0.9, -0.3, 0.1, 0.5, -1.2, 0.7]).view([3, 2])
}

#[test]
fn with_a_models_steps_every_term_is_the_chains() {
    tch::set_num_threads(1);
    let (x, noise) = (points(), normal(5, &[LEVELS as i64, 3, 2]));
    with_models(|name, vlb, steps, encoder| {
        let Terms { reconstruction, steps: between, prior } = encoder.terms(steps, &x, &noise);
        let terms = Tensor::cat(&[reconstruction.unsqueeze(0), between, prior.unsqueeze(0)], 0);
        let truth = vlb.terms(&x, &mut |i| noise.get(i as i64)).tr();
        for i in 0..=LEVELS {
            // Its control variate.
            let share = |i: usize| signal_share(&vlb.levels[i]).powi(2);
            let of_surplus = match i {
                0 => 0.5 * share(0),
                LEVELS => 0.0,
                _ => {
                    let step = Transition::new(vlb.levels[i], vlb.levels[i - 1]);
                    share(i) * step.gain().powi(2) / (2.0 * step.variance(vlb.variance, 0.0))
                }
            };
            let (got, mut truth) = (terms.get(i as i64), truth.get(i as i64));
            if i < LEVELS {
                truth += surplus(&noise.get(i as i64)) * of_surplus;
            }
            // Next to nothing of the data is left in these priors, whose terms are differences.
            let least = if matches!(name, "linear" | "formula") { 1e-3 } else { 0.0 };
            let apart = largest(&((&got - &truth) / truth.abs().clamp_min(least)));
            assert!(apart < 1e-9, "{name} {:?}: L_{i} is {got}, not {truth}", vlb.variance);
        }
    });
}

#[test]
fn terms_in_closed_form_are_those_of_drawn_paths_on_average() {
    tch::set_num_threads(1);
    /// With the terms of any encoder.
    struct Drawn<'a>(&'a LinearGaussian);
    impl Encoder for Drawn<'_> {
        fn path(&self, x: &Tensor, noise: &Tensor) -> (Tensor, Normal) {
            self.0.path(x, noise)
        }
    }
    const N: i64 = 4000;
    let x = Tensor::from_slice(&[0.9, -0.3]).view([1, 2]).repeat([N, 1]);
    with_models(|name, vlb, steps, encoder| {
        let noise = |draw| normal(draw, &[LEVELS as i64, N, 2]);
        let (closed, closed_error) = mean_and_error(&encoder.terms(steps, &x, &noise(0)).sum());
        let (drawn, drawn_error) = mean_and_error(&Drawn(encoder).terms(steps, &x, &noise(1)).sum());
        let (weight, weight_error) = mean_and_error(&-log_weight(encoder, steps, &x, &noise(2)));
        println!(
            "{name} {:?}: {closed:.3} ± {closed_error:.3}, {drawn:.3} ± {drawn_error:.3}, {weight:.3} ± {weight_error:.3}",
            vlb.variance
        );
        for (other, error) in [(drawn, drawn_error), (weight, weight_error)] {
            assert!((closed - other).abs() < 4.0 * closed_error.hypot(error), "{name}: {closed} ± {closed_error}, but {other} ± {error}");
        }
    });
}

/// An affine step for every level, z_l ~ N(a z_{l+1} + b, e^ω), and the last by the first β alone.
struct Affine {
    /// a, b and ω [3, L - 1].
    numbers: Tensor,
    /// β_1.
    first: f64,
}

impl StepsDown for Affine {
    fn laws(&self, levels: Range<i64>, above: &Tensor) -> Normal {
        let of = |i: i64| self.numbers.get(i).narrow(0, levels.start - 1, levels.end - levels.start).view([-1, 1, 1]);
        Normal::new(of(0) * above + of(1), &of(2))
    }

    fn log_likelihood(&self, x: &Tensor, z: &Tensor) -> Tensor {
        Normal::new(z * (1.0 - self.first).sqrt(), &Tensor::from_slice(&[self.first.ln()])).log_density(x)
    }
}

impl Affine {
    /// -ln p(x) `[B]` on the line: every step is an affine map and noise.
    fn nats(&self, x: &Tensor) -> Tensor {
        let number = |i: i64, l: i64| self.numbers.double_value(&[i, l]);
        let (mut mean, mut variance) = (0.0, 1.0);
        for l in (0..self.numbers.size()[1]).rev() {
            (mean, variance) = (number(0, l) * mean + number(1, l), number(0, l).powi(2) * variance + number(2, l).exp());
        }
        let shrinkage = 1.0 - self.first;
        let law = Normal::new(x.zeros_like() + shrinkage.sqrt() * mean, &Tensor::from_slice(&[(shrinkage * variance + self.first).ln()]));
        -law.log_density(x)
    }
}

const FIRST: f64 = 0.01;
const SHORT: i64 = 8;

/// ln β/(1 - β) of levels that hardly add noise until the last, from what is learnt [SHORT - 1].
fn log_odds(learnt: &Tensor) -> Tensor {
    let first = Tensor::from_slice(&[(FIRST / (1.0 - FIRST)).ln()]);
    Tensor::cat(&[first, learnt - 4.0], 0)
}

/// Affine steps trained on N(0.7, 0.3²), with β or without: by how much the bound is above the entropy at the end, by how much the model's
/// own -ln p is, and ln β/(1 - β).
fn trained(of_beta: bool) -> (f64, f64, Tensor) {
    let options = (Kind::Double, Device::Cpu);
    let start = Tensor::from_slice(&[1.0, 0.0, -4.0]).view([3, 1]).repeat([1, SHORT - 1]).view(-1);
    let flat = Tensor::cat(&[start, Tensor::zeros([SHORT - 1], options)], 0).set_requires_grad(true);
    let data = |step: u64, n: i64| normal(step, &[n, 1]) * 0.3 + 0.7;
    let bound = |step: u64, n: i64| {
        let down = Affine { numbers: flat.narrow(0, 0, 3 * (SHORT - 1)).view([3, -1]), first: FIRST };
        let learnt = flat.narrow(0, 3 * (SHORT - 1), SHORT - 1);
        let encoder = LinearGaussian::preserving(&log_odds(&if of_beta { learnt } else { learnt.detach() }));
        let x = data(step, n);
        (encoder.terms(&down, &x, &normal(step + 100_000, &[SHORT, n, 1])).sum(), down.nats(&x), x)
    };
    let mut adam = crate::optim::Adam::new(&flat.detach(), [0.9, 0.99], 1e-8, 0.0);
    for step in 1..=400u64 {
        let gradient = Tensor::run_backward(&[bound(step, 128).0.mean(Kind::Double)], &[&flat], false, false).remove(0);
        let (_, shrink) = crate::optim::clip_by_norm(&gradient, 10.0);
        adam.update(&flat.detach(), (&gradient, &shrink), 0.05 * (1.0 - step as f64 / 401.0), step, |_, _| ());
    }
    tch::no_grad(|| {
        let (bound, nats, x) = bound(5000, 20_000);
        let truth = -Normal::new(x.zeros_like() + 0.7, &Tensor::from_slice(&[2.0 * 0.3f64.ln()])).log_density(&x);
        let excess = |nats: Tensor| (nats - &truth).mean(Kind::Double).double_value(&[]);
        (excess(bound), excess(nats), log_odds(&flat.detach().narrow(0, 3 * (SHORT - 1), SHORT - 1)))
    })
}

#[test]
fn a_learnt_chain_reaches_the_likelihood_of_a_gaussian_and_a_bad_fixed_one_does_not() {
    tch::set_num_threads(1);
    let ((fixed, fixed_own, _), (learnt, own, log_odds)) = (trained(false), trained(true));
    println!("excess over the entropy, nats: fixed {fixed:.4} ({fixed_own:.4} by its own law), learnt {learnt:.4} ({own:.4}); {log_odds}");
    assert!((log_odds.double_value(&[0]) - (FIRST / (1.0 - FIRST)).ln()).abs() < 1e-12, "β_1 has moved");
    assert!(own < learnt + 1e-3 && fixed_own < fixed + 1e-3, "a bound is below what it bounds");
    assert!(learnt < 0.1, "the learnt chain is {learnt} above the entropy");
    assert!(fixed > learnt + 0.2, "the fixed chain is {fixed} above the entropy, the learnt one {learnt}");
}

#[test]
fn the_gradient_goes_through_beta_in_entropies_noise_and_prior() {
    tch::set_num_threads(1);
    let (x, noise) = (points(), normal(5, &[SHORT, 3, 2]));
    let numbers = normal(6, &[3, SHORT - 1]);
    let down = Affine { numbers, first: FIRST };
    let learnt = normal(7, &[SHORT - 1]).set_requires_grad(true);
    let bound = |learnt: &Tensor| LinearGaussian::preserving(&log_odds(learnt)).terms(&down, &x, &noise);
    let parts: [fn(&Terms) -> Tensor; 2] = [Terms::of_steps, |terms| terms.prior.shallow_clone()];
    for part in parts {
        let value = |learnt: &Tensor| part(&bound(learnt)).sum(Kind::Double);
        let gradient = Tensor::run_backward(&[value(&learnt)], &[&learnt], false, false).remove(0);
        for i in 0..SHORT - 1 {
            let h = 1e-5;
            let at = |h: f64| {
                let moved = learnt.detach().copy();
                let _ = moved.get(i).g_add_scalar_(h);
                value(&moved).double_value(&[])
            };
            let (got, truth) = (gradient.double_value(&[i]), (at(h) - at(-h)) / (2.0 * h));
            assert!((got - truth).abs() < 1e-6 * truth.abs().max(1.0), "β_{}: {got} is not {truth}", i + 2);
            assert!(truth.abs() > 1e-6, "β_{} has no part in it", i + 2);
        }
    }
}
