//! Against a VAE, against closed forms, and what training reaches.

use std::f64::consts::{FRAC_1_SQRT_2, LN_2};

use tch::IndexOp;

use super::diffusion::Beta;
use super::*;
use crate::generator::vae::{self, DecoderSpec, Layers, Vae};
use crate::optim::{Adam, Parameters, clip_by_norm};
use crate::testing::{largest, mean_and_error, normal};

const VECTORS: Scale = Scale::Vectors { scale: 1.0 };

fn learnt(levels: usize, latent: usize, width: usize, depth: usize) -> Spec {
    Spec::Learnt(learnt::Spec { levels, latent, width, depth, decoder: DecoderSpec::Gaussian })
}

fn diffusion(levels: usize, beta: Beta) -> Spec {
    Spec::Diffusion(diffusion::Spec { levels, width: 16, depth: 1, beta })
}

fn family(spec: &Spec, shape: &[usize]) -> (HierarchicalVae, Parameters) {
    spec.check(VECTORS).unwrap();
    let builder = Builder::new(1, Kind::Double, Device::Cpu);
    let family = HierarchicalVae::new(spec, shape, VECTORS, &builder);
    (family, builder.finish())
}

/// Writes into parameters by their names.
fn set(parameters: &Parameters, values: &[(&str, &[f64])]) {
    for (name, value) in values {
        let (_, tensor, _) = parameters.named().find(|(other, ..)| other == name).unwrap_or_else(|| panic!("no {name}"));
        no_grad(|| tensor.detach().copy_(&Tensor::from_slice(value).view(tensor.size().as_slice())));
    }
}

/// Moves all parameters by normal draws.
fn shake(parameters: &Parameters, by: f64) {
    let flat = parameters.flat();
    let _ = no_grad(|| flat.shallow_clone().g_add_(&(normal(9, &flat.size()) * by)));
}

fn estimate(generator: &dyn Generator, x: &Tensor, count: usize) -> Estimate {
    let places: Vec<(u64, u64)> = (0..x.size()[0] as u64).map(|i| (i, 0)).collect();
    generator.log_density(x, &Draws { seed: 7, places: &places, count })
}

fn train(family: &HierarchicalVae, parameters: &Parameters, steps: u64, lr: f64, data: impl Fn(u64) -> Tensor) {
    let mut adam = Adam::new(parameters.flat(), [0.9, 0.99], 1e-8, 0.0);
    for step in 1..=steps {
        let x = data(step);
        let rows = x.size()[0] as u64;
        let loss = family.losses(&x, 3, step * rows..(step + 1) * rows).of_examples.mean(Kind::Double);
        let gradient = parameters.gradient(&loss);
        let (_, shrink) = clip_by_norm(&gradient, 10.0);
        adam.update(parameters.flat(), (&gradient, &shrink), lr * (1.0 - step as f64 / (steps + 1) as f64), step, |_, _| ());
    }
}

#[test]
fn one_level_is_a_vae() {
    tch::set_num_threads(1);
    let (hierarchy, _) = family(&learnt(1, 2, 8, 1), &[3]);
    let builder = Builder::new(1, Kind::Double, Device::Cpu);
    let spec = vae::Spec { latent: 2, width: 8, depth: 1, layers: Layers::Dense, decoder: DecoderSpec::Gaussian };
    let vae = Vae::new(&spec, &[3], VECTORS, &builder);
    builder.finish();
    let x = normal(0, &[5, 3]);
    let [mut here, mut there] = [&hierarchy as &dyn Generator, &vae].map(|generator| generator.losses(&x, 1, 0..5));
    assert!(largest(&(here.of_examples - there.of_examples)) < 1e-12);
    assert!(largest(&here.parts.remove(0)) == 0.0, "there are no steps");
    for (here, there) in here.parts.drain(..).zip(there.parts.drain(..)) {
        assert!(largest(&(here - there)) < 1e-12);
    }
    let [here, there] = [&hierarchy as &dyn Generator, &vae].map(|generator| estimate(generator, &x, 3).value);
    assert!(largest(&(here - there)) < 1e-12);
    assert!(largest(&(hierarchy.draw(1, 0..5, 0.8) - vae.draw(1, 0..5, 0.8))) < 1e-12);
    assert_eq!(hierarchy.evaluations(), vae.evaluations());
}

