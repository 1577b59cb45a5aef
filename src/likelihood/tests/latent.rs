//! A score of latent variables against probabilistic PCA, where the bound is the density.

use std::f64::consts::PI;

use tch::{Kind, Tensor, no_grad};

use super::*;
use crate::generator::vae::{self, DecoderSpec, Vae};
use crate::latent::{LatentSpace, Spread};
use crate::optim::{Builder, Parameters};
use crate::solver::Adaptive;
use crate::tensor::to_vec;
use crate::testing::{gaussian, largest, mean_and_error, normal};

const SCALE: Scale = Scale::Vectors { scale: 2.0 };
/// s² of the decoder, in model space.
const NOISE: f64 = 0.05;
/// r, which is not that of any data here.
const ROOT: f64 = 0.7;

/// W [3, 2], whose columns are orthogonal, so that the posterior's covariance is diagonal; and μ.
fn factor() -> (Tensor, Tensor) {
    (Tensor::from_slice(&[1.0, 0.3, 0.5, -0.6, 0.0, 0.4]).view([3, 2]), Tensor::from_slice(&[0.3, -0.2, 0.1]))
}

/// x = W z + μ + s ε with its exact posterior, and variances of the posterior too large by `wide`.
fn space(wide: f64) -> LatentSpace {
    let spec = vae::Spec { latent: 2, width: 1, depth: 0, layers: vae::Layers::Dense, decoder: DecoderSpec::Gaussian };
    let builder = Builder::new(1, Kind::Double, Device::Cpu);
    let vae = Vae::new(&spec, &[3], SCALE, &builder);
    let parameters = builder.finish();
    let (w, mean) = factor();
    let precision = w.square().sum_dim_intlist(0i64, false, None::<Kind>) + NOISE;
    let projection = w.tr() / precision.unsqueeze(1);
    let shift = -projection.matmul(&mean);
    let log_variance = (NOISE * wide / &precision).log();
    set(&parameters, "encoder.0.weight", &Tensor::cat(&[&projection, &projection.zeros_like()], 0));
    set(&parameters, "encoder.0.bias", &Tensor::cat(&[shift, log_variance], 0));
    set(&parameters, "decoder.0.weight", &w);
    set(&parameters, "decoder.0.bias", &mean);
    set(&parameters, "log_scale", &Tensor::from_slice(&[0.5 * NOISE.ln()]));
    LatentSpace::new(&spec, vae, parameters, (&[3], SCALE), Device::Cpu).scaled(&Spread { root_mean_square: ROOT })
}

fn set(parameters: &Parameters, name: &str, value: &Tensor) {
    let (_, tensor, _) = parameters.named().find(|(other, ..)| *other == name).unwrap_or_else(|| panic!("no {name}"));
    no_grad(|| tensor.detach().copy_(&value.view(tensor.size().as_slice())));
}

/// Points of the data in data units, and -ln p of them there.
fn world(n: usize) -> (Given, Vec<f64>) {
    let (w, mean) = factor();
    let x = normal(1, &[n as i64, 2]).matmul(&w.tr()) + &mean + normal(2, &[n as i64, 3]) * NOISE.sqrt();
    let values = to_vec(&(x * 2.0)).chunks(3).map(|x| x.iter().map(|&x| x as f32).collect()).collect::<Vec<Vec<f32>>>();
    let covariance = (w.matmul(&w.tr()) + Tensor::eye(3, (Kind::Double, Device::Cpu)) * NOISE) * 4.0;
    let of_one = |x: &Vec<f32>| {
        let centred = (Tensor::from_slice(x).to_kind(Kind::Double) - &mean * 2.0).view([3, 1]);
        let square = centred.tr().matmul(&covariance.inverse()).matmul(&centred).double_value(&[0, 0]);
        0.5 * (square + Tensor::linalg_slogdet(&covariance).1.double_value(&[]) + 3.0 * (2.0 * PI).ln())
    };
    let truth = values.iter().map(of_one).collect();
    (Given { shape: vec![3], values }, truth)
}

