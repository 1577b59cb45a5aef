//! `pc`: predictor-corrector sampling with golden networks from recorded noise, every state on the way.

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::compare::{Per, Report, STORED_IN_F32};
use super::golden::{Case, Tensors};
use super::model::Golden;
use super::sde::{Constants, LEVELS};
use crate::dynamics::Reverse;
use crate::error::Result;
use crate::model::{At, Model, Prediction, discrete_parametrisation};
use crate::sde::{Chain, Sde, SdeSpec, Variance};
use crate::solver::{Corrector, Norms, Predictor, PredictorCorrector, Problem, StepFactor};
use crate::tensor::column_of;

/// Allowed in f64, relative to the largest number of an example.
const SAMPLE: f64 = 1e-8;

#[derive(Deserialize)]
struct Description {
    file: String,
    settings: Settings,
}

#[derive(Deserialize)]
pub(super) struct Settings {
    pub model: String,
    pub kind: String,
    pub kw: Constants,
    pub pred: PredictorName,
    pub corr: CorrectorName,
    #[serde(rename = "N")]
    pub steps: usize,
    pub n_steps: usize,
    pub snr: f64,
    pub eps: f64,
    /// The probability flow?
    pub pf: bool,
    /// A network in continuous time?
    pub cont: bool,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PredictorName {
    EulerMaruyama,
    ReverseDiffusion,
    AncestralSampling,
    None,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CorrectorName {
    Langevin,
    Ald,
    None,
}

impl Settings {
    pub fn solver(&self, sde: &SdeSpec) -> PredictorCorrector {
        let Settings { n_steps: steps, snr, .. } = *self;
        let (norms, alpha) = (Norms::Batch, StepFactor::Chain);
        let variance = if let SdeSpec::Ve(_) = sde { Variance::BetaTilde } else { Variance::Beta };
        PredictorCorrector {
            steps: self.steps,
            predictor: match self.pred {
                PredictorName::EulerMaruyama => Predictor::EulerMaruyama,
                PredictorName::ReverseDiffusion => Predictor::ReverseDiffusion,
                PredictorName::AncestralSampling => Predictor::Ancestral { variance },
                PredictorName::None => Predictor::None,
            },
            corrector: match self.corr {
                CorrectorName::Langevin => Corrector::Langevin { steps, snr, norms, alpha },
                CorrectorName::Ald => Corrector::AnnealedLangevin { steps, snr, alpha },
                CorrectorName::None => Corrector::None,
            },
        }
    }
}

/// The reference's VE network in discrete time divides by the σ that its label has among the network's own levels, however many levels the
/// sampler has given the labels by.
struct OwnLevels<'a> {
    model: &'a dyn Model,
    sampler: Chain,
    network: Chain,
}

impl Model for OwnLevels<'_> {
    fn sde(&self) -> &dyn Sde {
        self.model.sde()
    }
    fn predict(&self, at: &At) -> Prediction {
        let ratio = |t: f64| {
            let (label, gain) = discrete_parametrisation(&self.sampler, t);
            let own = discrete_parametrisation(&self.network, 1.0 - label / (self.network.len() - 1) as f64);
            own.1 / gain
        };
        Prediction::of_score(self.model.score(at) * column_of(at.x, at.t, ratio))
    }
}

pub fn report(case: &Case) -> Result<Report> {
    let Description { file, settings } = case.describe()?;
    let sde = settings.kw.sde(case, &settings.kind)?;
    let tensors = case.tensors(&file)?;
    let golden = Golden::open(case.beside(&format!("model_{}", settings.model))?)?;
    let mut report = Report::default();
    for kind in [Kind::Double, Kind::Float] {
        compare(case, &settings, &sde, &golden, kind, &tensors, &mut report)?;
    }
    Ok(report)
}

fn compare(
    case: &Case,
    settings: &Settings,
    spec: &SdeSpec,
    golden: &Golden,
    kind: Kind,
    tensors: &Tensors,
    report: &mut Report,
) -> Result<()> {
    let sde = spec.get();
    let mut model = golden.model(kind)?;
    model.parametrisation = golden.parametrisation(spec, (!settings.cont).then_some(settings.steps))?;
    let score = model.model(sde);
    let chain = |levels| sde.chain(levels).map_err(|fault| case.error(fault.message));
    let own;
    let model: &dyn Model = if matches!(spec, SdeSpec::Ve(_)) && !settings.cont {
        own = OwnLevels { model: &score, sampler: chain(settings.steps)?, network: chain(LEVELS)? };
        &own
    } else {
        &score
    };
    let solver = settings.solver(spec);
    let x = tensors.get("prior_noise")?.to_kind(kind) * sde.prior_std();
    let recorded = tensors.get("noise")?.to_kind(kind);
    let problem = Problem { x: &x, span: (1.0, settings.eps), denoise: true };
    let reverse = Reverse { model, eta: if settings.pf { 0.0 } else { 1.0 } };
    let (mut corrected, mut predicted, mut means) = (Vec::new(), Vec::new(), Vec::new());
    let (mean, _) = solver.walk(&reverse, &problem, None, &mut |n| recorded.get(n as i64), &mut |visit| {
        corrected.push(visit.corrected.shallow_clone());
        predicted.push(visit.predicted.shallow_clone());
        means.push(visit.mean.shallow_clone());
    })?;
    let last = |states: &[Tensor]| states.last().expect("a sampler has steps").shallow_clone();
    // Without a predictor the reference takes the corrector's x for the mean, where Tweedie's formula ends here.
    let denoised = if let PredictorName::None = settings.pred { last(&means) } else { mean };
    let samples = [("sample_denoise", denoised), ("sample_noisy", last(&predicted))];
    for (name, states) in [("x_after_corrector", corrected), ("x_after_predictor", predicted), ("xmean_after_predictor", means)] {
        let ours = Tensor::stack(&states, 0);
        if kind == Kind::Float && tensors.find(&format!("f32.{name}")).is_some() {
            report.golden(kind, name, &ours, Per::Entry, tensors);
        } else {
            report.golden_within(kind, name, &ours, Per::Entry, tensors, STORED_IN_F32);
        }
    }
    for (name, ours) in samples {
        let ours = golden.to_unit(&ours);
        match kind {
            Kind::Double => report.golden_within(kind, name, &ours, Per::Entry, tensors, SAMPLE),
            _ => report.golden(kind, name, &ours, Per::Entry, tensors),
        }
    }
    Ok(())
}
