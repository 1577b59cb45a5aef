//! Variational dequantisation (Ho et al. 2019, arXiv 1902.00275, Flow++, sec. 3.1): the noise that makes pixels a point of a density is
//! drawn from a law q(u | pixels) that is trained for the bound
//!
//! ```text
//! -ln P(pixels) <= E_u[-ln p(pixels + u) + ln q(u | pixels)],   u in (0, 1)^D.
//! ```
//!
//! It is trained with the score fixed. A gradient of the exact -ln p would cost a backward pass through a whole solve, so its bound in
//! continuous time stands for it (Song et al. 2021b, arXiv 2101.09258, sec. 5): the gradient goes through x_0 of the denoising integral.

use std::f64::consts::{LN_2, PI};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor, no_grad};

use crate::bound::Elbo;
use crate::data::{Batches, Dataset, Scale};
use crate::error::{Error, Fault, Result};
use crate::net::coupling::CouplingFlow;
use crate::optim::{Adam, Builder, Parameters, clip_by_norm};
use crate::progress::Terminal;
use crate::rng::{self, Purpose};
use crate::run::log::Log;
use crate::run::{Run, tensors};
use crate::score::ScoreModel;
use crate::sde::Sde;
use crate::tensor::{sum_per_example, to_vec};

/// `[dequantisation.*]`: a law of dequantisation noise that is trained after the score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum DequantisationSpec {
    Variational(Variational),
}

/// `[dequantisation.variational]`: u = sigmoid(h) with h from a [`CouplingFlow`], trained by Adam (β = 0.9, 0.999, ε = 1e-8).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variational {
    pub steps: u64,
    /// Examples in one step.
    pub batch: usize,
    pub lr: f64,
    /// Largest norm of the gradient of the bound in nats/dim; `inf` for none.
    pub clip: f64,
    /// Where the bound's integral over time begins.
    pub t_min: f64,
    /// Coupling layers.
    pub layers: usize,
    /// Channels of each layer's small network.
    pub channels: usize,
}

impl DequantisationSpec {
    pub fn check(&self, scale: Scale) -> Result<(), Fault> {
        let DequantisationSpec::Variational(spec) = self;
        if let Scale::Vectors { .. } = scale {
            return Err(Fault::new(
                "variational",
                "the data are vectors, which need no dequantisation",
                "remove [dequantisation.variational]",
            ));
        }
        spec.check().map_err(|fault| fault.within("variational"))
    }
}

impl Variational {
    fn check(&self) -> Result<(), Fault> {
        let counts =
            [("steps", self.steps), ("batch", self.batch as u64), ("layers", self.layers as u64), ("channels", self.channels as u64)];
        if let Some((key, _)) = counts.into_iter().find(|(_, value)| *value == 0) {
            return Err(Fault::new(key, format!("{key} is 0"), "give at least 1"));
        }
        if !(self.lr > 0.0 && self.lr.is_finite()) {
            return Err(Fault::new("lr", format!("lr is {}", self.lr), "give a number above 0, such as 1e-3"));
        }
        if !(self.clip > 0.0) {
            return Err(Fault::new("clip", format!("clip is {}", self.clip), "give a number above 0, or inf for no clipping"));
        }
        if !(self.t_min > 0.0 && self.t_min < 1.0) {
            return Err(Fault::new("t_min", format!("t_min is {}", self.t_min), "give a number between 0 and 1, such as likelihood.t_min"));
        }
        Ok(())
    }
}

/// q(u | pixels).
pub struct Dequantiser {
    flow: CouplingFlow,
    parameters: Parameters,
    device: Device,
}

/// In the run folder.
const FILE: &str = "dequantiser.safetensors";

impl Dequantiser {
    /// A new one for images of `shape` [C, H, W], whose law is nearly uniform.
    pub fn new(spec: &Variational, shape: &[usize], seed: u64, device: Device) -> Dequantiser {
        let builder = Builder::new(rng::derive(seed, Purpose::Dequantiser, 0), Kind::Float, device);
        let flow = CouplingFlow::new([shape[0], shape[1], shape[2]], spec.layers, spec.channels, &builder);
        Dequantiser { flow, parameters: builder.finish(), device }
    }

    /// u [B, C, H, W] and ln q(u | pixels) `[B]` in nats, both f64: `pixels` and the normal `noise` are f32 [B, C, H, W].
    ///
    /// ln q = ln N(ε; 0, I) - ln |det ∂h/∂ε| - Σ ln(u (1 - u)).
    pub fn draw(&self, pixels: &Tensor, noise: &Tensor) -> (Tensor, Tensor) {
        let (h, log_det) = self.flow.forward(noise, &(pixels / 127.5 - 1.0));
        let h = h.to_kind(Kind::Double);
        let d = noise.size()[1..].iter().product::<i64>() as f64;
        let log_normal = (sum_per_example(&noise.to_kind(Kind::Double).square()) + d * (2.0 * PI).ln()) * -0.5;
        let log_slope = sum_per_example(&(h.log_sigmoid() + (-&h).log_sigmoid()));
        (h.sigmoid(), log_normal - log_det - log_slope)
    }

    /// One draw of the bound on -ln P(pixels) `[B]`, nats, with the score's bound at t_min in place of -ln p; it can be differentiated.
    pub fn bound(&self, elbo: &Elbo, scale: Scale, pixels: &Tensor, noise: &Tensor, u: &[f64], z: &Tensor) -> Tensor {
        let (dequantiser, log_q) = self.draw(pixels, noise);
        let x0 = scale.dequantised(&pixels.to_kind(Kind::Double), &dequantiser);
        let d = noise.size()[1..].iter().product::<i64>() as f64;
        elbo.denoising(&x0, u, z) + log_q - d * scale.log_det_per_dim()
    }

