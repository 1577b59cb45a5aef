//! Against probabilistic PCA, and the bound against itself.

use std::f64::consts::PI;

use tch::{Device, IndexOp};

use super::*;
use crate::optim::{Adam, Parameters, clip_by_norm};
use crate::testing::{largest, mean_and_error, normal};

const VECTORS: Scale = Scale::Vectors { scale: 1.0 };
const PIXELS: Scale = Scale::Pixels { range: [-1.0, 1.0], dequantise: true };

fn vae(spec: &Spec, shape: &[usize], scale: Scale) -> (Vae, Parameters) {
    spec.check(shape, scale).unwrap();
    let builder = Builder::new(1, Kind::Double, Device::Cpu);
    let vae = Vae::new(spec, shape, scale, &builder);
    (vae, builder.finish())
}

/// Three dimensions, one of which matters most: x = A z + μ.
struct World {
    factor: Tensor,
    mean: Tensor,
}

impl World {
    fn new() -> World {
        let factor = Tensor::from_slice(&[1.4, 0.3, 0.0, -0.9, 0.4, 0.2, 0.5, 0.0, 0.5]).view([3, 3]);
        World { factor, mean: Tensor::from_slice(&[0.3, -0.2, 0.1]) }
    }

    fn points(&self, draw: u64, n: i64) -> Tensor {
        normal(draw, &[n, 3]).matmul(&self.factor.tr()) + &self.mean
    }

    /// W [3, 1] and s² of probabilistic PCA with one latent variable: W = u √(λ_1 - s²), s² the mean of the other eigenvalues (Tipping &
    /// Bishop 1999, eq. 7 and 8).
    fn ppca(&self) -> (Tensor, f64) {
        let (values, vectors) = self.factor.matmul(&self.factor.tr()).linalg_eigh("L");
        let variance = values.i(..2).mean(Kind::Double).double_value(&[]);
        (vectors.i((.., 2..3)) * (values.double_value(&[2]) - variance).sqrt(), variance)
    }

    /// ln p(x) `[B]` under N(μ, W Wᵀ + s² I).
    fn log_density(&self, x: &Tensor) -> Tensor {
        let (w, variance) = self.ppca();
        let covariance = w.matmul(&w.tr()) + Tensor::eye(3, (Kind::Double, Device::Cpu)) * variance;
        let centred = x - &self.mean;
        let squares = (centred.matmul(&covariance.inverse()) * &centred).sum_dim_intlist(1i64, false, None::<Kind>);
        (squares + Tensor::linalg_slogdet(&covariance).1 + 3.0 * (2.0 * PI).ln()) * -0.5
    }

    /// The posterior of z given x: W_p (x - μ) with W_p = M⁻¹ Wᵀ, and variance s² M⁻¹, M = Wᵀ W + s².
    fn posterior(&self) -> (Tensor, f64) {
        let (w, variance) = self.ppca();
        let m = w.square().sum(Kind::Double).double_value(&[]) + variance;
        (w.tr() / m, variance / m)
    }
}

fn linear() -> Spec {
    Spec { latent: 1, width: 1, depth: 0, layers: Layers::Dense, decoder: DecoderSpec::Gaussian }
}

/// The parameters by their names.
fn set(parameters: &Parameters, values: &[(&str, Tensor)]) {
    for (name, value) in values {
        let (_, tensor, _) = parameters.named().find(|(other, ..)| other == name).unwrap_or_else(|| panic!("no {name}"));
        no_grad(|| tensor.detach().copy_(&value.view(tensor.size().as_slice())));
    }
}

fn estimate(vae: &Vae, x: &Tensor, count: usize) -> Estimate {
    let places: Vec<(u64, u64)> = (0..x.size()[0] as u64).map(|i| (i, 0)).collect();
    vae.log_density(x, &Draws { seed: 7, places: &places, count })
}

