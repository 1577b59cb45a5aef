//! Families that measure by themselves, in the data's own units.

use std::f64::consts::LN_2;
use std::ops::Range;

use tch::{Kind, Tensor};

use super::*;
use crate::generator::{Draws, Estimate, Generator, GeneratorSpec};
use crate::optim::Losses;
use crate::testing::gaussian;

/// A law that is known, estimated by draws of w = p(x) e^(s z - s²/2) where s is not 0.
struct Known {
    log_density: fn(&Tensor) -> Tensor,
    spread: f64,
}

impl Generator for Known {
    fn losses(&self, _x0: &Tensor, _seed: u64, _positions: Range<u64>) -> Losses {
        unreachable!("it is not trained")
    }

    fn draw(&self, _seed: u64, _rows: Range<u64>, _temperature: f64) -> Tensor {
        unreachable!("it is not drawn from")
    }

    fn log_density(&self, x: &Tensor, draws: &Draws) -> Estimate {
        let (value, s) = ((self.log_density)(x), self.spread);
        if s == 0.0 {
            return Estimate::exact(value);
        }
        let noise = |j| draws.normal(j, rng::Purpose::Importance, &[], Device::Cpu).to_kind(Kind::Double) * s - 0.5 * s * s;
        Estimate::of_weights(&Tensor::stack(&(0..draws.count).map(|j| &value + noise(j)).collect::<Vec<_>>(), 1))
    }
}

fn measured(spec: &Density, law: &Known, set: &Given, scale: Scale) -> Densities {
    density(spec, 1, law, (set, scale), Device::Cpu, &mut Journal::nowhere(), &Terminal::new(true)).unwrap()
}

fn spec(count: usize, dequantisation: Dequantisation, draws: Option<usize>) -> Density {
    Density { split: Split::Test, count, batch: 7, dequantisation, draws }
}

/// N(0, I).
fn standard(x: &Tensor) -> Tensor {
    let law = exact(&VP, &gaussian(2, 0.0, 1.0));
    law.log_density(&x.to_kind(Kind::Double), &[0.0])
}

/// Of 3 pixels, uniform on [-1, 1].
fn uniform(x: &Tensor) -> Tensor {
    Tensor::full([x.size()[0]], -3.0 * LN_2, (Kind::Double, Device::Cpu))
}

/// One of three equal weights for each pixel.
fn thirds(x: &Tensor) -> Tensor {
    Tensor::full([x.size()[0]], -3.0 * 3f64.ln(), (Kind::Double, Device::Cpu))
}

#[test]
fn vectors_and_pixels_are_measured_in_their_own_units() {
    tch::set_num_threads(1);
    let law = gaussian(2, 0.0, 2.0);
    let (set, factored) = (points(&law, 20, 3), law.factored());
    let nats =
        measured(&spec(20, Dequantisation::None, None), &Known { log_density: standard, spread: 0.0 }, &set, Scale::Vectors { scale: 2.0 })
            .nats();
    for (nats, x) in nats.iter().zip(&set.values) {
        let truth = -factored.log_density(&x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
        assert!((nats - truth).abs() < 1e-9, "{nats} is not {truth}");
    }
    let pixels = Given { shape: vec![3, 1, 1], values: vec![vec![0.0, 7.0, 255.0]; 9] };
    let scale = Scale::Pixels { range: [-1.0, 1.0], dequantise: true };
    let bits = |law, dequantisation| {
        let densities = measured(&spec(9, dequantisation, None), &Known { log_density: law, spread: 0.0 }, &pixels, scale);
        densities.parts().mean * densities.bits_per_nat()
    };
    assert!((bits(uniform, Dequantisation::Uniform { draws: 2 }) - 8.0).abs() < 1e-12);
    assert!((bits(thirds, Dequantisation::None) - 3f64.log2()).abs() < 1e-12, "a probability has no units");
}

#[test]
fn the_error_of_importance_draws_is_their_spread() {
    tch::set_num_threads(1);
    let set = Given { shape: vec![2], values: vec![vec![0.3, -0.4]; 400] };
    let law = Known { log_density: standard, spread: 0.5 };
    let densities = measured(&spec(400, Dequantisation::None, Some(50)), &law, &set, Scale::Vectors { scale: 1.0 });
    let truth = -standard(&Tensor::from_slice(&[0.3, -0.4]).view([1, 2])).double_value(&[0]);
    let report = serde_json::to_value(densities.report(None)).unwrap();
    let number = |key: &str| report["nats"].pointer(key).and_then(Value::as_f64).unwrap();
    let (mean, error) = (number("/mean"), number("/standard_error"));
    assert!((mean - truth).abs() < 4.0 * error + 0.005, "{mean} ± {error} is not {truth}");
    // All examples are one point: nothing but the draws is random.
    assert!((number("/importance/standard_error") / error - 1.0).abs() < 0.15, "{report}");
    assert!((number("/importance/negative_elbo/mean") - truth - 0.125).abs() < 0.02, "E ln w is s²/2 below ln p: {report}");
}

#[test]
fn what_is_exact_has_no_draws_and_what_is_not_needs_them() {
    let vae = |decoder: &str| {
        let text = format!("latent = 1\nwidth = 1\ndepth = 0\ndecoder = '{decoder}'");
        GeneratorSpec::Vae(toml::from_str(&text).unwrap())
    };
    let pixels = Scale::Pixels { range: [0.0, 1.0], dequantise: false };
    let key = |spec: Density, scale, family: &GeneratorSpec| spec.check(scale, family).err().map(|fault| fault.key);
    let vectors = Scale::Vectors { scale: 1.0 };
    let (none, noise) = (Dequantisation::None, Dequantisation::Uniform { draws: 1 });
    assert_eq!(key(spec(1, none, Some(3)), vectors, &vae("gaussian")), None);
    assert_eq!(key(spec(1, none, None), vectors, &vae("gaussian")).as_deref(), Some(""));
    assert_eq!(key(spec(1, none, Some(0)), vectors, &vae("gaussian")).as_deref(), Some("draws"));
    assert_eq!(key(spec(1, none, Some(3)), pixels, &vae("gaussian")).as_deref(), Some("dequantisation"));
    assert_eq!(key(spec(1, noise, Some(3)), pixels, &vae("bernoulli")).as_deref(), Some("dequantisation"));
    assert_eq!(key(spec(1, none, Some(3)), pixels, &vae("bernoulli")), None);
}