/// x = w z_1 + m + s ε in three dimensions, z_1 = a z_2 + b + r ε, with a standard deviation r of the step.
struct World {
    w: [f64; 3],
    m: [f64; 3],
    s: f64,
    a: f64,
    b: f64,
    r: f64,
}

const WORLD: World = World { w: [1.0, -0.4, 0.2], m: [0.3, -0.2, 0.1], s: 0.5, a: 0.8, b: -0.3, r: 0.4 };

impl World {
    fn variance(&self) -> f64 {
        self.a.powi(2) + self.r.powi(2)
    }

    /// The law of x: N(m + w b, w wᵀ (a² + r²) + s² I).
    fn log_density(&self, x: &Tensor) -> Tensor {
        let (w, m) = (Tensor::from_slice(&self.w).view([3, 1]), Tensor::from_slice(&self.m));
        let covariance = w.matmul(&w.tr()) * self.variance() + Tensor::eye(3, (Kind::Double, Device::Cpu)) * self.s.powi(2);
        let centred = x - &m - w.view([3]) * self.b;
        let squares = (centred.matmul(&covariance.inverse()) * &centred).sum_dim_intlist(1i64, false, None::<Kind>);
        (squares + Tensor::linalg_slogdet(&covariance).1 + 3.0 * (2.0 * std::f64::consts::PI).ln()) * -0.5
    }

    fn points(&self, draw: u64, n: i64) -> Tensor {
        let z = normal(draw, &[n, 2]);
        let of_z = z.i((.., ..1)) * self.a + z.i((.., 1..)) * self.r + self.b;
        of_z * Tensor::from_slice(&self.w) + Tensor::from_slice(&self.m) + normal(draw + 10_000, &[n, 3]) * self.s
    }

    /// A hierarchy of two levels with these laws, and a posterior that is theirs but for `stretch`, the factor on its variances.
    fn hierarchy(&self, stretch: f64) -> HierarchicalVae {
        let (family, parameters) = family(&learnt(2, 1, 1, 0), &[3]);
        let &World { w, m, s, a, b, r } = self;
        // z_1 given x, whose law before x is N(b, a² + r²).
        let of_x = 1.0 / (1.0 / self.variance() + w.iter().map(|w| w * w).sum::<f64>() / (s * s));
        let slope = w.map(|w| of_x * w / (s * s));
        let shift = of_x * b / self.variance() - slope.iter().zip(m).map(|(slope, m)| slope * m).sum::<f64>();
        // z_2 given z_1.
        let of_z = 1.0 / (1.0 + a * a / (r * r));
        let up = of_z * a / (r * r);
        set(
            &parameters,
            &[
                ("encoder.0.weight", &[&slope[..], &[0.0; 3]].concat()),
                ("encoder.0.bias", &[shift, (stretch * of_x).ln()]),
                ("up.1.0.weight", &[up - FRAC_1_SQRT_2, 0.0]),
                ("up.1.0.bias", &[-up * b, (stretch * of_z).ln() + LN_2]),
                ("down.1.0.weight", &[a - FRAC_1_SQRT_2, 0.0]),
                ("down.1.0.bias", &[b, 2.0 * r.ln() + LN_2]),
                ("decoder.0.weight", &w),
                ("decoder.0.bias", &m),
                ("log_scale", &[s.ln()]),
            ],
        );
        family
    }
}

#[test]
fn with_the_exact_posterior_every_weight_of_a_path_is_the_density() {
    tch::set_num_threads(1);
    let (x, family) = (WORLD.points(0, 20), WORLD.hierarchy(1.0));
    for count in [1, 5] {
        let Estimate { value, sampled } = estimate(&family, &x, count);
        let sampled = sampled.unwrap();
        assert!(largest(&(&value - WORLD.log_density(&x))) < 1e-12, "{count} draws");
        assert!(largest(&(&sampled.elbo - &value)) < 1e-12);
        assert!(sampled.error.is_none_or(|error| count > 1 && largest(&error) < 1e-12));
    }
    // The bound draws what the weight does not: it is the density on average.
    let x = x.i(..1).repeat([4000, 1]);
    let (bound, error) = mean_and_error(&family.losses(&x, 3, 0..4000).of_examples);
    let truth = -WORLD.log_density(&x).double_value(&[0]);
    assert!((bound - truth).abs() < 4.0 * error, "{bound} ± {error} is not {truth}");
}