#[test]
fn with_the_exact_posterior_every_weight_is_the_density() {
    tch::set_num_threads(1);
    let world = World::new();
    let (vae, parameters) = vae(&linear(), &[3], VECTORS);
    let ((w, variance), (projection, of_z)) = (world.ppca(), world.posterior());
    let shift = -projection.matmul(&world.mean);
    let log_variance = Tensor::from_slice(&[of_z.ln()]);
    set(
        &parameters,
        &[
            ("encoder.0.weight", Tensor::cat(&[&projection, &projection.zeros_like()], 0)),
            ("encoder.0.bias", Tensor::cat(&[shift, log_variance], 0)),
            ("decoder.0.weight", w),
            ("decoder.0.bias", world.mean.shallow_clone()),
            ("log_scale", Tensor::from_slice(&[0.5 * variance.ln()])),
        ],
    );
    let x = world.points(0, 20);
    for count in [1, 5] {
        let Estimate { value, sampled } = estimate(&vae, &x, count);
        let sampled = sampled.unwrap();
        assert!(largest(&(&value - world.log_density(&x))) < 1e-12, "{count} draws");
        assert!(largest(&(&sampled.elbo - &value)) < 1e-12);
        assert!(sampled.error.is_none_or(|error| count > 1 && largest(&error) < 1e-12));
    }
}

#[test]
fn a_linear_one_becomes_probabilistic_pca() {
    tch::set_num_threads(1);
    let world = World::new();
    let (vae, parameters) = vae(&linear(), &[3], VECTORS);
    let mut adam = Adam::new(parameters.flat(), [0.9, 0.99], 1e-8, 0.0);
    for step in 1..=600u64 {
        let loss = vae.losses(&world.points(step, 512), 3, step * 512..(step + 1) * 512).of_examples.mean(Kind::Double);
        let gradient = parameters.gradient(&loss);
        let (_, shrink) = clip_by_norm(&gradient, 10.0);
        adam.update(parameters.flat(), (&gradient, &shrink), 0.03 * (1.0 - step as f64 / 601.0), step, |_, _| ());
    }
    let x = world.points(1000, 4000);
    let Estimate { value, sampled } = estimate(&vae, &x, 16);
    let truth = world.log_density(&x);
    let (apart, error) = mean_and_error(&(&truth - &value));
    assert!(apart.abs() < 4.0 * error + 0.01, "{apart} ± {error} below probabilistic PCA");
    let gap = (&truth - sampled.unwrap().elbo).mean(Kind::Double).double_value(&[]);
    assert!(gap < 0.02, "the ELBO is {gap} below it");
    let ((mean, log_variance), (projection, of_z)) = (vae.posterior(&x), world.posterior());
    let expected = (&x - &world.mean).matmul(&projection.tr());
    let sign = (&mean * &expected).mean(Kind::Double).sign();
    assert!(largest(&(mean * sign - &expected)) < 0.15, "the posterior means are PCA's");
    assert!(largest(&(log_variance - of_z.ln())) < 0.15, "so are their variances");
}

#[test]
fn the_bound_rises_with_the_draws_and_begins_at_the_elbo() {
    tch::set_num_threads(1);
    let spec = Spec { latent: 2, width: 8, depth: 1, layers: Layers::Dense, decoder: DecoderSpec::Gaussian };
    let (vae, _) = vae(&spec, &[2], VECTORS);
    let x = normal(0, &[1500, 2]);
    let means = [1, 4, 16].map(|count| estimate(&vae, &x, count));
    for pair in means.windows(2) {
        let (rise, error) = mean_and_error(&(&pair[1].value - &pair[0].value));
        assert!(rise > 4.0 * error, "{rise} ± {error}");
    }
    let noise = normal(1, &[1500, 2]);
    let [reconstruction, kl] = vae.terms(&x, &noise);
    let (apart, error) = mean_and_error(&(reconstruction + kl + &means[0].value));
    assert!(apart.abs() < 4.0 * error, "the loss is {apart} ± {error} from one draw's weight");
    // The error bar of an estimate against its spread.
    let x = x.i(..1).repeat([400, 1]);
    let Estimate { value, sampled } = estimate(&vae, &x, 64);
    let (spread, said) =
        (value.std(true).double_value(&[]), sampled.unwrap().error.unwrap().square().mean(Kind::Double).sqrt().double_value(&[]));
    assert!((said / spread - 1.0).abs() < 0.25, "{said} is said, the spread is {spread}");
}

