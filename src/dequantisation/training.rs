//! Training a law of dequantisation with the score fixed.

use std::f64::consts::LN_2;
use std::sync::Arc;

use tch::{Kind, Tensor};

use super::{Dequantiser, Variational};
use crate::bound::Elbo;
use crate::data::{Batches, Dataset};
use crate::error::{Error, Result};
use crate::loss::stratified;
use crate::model::Model;
use crate::optim::{Adam, clip_by_norm};
use crate::progress::Terminal;
use crate::rng::{self, Law, Purpose};
use crate::run::log::Log;
use crate::space::Scale;
use crate::tensor::to_vec;

/// The score that stays fixed, and the data.
pub struct Subject<'a> {
    pub model: &'a dyn Model,
    pub dataset: Arc<dyn Dataset>,
    pub scale: Scale,
    pub flip: bool,
}

/// Trains `dequantiser` from scratch, a function of (seed, experiment); step k is logged as step `first` + k.
///
/// Error: the bound or its gradient is not finite.
pub fn train(
    spec: &Variational,
    seed: u64,
    dequantiser: &Dequantiser,
    subject: Subject,
    first: u64,
    log: &mut Log,
    terminal: &Terminal,
) -> Result<()> {
    let seed = rng::derive(seed, Purpose::Dequantiser, 1);
    let Subject { model, dataset, scale, flip } = subject;
    let elbo = Elbo { model, t_min: spec.t_min };
    let d = dataset.shape().iter().product::<usize>() as f64;
    let mut pixels = Batches::start(dataset, Scale::Vectors { scale: 1.0 }, flip, seed, spec.batch, 0);
    let flat = dequantiser.parameters.flat();
    let mut adam = Adam::new(flat, [0.9, 0.999], 1e-8, 0.0);
    let mut phase = terminal.phase("dequantisation", "steps", spec.steps, 0);
    let (mut sum, mut count, mut note) = (0.0, 0.0, String::new());
    for step in 1..=spec.steps {
        let pixels = pixels.next().to_device(dequantiser.device);
        let positions = (step - 1) * spec.batch as u64..step * spec.batch as u64;
        let normal = |purpose| rng::rows(Law::Gaussian, seed, purpose, positions.clone(), 0, &pixels.size()[1..], dequantiser.device);
        let (noise, z) = (normal(Purpose::Prior), normal(Purpose::Noise).to_kind(Kind::Double));
        let u = stratified(&rng::uniform_rows(seed, Purpose::Time, positions.clone()));
        let loss = dequantiser.bound(&elbo, scale, &pixels, &noise, &u, &z).mean(Kind::Double) / d;
        let mut gradient = dequantiser.parameters.gradient(&loss);
        let norm = clip_by_norm(&mut gradient, spec.clip).to_kind(Kind::Double);
        let [bound, norm] = to_vec(&Tensor::stack(&[loss.detach(), norm], 0))[..] else { unreachable!("two numbers were stacked") };
        check_finite(step, bound, norm)?;
        adam.update(flat, &gradient, spec.lr, step);
        (sum, count) = (sum + bound / LN_2, count + 1.0);
        if step.is_multiple_of(spec.steps.div_ceil(100)) || step == spec.steps {
            let mean = sum / count;
            note = format!("bound {mean:.4} bits/dim");
            log.scalars(first + step, &[("dequantisation/bound_bits_per_dim", mean), ("dequantisation/gradient_norm", norm)]);
            (sum, count) = (0.0, 0.0);
        }
        phase.set(step, &note);
    }
    dequantiser.parameters.freeze();
    phase.finish(&note);
    Ok(())
}

fn check_finite(step: u64, bound: f64, norm: f64) -> Result<()> {
    let (what, value) = match (bound.is_finite(), norm.is_finite()) {
        (true, true) => return Ok(()),
        (false, _) => ("the bound of the dequantisation", bound),
        (true, false) => ("the norm of its gradient", norm),
    };
    Err(Error::Solver {
        message: format!("{what} is {value} at step {step} of the dequantisation"),
        help: "lower dequantisation.variational.lr or raise its t_min, in a new run (--out DIR)".into(),
    })
}

#[cfg(test)]
mod tests {
    use statrs::function::erf::erfc;