#[test]
fn draws_of_two_levels_have_the_law_of_their_density() {
    tch::set_num_threads(1);
    const N: i64 = 20_000;
    let family = WORLD.hierarchy(1.0);
    let drawn = family.draw(1, 0..N as u64, 1.0);
    for x in [WORLD.points(0, N), drawn.shallow_clone()] {
        let (nats, error) = mean_and_error(&-WORLD.log_density(&x));
        let entropy = 1.5 * (1.0 + (2.0 * std::f64::consts::PI).ln())
            + 0.5 * (WORLD.s.powi(4) * (WORLD.s.powi(2) + WORLD.variance() * WORLD.w.iter().map(|w| w * w).sum::<f64>())).ln();
        assert!((nats - entropy).abs() < 4.0 * error, "{nats} ± {error} is not {entropy}");
    }
    for (i, m) in WORLD.m.iter().enumerate() {
        let (mean, error) = mean_and_error(&drawn.i((.., i as i64)));
        assert!((mean - m - WORLD.w[i] * WORLD.b).abs() < 4.0 * error, "component {i}: {mean} ± {error}");
    }
    let narrow = family.draw(1, 0..N as u64, 0.0).i((.., 0)).std(true).double_value(&[]);
    assert!((narrow - (WORLD.r.powi(2) + WORLD.s.powi(2)).sqrt()).abs() < 0.02, "{narrow} with the prior's draws at 0");
}

#[test]
fn weighted_paths_come_down_to_the_density_from_above() {
    tch::set_num_threads(1);
    let (x, family) = (WORLD.points(0, 2000), WORLD.hierarchy(2.5));
    let above = [1, 4, 16].map(|count| &WORLD.log_density(&x) - estimate(&family, &x, count).value);
    for pair in above.windows(2) {
        let (fall, error) = mean_and_error(&(&pair[0] - &pair[1]));
        assert!(fall > 4.0 * error, "{fall} ± {error}");
    }
    let (left, error) = mean_and_error(&above[2]);
    assert!(left > 4.0 * error && left < 0.1, "{left} ± {error} above the density");
}

#[test]
fn two_learnt_levels_reach_the_density_of_a_gaussian() {
    tch::set_num_threads(1);
    let (family, parameters) = family(&learnt(2, 1, 1, 0), &[3]);
    train(&family, &parameters, 800, 0.03, |step| WORLD.points(step, 256));
    let x = WORLD.points(5000, 4000);
    let Estimate { value, sampled } = estimate(&family, &x, 16);
    let (apart, error) = mean_and_error(&(WORLD.log_density(&x) - &value));
    let elbo = (&value - sampled.unwrap().elbo).mean(Kind::Double).double_value(&[]);
    println!("{apart} ± {error} above the density, the ELBO {elbo} below");
    assert!(apart > -4.0 * error && apart < 0.02, "{apart} ± {error} above the density");
    assert!(elbo < 0.05, "the ELBO is {elbo} below");
}

#[test]
fn fresh_steps_leave_the_prior_as_it_is() {
    tch::set_num_threads(1);
    let x = normal(0, &[50, 2]);
    let truth = (x.square() + (2.0 * std::f64::consts::PI).ln()).sum_dim_intlist(1i64, false, None::<Kind>) * -0.5;
    for beta in [Beta { first: 1e-3, last: 0.5, learnt: false }, Beta { first: 0.02, last: 0.9, learnt: true }] {
        let (family, _) = family(&diffusion(12, beta), &[2]);
        let Estimate { value, sampled } = estimate(&family, &x, 2);
        assert!(largest(&(value - &truth)) < 1e-3, "it is N(0, I)");
        assert!(largest(&sampled.unwrap().error.unwrap()) < 1e-3, "by every path");
        let drawn = family.draw(1, 0..4000, 1.0);
        let (square, error) = mean_and_error(&drawn.square().view([-1]));
        assert!((square - 1.0).abs() < 4.0 * error, "{square} ± {error}");
    }
    // Between learnt levels q and p are each other's reverse: a path's weight is that of its z_1.
    let [(one, of_one), (many, of_many)] = [1, 20].map(|levels| family(&learnt(levels, 2, 4, 1), &[2]));
    for (name, tensor, _) in of_many.named() {
        if let Some((_, same, _)) = of_one.named().find(|(other, ..)| *other == name) {
            no_grad(|| tensor.detach().copy_(same));
        }
    }
    let [one, many] = [one, many].map(|family| estimate(&family, &x, 2).value);
    assert!(largest(&((&one - many) / one)) < 1e-3, "twenty levels have another density than one");
}