#[test]
fn the_probabilities_of_a_pixel_add_up_to_one_and_draws_follow_them() {
    tch::set_num_threads(1);
    for (decoder, pixels) in [(DecoderSpec::DiscretisedLogistic, (0..256).collect()), (DecoderSpec::Bernoulli, vec![0, 255])] {
        let spec = Spec { latent: 1, width: 1, depth: 0, layers: Layers::Dense, decoder };
        let (vae, parameters) = vae(&spec, &[1, 1, 1], PIXELS);
        if decoder == DecoderSpec::DiscretisedLogistic {
            set(&parameters, &[("log_scale", Tensor::from_slice(&[-1.5]))]);
        }
        let all = PIXELS.centres(&Tensor::from_slice(&pixels).view([-1, 1, 1, 1]));
        let of_one = Tensor::from_slice(&[0.8]).view([1, 1]);
        let p = vae.decoder.log_likelihood(&all, &of_one.repeat([all.size()[0], 1])).exp();
        let total = p.sum(Kind::Double).double_value(&[]);
        assert!((total - 1.0).abs() < 1e-12 && p.min().double_value(&[]) > 0.0, "{decoder:?}: {total}");
        let n = 20_000;
        let drawn = vae.decoder.draw(&of_one.repeat([n, 1]), &normal(0, &[n, 1]));
        let truth = (&p * Tensor::from_slice(&pixels)).sum(Kind::Double).double_value(&[]);
        let (mean, error) = mean_and_error(&PIXELS.to_data(&drawn).to_kind(Kind::Double).view([-1]));
        assert!((mean - truth).abs() < 4.0 * error, "{decoder:?}: {mean} ± {error} is not {truth}");
    }
}

#[test]
fn convolutional_layers_train_and_their_bound_rises_with_the_draws() {
    tch::set_num_threads(1);
    let spec = Spec { latent: 2, width: 3, depth: 2, layers: Layers::Convolutional, decoder: DecoderSpec::Gaussian };
    let (vae, parameters) = vae(&spec, &[1, 8, 4], PIXELS);
    assert_eq!(vae.shape, [2, 2, 1]);
    let x = normal(0, &[64, 1, 1, 1]).expand([64, 1, 8, 4], false) + normal(1, &[64, 1, 8, 4]) * 0.1;
    let elbo = || vae.losses(&x, 3, 0..64).of_examples.mean(Kind::Double);
    let before = elbo().double_value(&[]);
    let mut adam = Adam::new(parameters.flat(), [0.9, 0.99], 1e-8, 0.0);
    for step in 1..=60 {
        let gradient = parameters.gradient(&elbo());
        let (_, shrink) = clip_by_norm(&gradient, 10.0);
        adam.update(parameters.flat(), (&gradient, &shrink), 0.02, step, |_, _| ());
    }
    let after = elbo().double_value(&[]);
    assert!(after < before - 10.0, "from {before} to {after}");
    let [few, many] = [1, 16].map(|count| estimate(&vae, &x, count).value);
    let (rise, error) = mean_and_error(&(many - few));
    assert!(rise > 4.0 * error, "{rise} ± {error}");
    assert_eq!(vae.draw(1, 0..5, 1.0).size(), [5, 1, 8, 4]);
}

#[test]
fn what_can_not_be_halved_is_refused() {
    let spec = |layers, depth| Spec { latent: 2, width: 3, depth, layers, decoder: DecoderSpec::Gaussian };
    let key = |spec: Spec, shape: &[usize]| spec.check(shape, PIXELS).err().map(|fault| fault.key);
    assert_eq!(key(spec(Layers::Convolutional, 1), &[1, 14, 14]), None);
    assert_eq!(key(spec(Layers::Convolutional, 2), &[1, 14, 14]).as_deref(), Some("depth"));
    assert_eq!(key(spec(Layers::Convolutional, 9), &[1, 512, 512]).as_deref(), Some("depth"));
    assert_eq!(key(spec(Layers::Convolutional, 1), &[2]).as_deref(), Some("layers"));
    assert_eq!(key(spec(Layers::Dense, 2), &[1, 14, 14]), None);
}