    use tch::Device;

    use super::*;
    use crate::law::GaussianMixture;
    use crate::run::Run;
    use crate::sde::Ve;
    use crate::testing::{exact, of_pixels};

    const SCALE: Scale = Scale::Pixels { range: [0.0, 256.0], dequantise: true };
    /// Two narrow Gaussians, in units of a pixel: (mean, std), equally likely.
    const BUMPS: [(f64, f64); 2] = [(40.7, 0.15), (128.2, 0.15)];
    /// Its noise is in units of a pixel, too.
    const SDE: Ve = Ve { sigma_min: 0.01, sigma_max: 200.0 };
    const T_MIN: f64 = 1e-3;

    fn world() -> GaussianMixture {
        GaussianMixture {
            weights: vec![1.0; 2],
            means: BUMPS.iter().map(|bump| vec![bump.0]).collect(),
            covariances: BUMPS.iter().map(|bump| vec![vec![bump.1 * bump.1]]).collect(),
        }
    }

    /// P(pixel): the mass of the bin.
    fn mass(pixel: f64) -> f64 {
        let phi = |x: f64| 0.5 * erfc(-x / std::f64::consts::SQRT_2);
        BUMPS.iter().map(|(mean, std)| 0.5 * (phi((pixel + 1.0 - mean) / std) - phi((pixel - mean) / std))).sum()
    }

    struct Pixels;
    impl Dataset for Pixels {
        fn shape(&self) -> &[usize] {
            &[1, 1, 1]
        }
        fn len(&self) -> usize {
            2
        }
        fn read(&self, i: usize, out: &mut [f32]) {
            out[0] = [40.0, 128.0][i];
        }
    }

    #[test]
    fn a_trained_law_beats_uniform_noise_and_stays_above_the_probability() {
        tch::set_num_threads(1);
        let world = world();
        let exact = exact(&SDE, &world);
        let model = of_pixels(&SDE, &exact);
        let spec = Variational { steps: 150, batch: 128, lr: 0.02, clip: 1.0, t_min: T_MIN, layers: 1, channels: 8 };
        spec.check().unwrap();
        let dequantiser = Dequantiser::new(&spec, &[1, 1, 1], 1, Device::Cpu);
        let n = 4000;
        for trained in [false, true] {
            if trained {
                let home = tempfile::tempdir().unwrap();
                let run = Run::open(home.path()).unwrap();
                let subject = Subject { model: &model, dataset: Arc::new(Pixels), scale: SCALE, flip: false };
                train(&spec, 1, &dequantiser, subject, 0, &mut Log::open(&run, 1), &Terminal::new(true)).unwrap();
                dequantiser.save(&run).unwrap();
                let again = Dequantiser::new(&spec, &[1, 1, 1], 2, Device::Cpu);
                assert!(again.load(&run).unwrap());
                assert!(again.parameters.flat().equal(dequantiser.parameters.flat()), "what is saved comes back");
            }
            for pixel in [40.0, 128.0] {
                let pixels = Tensor::full([n, 1, 1, 1], pixel, (Kind::Float, Device::Cpu));
                let noise = rng::normal(5, Purpose::Noise, 0, &[n, 1, 1, 1], Device::Cpu);
                let (u, log_q) = dequantiser.draw(&pixels, &noise);
                assert!(u.min().double_value(&[]) > 0.0 && u.max().double_value(&[]) < 1.0);
                let x0 = SCALE.dequantised(&pixels.to_kind(Kind::Double), &u).view([-1, 1]);
                let draws = log_q - exact.log_density(&x0, &[0.0]);
                let (bound, error) = (draws.mean(Kind::Double).double_value(&[]), draws.std(true).double_value(&[]) / (n as f64).sqrt());
                let truth = -mass(pixel).ln();
                assert!(bound > truth - 4.0 * error, "pixel {pixel}: {bound} ± {error} is below {truth}");
                if trained {
                    assert!(bound - truth < 0.2, "pixel {pixel}: trained, it is {bound}, the truth {truth}");
                } else {
                    assert!(bound - truth > 1.0, "pixel {pixel}: uniform noise gives {bound}, the truth is {truth}");
                }
            }
        }
    }
}