#[test]
fn a_step_by_itself_is_the_one_among_all() {
    tch::set_num_threads(1);
    for spec in [learnt(4, 2, 4, 1), diffusion(4, Beta { first: 0.05, last: 0.6, learnt: true })] {
        let (family, parameters) = family(&spec, &[2]);
        shake(&parameters, 0.3);
        let above = normal(0, &[3, 5, 2]);
        let all = family.down.laws(1..4, &above);
        for l in 1..4 {
            let one = family.down.laws(l..l + 1, &above.narrow(0, l - 1, 1));
            for (one, all) in [(one.mean, &all.mean), (one.log_variance, &all.log_variance)] {
                assert!(largest(&(one.get(0) - all.get(l - 1))) < 1e-12, "{spec:?}: level {l}");
            }
        }
    }
}

#[test]
fn the_gradient_of_training_is_that_of_the_losses() {
    tch::set_num_threads(1);
    let x = normal(0, &[4, 2]);
    for spec in [learnt(3, 2, 4, 1), diffusion(6, Beta { first: 0.05, last: 0.6, learnt: true })] {
        let (family, parameters) = family(&spec, &[2]);
        shake(&parameters, 0.3);
        let loss = || family.losses(&x, 3, 0..4).of_examples.sum(Kind::Double);
        let gradient = parameters.gradient(&loss());
        let h = 1e-5;
        for (name, direction) in parameters.views_of(&normal(1, &parameters.flat().size())) {
            let part = parameters.views_of(&gradient).into_iter().find(|(other, _)| *other == name).unwrap().1;
            let (_, tensor, _) = parameters.named().find(|(other, ..)| *other == name).unwrap();
            let at = |h: f64| {
                let _ = no_grad(|| tensor.detach().g_add_(&(&direction * h)));
                let loss = loss().double_value(&[]);
                let _ = no_grad(|| tensor.detach().g_add_(&(&direction * -h)));
                loss
            };
            let (slope, truth) = ((part * &direction).sum(Kind::Double).double_value(&[]), (at(h) - at(-h)) / (2.0 * h));
            assert!((slope - truth).abs() < 1e-6 * truth.abs().max(1.0), "{name}: {slope} is not {truth}");
            assert!(truth.abs() > 1e-6, "{name} has no part in it");
        }
    }
}

#[test]
fn a_diffusion_with_a_network_comes_near_the_entropy_and_draws_the_data() {
    tch::set_num_threads(1);
    let data = |step: u64, n: i64| normal(step, &[n, 1]) * 0.3 + 0.7;
    let (family, parameters) = family(&diffusion(8, Beta { first: 0.01, last: 0.7, learnt: true }), &[1]);
    let of_first = || family.down.log_likelihood(&data(1, 5), &data(2, 5)).detach();
    let before = of_first();
    train(&family, &parameters, 400, 0.02, |step| data(step, 128));
    let (_, odds, _) = parameters.named().find(|(name, ..)| *name == "log_odds").unwrap();
    assert!(largest(odds) > 0.05, "β has not moved");
    assert!(largest(&(of_first() - before)) == 0.0, "β_1 has moved");
    let x = data(5000, 2000);
    let entropy = 0.5 * (1.0 + (2.0 * std::f64::consts::PI).ln()) + 0.3f64.ln();
    let Estimate { value, sampled } = estimate(&family, &x, 8);
    let [(nats, error), (elbo, _)] = [value, sampled.unwrap().elbo].map(|value| mean_and_error(&-value));
    println!("{nats} ± {error}, -ELBO {elbo}, entropy {entropy}");
    assert!((nats - entropy).abs() < 4.0 * error + 0.05, "{nats} ± {error} is not {entropy}");
    assert!(elbo < entropy + 0.2, "the ELBO is {}", -elbo);
    let drawn = family.draw(1, 0..4000, 1.0);
    let (mean, spread) = (drawn.mean(Kind::Double).double_value(&[]), drawn.std(true).double_value(&[]));
    assert!((mean - 0.7).abs() < 0.04 && (spread - 0.3).abs() < 0.04, "{mean}, {spread}");
}
