//! Training a law of dequantisation with the score fixed.

use std::f64::consts::LN_2;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::{Dequantiser, Variational};
use crate::bound::Elbo;
use crate::data::{Batches, Dataset};
use crate::error::{Error, Result};
use crate::loss::stratified;
use crate::model::Model;
use crate::optim::{Adam, clip_by_norm};
use crate::progress::Terminal;
use crate::rng::{self, Law, Purpose};
use crate::run::Journal;
use crate::run::log::Log;
use crate::space::Scale;
use crate::tensor::numbers;

/// The score that stays fixed, and the data.
pub struct Subject<'a> {
    pub model: &'a dyn Model,
    pub dataset: Arc<dyn Dataset>,
    pub scale: Scale,
    pub flip: bool,
}

/// The state of training after some steps, as a journal keeps it.
#[derive(Serialize, Deserialize)]
pub struct Trained {
    /// Weights, and Adam's first and second moment.
    flat: [Vec<f32>; 3],
    /// How it went.
    note: String,
}

/// Points of the curve, and records of the journal, at most.
const POINTS: u64 = 100;
const RECORDS: u64 = 20;

/// Trains `dequantiser` from scratch, a function of (seed, experiment); what `journal` holds is not done again. Step k is logged as step
/// `first` + k.
///
/// Error: the bound or its gradient is not finite.
#[expect(clippy::too_many_arguments, reason = "what is trained, on what, and where it is written")]
pub fn train(
    spec: &Variational,
    seed: u64,
    dequantiser: &Dequantiser,
    subject: Subject,
    first: u64,
    journal: &mut Journal<Trained>,
    log: &mut Log,
    terminal: &Terminal,
) -> Result<()> {
    let seed = rng::derive(seed, Purpose::Dequantiser, 1);
    let flat = dequantiser.parameters.flat();
    let mut adam = Adam::new(flat, [0.9, 0.999], 1e-8, 0.0);
    let mut phase = terminal.phase("dequantisation", "steps", spec.steps, 0);
    let mut batches = None;
    let (mut step, mut note) = (0, String::new());
    // A record ends where a point of the curve does.
    let point = spec.steps.div_ceil(POINTS);
    let length = point * POINTS.div_ceil(RECORDS);
    while step < spec.steps {
        let last = (step + length).min(spec.steps);
        let trained = journal.next(|| {
            if batches.is_none() {
                log.begin("dequantisation", first + step + 1)?;
            }
            let batches = batches.get_or_insert_with(|| {
                let Subject { dataset, flip, .. } = &subject;
                Batches::start(dataset.clone(), Scale::Vectors { scale: 1.0 }, *flip, seed, spec.batch, step)
            });
            let mut sums = [0.0; 2];
            for step in step + 1..=last {
                let bound = update(spec, seed, dequantiser, &subject, &mut adam, &batches.next()?, step)?;
                sums = [sums[0] + bound[0] / LN_2, sums[1] + 1.0];
                if step.is_multiple_of(point) || step == spec.steps {
                    let mean = sums[0] / sums[1];
                    note = format!("bound {mean:.4} bits/dim");
                    log.scalars(first + step, &[("dequantisation/bound_bits_per_dim", mean), ("dequantisation/gradient_norm", bound[1])]);
                    sums = [0.0; 2];
                }
                phase.set(step, &note);
            }
            log.sync()?;
            let flat = [flat, &adam.first_moment, &adam.second_moment].map(|buffer| f32s(&dequantiser.parameters.by_axes(buffer)));
            Ok(Trained { flat, note: note.clone() })
        })?;
        for (kept, to) in trained.flat.iter().zip([flat, &adam.first_moment, &adam.second_moment]) {
            dequantiser.parameters.fill_by_axes(to, &Tensor::from_slice(kept));
        }
        (step, note) = (last, trained.note);
        phase.earlier(journal.earlier());
        phase.set(step, &note);
    }
    dequantiser.parameters.freeze();
    phase.finish(&note);
    Ok(())
}

/// One step on a batch of pixels; the mean bound in nats/dim and the norm of its gradient.
fn update(
    spec: &Variational,
    seed: u64,
    dequantiser: &Dequantiser,
    subject: &Subject,
    adam: &mut Adam,
    pixels: &Tensor,
    step: u64,
) -> Result<[f64; 2]> {
    let elbo = Elbo { model: subject.model, t_min: spec.t_min };
    let pixels = pixels.to_device(dequantiser.device);
    let shape = &pixels.size()[1..];
    let positions = (step - 1) * spec.batch as u64..step * spec.batch as u64;
    let normal = |purpose| rng::rows(Law::Gaussian, seed, purpose, positions.clone(), 0, shape, dequantiser.device);
    let (noise, z) = (normal(Purpose::Prior), normal(Purpose::Noise).to_kind(Kind::Double));
    let shares = stratified(&rng::uniform_rows(seed, Purpose::Time, positions.clone(), 0));
    let d = shape.iter().product::<i64>() as f64;
    let loss = dequantiser.bound(&elbo, subject.scale, &pixels, &noise, &shares, &z).mean(Kind::Double) / d;
    let gradient = dequantiser.parameters.gradient(&loss);
    let (norm, shrink) = clip_by_norm(&gradient, spec.clip);
    let [bound, norm] = numbers([loss.detach(), norm.to_kind(Kind::Double)]);
    check_finite(step, bound, norm)?;
    adam.update(dequantiser.parameters.flat(), (&gradient, &shrink), spec.lr, step, |_, _| ());
    Ok([bound, norm])
}

fn f32s(x: &Tensor) -> Vec<f32> {
    Vec::try_from(x.detach().to_device(Device::Cpu).view(-1)).expect("numbers in f32")
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
        fn read(&self, i: usize, out: &mut [f32]) -> Result<()> {
            out[0] = [40.0, 128.0][i];
            Ok(())
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
                train(
                    &spec,
                    1,
                    &dequantiser,
                    subject,
                    0,
                    &mut Journal::nowhere(),
                    &mut Log::open(&run, String::new()).unwrap(),
                    &Terminal::new(true),
                )
                .unwrap();
                let of = serde_json::json!({ "step": 1 });
                let mut product = run.product(Dequantiser::NAME, of.clone());
                dequantiser.save(&mut product).unwrap();
                product.finish().unwrap();
                let again = Dequantiser::new(&spec, &[1, 1, 1], 2, Device::Cpu);
                assert!(again.load(&run, &of).unwrap());
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
