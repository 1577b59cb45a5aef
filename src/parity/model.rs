//! `model`: a network's output, activations and gradients, and the scores that preconditioning makes of it.

use std::iter;

use serde::Deserialize;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor, no_grad};

use super::compare::{Per, Report, STORED_IN_F32};
use super::golden::{Case, Tensors, prefix};
use super::sde::{self, LEVELS};
use crate::error::Result;
use crate::model::{At, Label, Model, Output, Parametrisation, Precondition, ScoreNetwork};
use crate::net::Told;
use crate::net::reference::Reference;
use crate::sde::{Sde, SdeSpec};
use crate::space::Scale;
use crate::tensor::{column, to_vec};

/// How far activations in f32 may be apart at most: phases of Fourier features are hundreds of radians.
const ACTIVATION: f64 = 1e-4;
/// A gradient this much smaller than the largest one is 0 but for rounding.
const ZERO: f64 = 1e-6;

#[derive(Deserialize)]
struct Description {
    file: String,
    acts: Option<String>,
    config: Value,
}

/// A golden network: what the configuration says of it, and its weights.
pub struct Golden<'a> {
    case: Case<'a>,
    pub reference: Reference,
    tensors: Tensors,
    acts: Option<String>,
}

impl<'a> Golden<'a> {
    pub fn open(case: Case<'a>) -> Result<Golden<'a>> {
        let Description { file, acts, config } = case.describe()?;
        let reference =
            Reference::new(&config).map_err(|fault| case.error(format!("{}: {} ({})", fault.key, fault.message, fault.help)))?;
        Ok(Golden { case, reference, tensors: case.tensors(&file)?, acts })
    }

    /// The network with the golden weights.
    pub fn model(&self, kind: Kind) -> Result<ScoreNetwork> {
        let Reference { network, shape, centered, .. } = &self.reference;
        let scale = Scale::Pixels { range: [if *centered { -1.0 } else { 0.0 }, 1.0], dequantise: false };
        let model = ScoreNetwork::of_kind(kind, network, Parametrisation::Reference, scale, (shape, 0), 0, Device::Cpu);
        let mut names = Vec::new();
        for (name, parameter, _) in model.parameters.named() {
            let value = self.tensors.get(&format!("param.{name}"))?;
            if value.size() != parameter.size() {
                let (here, there) = (parameter.size(), value.size());
                return Err(self.case.error(format!("{name} has shape {here:?} here and {there:?} there")));
            }
            no_grad(|| parameter.detach().copy_(value));
            names.push(name);
        }
        // `sigmas` are the levels of noise, which are no part of a network here.
        match self.tensors.names_after("param.").find(|name| *name != "sigmas" && !names.contains(name)) {
            Some(name) => Err(self.case.error(format!("the network here has no parameter {name}"))),
            None => Ok(model),
        }
    }

    /// Images of [0, 1] in model space.
    pub fn images(&self, unit: &Tensor, kind: Kind) -> Tensor {
        let unit = unit.to_kind(kind);
        if self.reference.centered { unit * 2 - 1 } else { unit }
    }

    /// The way back.
    pub fn to_unit(&self, x: &Tensor) -> Tensor {
        if self.reference.centered { (x + 1.0) / 2.0 } else { x.shallow_clone() }
    }

    /// [`Golden::precondition`] under this SDE.
    pub fn parametrisation(&self, sde: &SdeSpec, levels: Option<usize>) -> Result<Parametrisation> {
        self.precondition(sde, levels)?.under(sde.get()).map_err(|fault| self.case.error(fault.message))
    }

    /// How the reference makes a score of this network under a SDE; with `levels`, in discrete time.
    fn precondition(&self, sde: &SdeSpec, levels: Option<usize>) -> Result<Precondition> {
        let Reference { log_label, scale_by_sigma, .. } = self.reference;
        let plain = |label, output| Ok(Precondition::Plain { label, output });
        let exploding = matches!(sde, SdeSpec::Ve(_));
        match (exploding, levels, log_label, scale_by_sigma) {
            (false, None, false, false) | (true, None, true, true) => Ok(Precondition::Reference {}),
            (false, Some(levels), false, false) | (true, Some(levels), false, true) => {
                Ok(Precondition::Discrete { levels, output: None, variance: None })
            }
            (false, None, true, false) => plain(Label::LogTime, Output::Noise),
            (true, None, false, false) => plain(Label::Sigma, Output::Score),
            (true, None, true, false) => plain(Label::LogSigma, Output::Score),
            _ => {
                let names = json!({ "discrete": levels.is_some(), "fourier": log_label, "scale_by_sigma": scale_by_sigma });
                Err(self.case.error(format!("no score under this SDE of a network with {names}")))
            }
        }
    }

    /// The reference's output at the recorded labels: it maps images to [-1, 1], takes a Fourier network's label to the logarithm, and
    /// divides by σ inside its network; here preconditioning does so.
    fn output(&self, model: &ScoreNetwork, x: &Tensor, see: &mut dyn FnMut(&Tensor)) -> Result<Tensor> {
        let Reference { log_label, scale_by_sigma, centered, .. } = self.reference;
        let labels = self.tensors.get(&format!("{}.labels", prefix(x.kind())))?;
        let noise: Vec<f64> = to_vec(labels).into_iter().map(|label| if log_label { label.ln() } else { label }).collect();
        let input = if centered { x.shallow_clone() } else { x * 2 - 1 };
        let y = model.network.forward_showing(&input, &Told::noise(&column(x, noise).view(-1)), None, see);
        Ok(match (scale_by_sigma, log_label) {
            (false, _) => y,
            (true, true) => y / column(x, to_vec(labels)),
            (true, false) => y / column(x, to_vec(&self.tensors.get("param.sigmas")?.index_select(0, &labels.to_kind(Kind::Int64)))),
        })
    }
}

pub fn report(case: &Case) -> Result<Report> {
    let golden = Golden::open(*case)?;
    let mut report = Report::default();
    let [double, single] = [golden.model(Kind::Double)?, golden.model(Kind::Float)?];
    outputs(&golden, [&double, &single], &mut report)?;
    gradients(&golden, &double, &mut report)?;
    for mut model in [double, single] {
        scores(&golden, &mut model, &mut report)?;
    }
    Ok(report)
}

/// `net_out` and the activations on the way to it.
fn outputs(golden: &Golden, models: [&ScoreNetwork; 2], report: &mut Report) -> Result<()> {
    let mut activations = Vec::new();
    for model in models {
        let x = golden.tensors.get("x")?.to_kind(model.kind());
        let mut seen = Vec::new();
        let y = no_grad(|| golden.output(model, &x, &mut |h| seen.push(h.shallow_clone())))?;
        report.golden(model.kind(), "net_out", &y, Per::Entry, &golden.tensors);
        activations.push(seen);
    }
    let Some(file) = &golden.acts else { return Ok(()) };
    let recorded = golden.case.tensors(file)?;
    let layers = recorded.names_after("f32.act.all_modules.").count();
    if activations[0].len() != layers {
        return Err(golden.case.error(format!("{layers} activations are recorded, but there are {} here", activations[0].len())));
    }
    for (i, (double, single)) in iter::zip(&activations[0], &activations[1]).enumerate() {
        let name = format!("act.all_modules.{i}");
        report.recorded_in_f32(&name, single, double, recorded.get(&format!("f32.{name}"))?, ACTIVATION);
    }
    Ok(())
}

/// Gradients of sum(net_out · probe), in f64; of a case that has a probe.
fn gradients(golden: &Golden, model: &ScoreNetwork, report: &mut Report) -> Result<()> {
    let tensors = &golden.tensors;
    let Some(probe) = tensors.find("probe") else { return Ok(()) };
    let x = tensors.get("x")?.to_kind(Kind::Double).set_requires_grad(true);
    let loss = (golden.output(model, &x, &mut |_| ())? * probe).sum(Kind::Double);
    let grad_x = Tensor::run_backward(&[&loss], &[&x], true, false).remove(0);
    report.golden(Kind::Double, "grad_x", &grad_x, Per::Entry, tensors);

    let flat = model.parameters.gradient(&loss);
    let per = Per::Tensor { zero: ZERO * flat.abs().max().double_value(&[]) };
    for (name, gradient) in model.parameters.views_of(&flat) {
        report.golden_within(Kind::Double, &format!("grad.{name}"), &gradient, per, tensors, STORED_IN_F32);
    }
    Ok(())
}

/// `score_<sde>` and `score_<sde>_discrete`, the SDEs at the reference's constants.
fn scores(golden: &Golden, model: &mut ScoreNetwork, report: &mut Report) -> Result<()> {
    let x = golden.tensors.get("x")?.to_kind(model.kind());
    let t = to_vec(golden.tensors.get("t")?);
    for name in golden.tensors.names_after("f64.score_") {
        let (sde, discrete) = name.strip_suffix("_discrete").map_or((name, false), |sde| (sde, true));
        let spec = sde::default(&golden.case, sde)?;
        model.parametrisation = golden.parametrisation(&spec, discrete.then_some(LEVELS))?;
        let sde: &dyn Sde = spec.get();
        let score = no_grad(|| model.model(sde).score(&At::whole(&x, &t)));
        report.golden(model.kind(), &format!("score_{name}"), &score, Per::Entry, &golden.tensors);
    }
    Ok(())
}