    /// Writes `dequantiser.safetensors`.
    pub fn save(&self, run: &Run) -> Result<()> {
        let named: Vec<(String, &Tensor)> = self.parameters.named().map(|(name, tensor, _)| (name.to_owned(), tensor)).collect();
        tensors::write(&run.path().join(FILE), &named, &[("version", env!("CARGO_PKG_VERSION").to_string())])
    }

    /// Takes the weights that a run has saved and ends training; false if it has none.
    ///
    /// Errors: the file is damaged or was written for another network.
    pub fn load(&self, run: &Run) -> Result<bool> {
        let Some(bytes) = run.read(FILE)? else { return Ok(false) };
        let wrong = |what: String| Error::run(run.path().join(FILE), what, "remove the file, and score-sde run trains it again");
        let (stored, _) = tensors::parse(&bytes).map_err(wrong)?;
        for (name, parameter, _) in self.parameters.named() {
            let source = stored.get(name).filter(|source| source.size() == parameter.size());
            let source = source.ok_or_else(|| wrong(format!("holds no `{name}` of shape {:?}", parameter.size())))?;
            no_grad(|| parameter.detach().copy_(source));
        }
        self.parameters.freeze();
        Ok(true)
    }

    /// Whether a run has saved one.
    pub fn exists(run: &Run) -> Result<bool> {
        Ok(run.read(FILE)?.is_some())
    }
}

/// The score that stays fixed, and the data.
pub struct Subject<'a> {
    pub sde: &'a dyn Sde,
    pub model: &'a dyn ScoreModel,
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
    let Subject { sde, model, dataset, scale, flip } = subject;
    let elbo = Elbo { sde, model, t_min: spec.t_min };
    let d = dataset.shape().iter().product::<usize>() as f64;
    let mut pixels = Batches::start(dataset, Scale::Vectors { scale: 1.0 }, flip, seed, spec.batch, 0);
    let flat = dequantiser.parameters.flat();
    let mut adam = Adam::new(flat, [0.9, 0.999], 1e-8, 0.0);
    let mut phase = terminal.phase("dequantisation", "steps", spec.steps, 0);
    let (mut sum, mut count, mut note) = (0.0, 0.0, String::new());
    for step in 1..=spec.steps {
        let pixels = pixels.next().to_device(dequantiser.device);
        let noise = rng::normal(seed, Purpose::Prior, step, &pixels.size(), dequantiser.device);
        let z = rng::normal(seed, Purpose::Noise, step, &pixels.size(), dequantiser.device).to_kind(Kind::Double);
        let strata = rng::uniform(seed, Purpose::Time, step, spec.batch).into_iter().enumerate();
        let u: Vec<f64> = strata.map(|(i, u)| (i as f64 + u) / spec.batch as f64).collect();
        let loss = dequantiser.bound(&elbo, scale, &pixels, &noise, &u, &z).mean(Kind::Double) / d;
        let mut gradient = dequantiser.parameters.gradient(&loss);
        let norm = clip_by_norm(&mut gradient, spec.clip).to_kind(Kind::Double);
        let [bound, norm] = to_vec(&Tensor::stack(&[loss.detach(), norm], 0))[..] else { unreachable!("two numbers were stacked") };
        check_finite(step, bound, norm, spec.t_min)?;
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

fn check_finite(step: u64, bound: f64, norm: f64, t_min: f64) -> Result<()> {
    let (what, value) = match (bound.is_finite(), norm.is_finite()) {
        (true, true) => return Ok(()),
        (false, _) => ("the bound of the dequantisation", bound),
        (true, false) => ("the norm of its gradient", norm),
    };
    Err(Error::NotFinite {
        what,
        value,
        step,
        t_min,
        t_max: 1.0,
        t_worst: t_min,
        help: "lower dequantisation.variational.lr or raise its t_min, in a new run (--out DIR)".into(),
    })
}

#[cfg(test)]
mod tests {
    use statrs::function::erf::erfc;

    use super::*;
    use crate::score::{ExactScore, GaussianMixture};
    use crate::sde::Ve;

    /// The exact score of vectors, for images of one pixel.
    struct OnePixel<'a>(ExactScore<'a>);
    impl ScoreModel for OnePixel<'_> {
        fn score(&self, x: &Tensor, t: &[f64]) -> Tensor {
            self.0.score(&x.view([-1, 1]), t).view_as(x)
        }
    }

    const SCALE: Scale = Scale::Pixels { range: [0.0, 256.0], dequantise: true };
    /// Two narrow Gaussians, in units of a pixel: (mean, std), equally likely.
    const BUMPS: [(f64, f64); 2] = [(40.7, 0.15), (128.2, 0.15)];
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
        let model = OnePixel(ExactScore::new(&SDE, &world, Device::Cpu));
        let spec = Variational { steps: 150, batch: 128, lr: 0.02, clip: 1.0, t_min: T_MIN, layers: 1, channels: 8 };
        spec.check().unwrap();
        let dequantiser = Dequantiser::new(&spec, &[1, 1, 1], 1, Device::Cpu);
        let n = 4000;
        for trained in [false, true] {
            if trained {
                let home = tempfile::tempdir().unwrap();
                let run = Run::open(home.path()).unwrap();
                let subject = Subject { sde: &SDE, model: &model, dataset: Arc::new(Pixels), scale: SCALE, flip: false };
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
                let draws = log_q - model.0.log_density(&x0, &[0.0]);
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