fn measured(space: &LatentSpace, dataset: &Given, bound: Option<BoundSpec>) -> (Likelihoods, Bounds) {
    let latent = gaussian(2, 0.0, 1.0 / ROOT);
    let model = exact(&VP, &latent);
    let spec = Likelihood {
        t_min: 1e-5,
        dequantisation: Dequantisation::Latent { draws: 3 },
        below_t_min: if bound.is_some() { BelowTMin::Tweedie } else { BelowTMin::Ignored },
        bound,
        ..spec(dataset.len(), SolverSpec::Rk45(Adaptive::new(1e-8, 1e-8)), Trace::Exact {})
    };
    spec.check(Scale::Vectors { scale: 1.0 }, true, &VP, None).unwrap();
    let subject = Subject {
        model: &model,
        dataset,
        scale: SCALE,
        conditions: None,
        dequantiser: None,
        latent: Some(space),
        seed: 3,
        device: Device::Cpu,
    };
    let values = likelihood(&spec, &subject, &mut Journal::nowhere(), &Terminal::new(true)).unwrap();
    let bounds = spec.bound.as_ref().map(|bound| bounds(bound, &spec, &subject, &mut Journal::nowhere(), &Terminal::new(true)).unwrap());
    (values, bounds.unwrap_or_default())
}

#[test]
fn with_the_exact_posterior_every_draw_is_the_density() {
    tch::set_num_threads(1);
    let (dataset, truth) = world(5);
    let (values, _) = measured(&space(1.0), &dataset, None);
    for (draws, truth) in values.estimates().iter().zip(&truth) {
        assert!(draws.iter().flatten().all(|nats| (nats - truth).abs() < 1e-4), "{draws:?} are not {truth}");
    }
    let parts = values.latent_parts().unwrap();
    let sum = parts.reconstruction.mean + parts.posterior.mean + parts.score.mean;
    assert!((sum - values.parts().mean).abs() < 1e-12);
    // E ln q of a posterior with these variances, each draw with its own noise.
    assert!(parts.reconstruction.mean != 0.0 && parts.score.mean > 0.0, "{parts:?}");
}

#[test]
fn with_another_posterior_it_is_a_bound_by_the_divergence() {
    tch::set_num_threads(1);
    let (dataset, truth) = world(600);
    let wide = 2.0;
    let bound = BoundSpec::Elbo { form: Form::Denoising, draws: 16 };
    let (values, bounds) = measured(&space(wide), &dataset, Some(bound));
    // KL of two Gaussians of one mean, in each of the two dimensions.
    let divergence = 2.0 * 0.5 * (wide - 1.0 - wide.ln());
    for nats in [values.nats(), bounds.nats] {
        let above = Tensor::from_slice(&nats) - Tensor::from_slice(&truth);
        let (mean, error) = mean_and_error(&above);
        assert!((mean - divergence).abs() < 4.0 * error + 1e-3 && error < 0.1, "{mean} ± {error} is not {divergence}");
    }
}

#[test]
fn samples_follow_the_decoders_law() {
    tch::set_num_threads(1);
    let space = space(1.0);
    let n = 20_000;
    let x = space.decode(&(normal(7, &[n, 2]) / ROOT), 3, 0);
    let (w, mean) = factor();
    let centred = &x - &mean;
    let covariance = centred.tr().matmul(&centred) / n as f64;
    let truth = w.matmul(&w.tr()) + Tensor::eye(3, (Kind::Double, Device::Cpu)) * NOISE;
    assert!(largest(&(covariance - truth)) < 0.05);
    let one = space.decode(&(normal(7, &[n, 2]) / ROOT).narrow(0, 17, 3), 3, 17);
    assert!(largest(&(x.narrow(0, 17, 3) - one)) < 1e-12, "a sample does not depend on its batch");
}
