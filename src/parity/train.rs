//! `train`: the first steps of training, from golden weights, data, times and noise.

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::compare::{Per, Report};
use super::golden::{Case, Tensors, prefix};
use super::losses::times;
use super::model::Golden;
use super::sde;
use crate::error::Result;
use crate::loss::{Batch, Reduction, Weighting, denoising_score_matching};
use crate::optim::{Losses, Schedule};
use crate::train::{Gradient, OnDivergence, State, Train};

#[derive(Deserialize)]
struct Description {
    file: String,
    /// The file of the network's case.
    model: String,
    sde: String,
    steps: u64,
    lr: f64,
    warmup: u64,
    /// Below 0 for none.
    grad_clip: f64,
    beta1: f64,
    beta2: f64,
    adam_eps: f64,
    weight_decay: f64,
    ema_rate: f64,
    reduce_mean: bool,
    likelihood_weighting: bool,
}

impl Description {
    fn spec(&self, batch: usize) -> Train {
        Train {
            steps: self.steps,
            batch,
            micro_batch: None,
            lr: self.lr,
            warmup: self.warmup,
            schedule: Schedule::Constant,
            clip: if self.grad_clip < 0.0 { f64::INFINITY } else { self.grad_clip },
            betas: [self.beta1, self.beta2],
            eps: self.adam_eps,
            weight_decay: self.weight_decay,
            ema: self.ema_rate,
            objective: None,
            weighting: None,
            reduction: None,
            time: None,
            importance: None,
            stratified: None,
            t_min: None,
            checkpoint_every: self.steps,
            keep: 1,
            keep_every: None,
            keep_best: None,
            on_divergence: OnDivergence::Stop,
            log_every: 1,
            sample_every: None,
            validation: None,
        }
    }

    fn weighting(&self) -> Weighting {
        if self.likelihood_weighting { Weighting::Likelihood } else { Weighting::Variance }
    }

    fn reduction(&self) -> Reduction {
        if self.reduce_mean { Reduction::Mean } else { Reduction::HalfSum }
    }
}

pub fn report(case: &Case) -> Result<Report> {
    let description: Description = case.describe()?;
    let tensors = case.tensors(&description.file)?;
    let golden = Golden::open(case.owner_of(&description.model)?)?;
    let mut report = Report::default();
    for kind in [Kind::Double, Kind::Float] {
        steps(case, &description, &golden, kind, &tensors, &mut report)?;
    }
    Ok(report)
}

fn steps(case: &Case, description: &Description, golden: &Golden, kind: Kind, tensors: &Tensors, report: &mut Report) -> Result<()> {
    let sde = sde::default(case, &description.sde)?;
    let mut model = golden.model(kind)?;
    model.parametrisation = golden.parametrisation(&sde, None)?;
    let (images, noise, u) = (tensors.get("batch01")?, tensors.get("z")?, tensors.get("u")?);
    let spec = description.spec(images.size()[1] as usize);
    // The golden networks drop nothing.
    let score = model.model(sde.get());
    let mut state = State::new(&spec, &model.parameters);
    let (mut losses, mut norms) = (Vec::new(), Vec::new());
    for step in 0..description.steps as i64 {
        let x0 = golden.images(&images.get(step), kind);
        let t = times(&u.get(step));
        let z = noise.get(step).to_kind(kind);
        let w: Vec<f64> = t.iter().map(|&t| description.weighting().at(sde.get(), t)).collect();
        let of_examples = denoising_score_matching(&score, description.reduction(), &Batch { x0: &x0, t: &t, z: &z, w: &w });
        let of_batch = Losses { of_examples, t: None, parts: Vec::new() };
        let update = state.update(&spec, &Gradient::of(&model.parameters, of_batch, 1.0))?;
        losses.push(update.loss);
        norms.push(update.norm);
    }
    report.golden(kind, "losses", &Tensor::from_slice(&losses), Per::Entry, tensors);
    report.golden(kind, "grad_norms", &Tensor::from_slice(&norms), Per::Entry, tensors);
    for (family, buffer) in [("param", model.parameters.flat()), ("ema", &state.ema.average)] {
        for (name, ours) in model.parameters.views_of(buffer) {
            let quantity = format!("{family}.{name}");
            // A selection is recorded, and a smaller one in f32.
            if tensors.find(&format!("{}.{quantity}", prefix(kind))).is_some() {
                report.golden(kind, &quantity, &ours, Per::Tensor { zero: 0.0 }, tensors);
            }
        }
    }
    Ok(())
}
