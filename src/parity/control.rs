//! `control`: predictor-corrector sampling with golden networks that is kept to a part of an image, or to its grey tones.

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::compare::{Per, Report, STORED_IN_F32};
use super::golden::Case;
use super::model::Golden;
use super::pc::{CorrectorName, PredictorName, Settings};
use super::sde::Constants;
use crate::dynamics::Reverse;
use crate::error::Result;
use crate::guidance::Replacement;
use crate::measurement::{Grey, Mask, Measurement, Operator};
use crate::sde::{Level, SdeSpec};
use crate::solver::{Constraint, PredictorCorrector, Problem};
use crate::tensor::to_vec;

/// Allowed in f64, relative to the largest number of an example.
const SAMPLE: f64 = 1e-8;

#[derive(Deserialize)]
struct Description {
    file: String,
    what: What,
    model: String,
    sde: String,
    kwargs: Constants,
    predictor: PredictorName,
    corrector: CorrectorName,
    #[serde(rename = "N")]
    steps: usize,
    snr: f64,
    eps: f64,
}

impl Description {
    /// One corrector step at each time.
    fn solver(&self, sde: &SdeSpec) -> PredictorCorrector {
        let Description { model, sde: kind, predictor: pred, corrector: corr, steps, snr, eps, .. } = self;
        Settings {
            model: model.clone(),
            kind: kind.clone(),
            kw: Constants::default(),
            pred: *pred,
            corr: *corr,
            steps: *steps,
            n_steps: 1,
            snr: *snr,
            eps: *eps,
            pf: false,
            cont: true,
        }
        .solver(sde)
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Inpaint,
    Colorize,
}

/// One image of a batch, each of which has its own y; the reference draws the noise of grey tones as the first channel of its transform.
struct Control<'a> {
    what: What,
    images: Vec<Replacement<'a>>,
}

impl Control<'_> {
    fn each(&self, x: &Tensor, one: impl Fn(&Replacement, i64) -> Tensor) -> Tensor {
        let images: Vec<Tensor> = self.images.iter().enumerate().map(|(i, image)| one(image, i as i64)).collect();
        Tensor::cat(&images, 0).view_as(x)
    }
}

impl Constraint for Control<'_> {
    fn state(&self, x: &Tensor, level: &Level, noise: &Tensor) -> Tensor {
        self.each(x, |image, i| {
            let noise = noise.narrow(0, i, 1);
            let noise = match self.what {
                What::Inpaint => noise,
                What::Colorize => image.measurement().operator.adjoint(&noise.select(1, 0).flatten(1, -1)),
            };
            image.state(&x.narrow(0, i, 1), level, &noise)
        })
    }

    fn mean(&self, x: &Tensor, level: &Level) -> Tensor {
        self.each(x, |image, i| image.mean(&x.narrow(0, i, 1), level))
    }
}

pub fn report(case: &Case) -> Result<Report> {
    let description: Description = case.describe()?;
    let Description { what, eps, .. } = description;
    let sde = description.kwargs.sde(case, &description.sde)?;
    let tensors = case.tensors(&description.file)?;
    let golden = Golden::open(case.beside(&format!("model_{}", description.model))?)?;
    let mut report = Report::default();
    for kind in [Kind::Double, Kind::Float] {
        let mut network = golden.model(kind)?;
        network.parametrisation = golden.parametrisation(&sde, None)?;
        let model = network.model(sde.get());
        let data = tensors.get("data_scaled")?.to_kind(kind);
        let mask = tensors.get("mask")?;
        let shape: Vec<usize> = data.size()[1..].iter().map(|&n| n as usize).collect();
        let measured = |i: i64| -> Result<Measurement> {
            let operator: Box<dyn Operator> = match what {
                What::Inpaint => {
                    let seen: Vec<bool> = to_vec(&mask.get(i).get(0)).into_iter().map(|seen| seen != 0.0).collect();
                    Box::new(Mask::seeing(&seen, &shape, data.device()).map_err(|fault| case.error(fault.message))?)
                }
                What::Colorize => Box::new(Grey::new(&shape).map_err(|fault| case.error(fault.message))?),
            };
            let y = operator.apply(&data.narrow(0, i, 1)).squeeze_dim(0);
            Ok(Measurement { operator, y, sigma: 0.0 })
        };
        let measurements = (0..data.size()[0]).map(measured).collect::<Result<Vec<_>>>()?;
        let images = measurements.iter().filter_map(|measurement| Replacement::new(measurement, 1).ok()).collect();
        let control = Control { what, images };
        let prior = tensors.get("prior_noise")?.to_kind(kind) * sde.get().prior_std();
        // The reference begins with what is known, without noise; of grey tones what it adds has no first channel.
        let x = match what {
            What::Inpaint => control.mean(&prior, &Level::DATA),
            What::Colorize => {
                let _ = prior.select(1, 0).zero_();
                control.mean(&prior.zeros_like(), &Level::DATA) + &prior
            }
        };
        let recorded = tensors.get("noise")?.to_kind(kind);
        let problem = Problem { x: &x, span: (1.0, eps), denoise: false };
        let reverse = Reverse { model: &model, eta: 1.0 };
        let (x, _) = description.solver(&sde).walk(&reverse, &problem, Some(&control), &mut |n| recorded.get(n as i64), &mut |_| {})?;
        // The reference takes the last noise off what is known, and leaves it in the rest.
        let x = control.mean(&x, &sde.get().level(eps));
        match kind {
            // The entries of the reference's transform to grey tones have the digits of f32.
            Kind::Double => {
                let allowed = if let What::Colorize = what { STORED_IN_F32 } else { SAMPLE };
                report.golden_within(kind, "x", &x, Per::Entry, &tensors, allowed)
            }
            _ => report.golden(kind, "x", &x, Per::Entry, &tensors),
        }
    }
    Ok(report)
}
