//! `losses`: training losses of golden networks on one batch.

use std::collections::BTreeMap;

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::compare::{Per, Report};
use super::golden::{Case, Tensors};
use super::model::Golden;
use super::sde::{self, LEVELS};
use crate::error::Result;
use crate::loss::{Batch, Reduction, Weighting, denoising_score_matching};
use crate::model::{Model, ScoreNetwork};
use crate::tensor::to_vec;

/// The least time that the reference trains at.
pub const T_MIN: f64 = 1e-5;

#[derive(Deserialize)]
struct Description {
    file: String,
}

/// `sde_loss.<model>.<sde>.rm<reduce_mean>.lw<likelihood_weighting>`, `ddpm_loss.<model>.rm…` or `smld_loss.<model>.rm…`.
struct Loss<'a> {
    model: &'a str,
    sde: &'a str,
    reduction: Reduction,
    /// None in discrete time.
    weighting: Option<Weighting>,
}

impl<'a> Loss<'a> {
    fn parse(name: &'a str) -> Option<Loss<'a>> {
        let reduction = |word| match word {
            "rm0" => Some(Reduction::HalfSum),
            "rm1" => Some(Reduction::Mean),
            _ => None,
        };
        let parts: Vec<&str> = name.split('.').collect();
        Some(match parts[..] {
            ["ddpm_loss", model, word] => Loss { model, sde: "vp", reduction: reduction(word)?, weighting: None },
            ["smld_loss", model, word] => Loss { model, sde: "ve", reduction: reduction(word)?, weighting: None },
            ["sde_loss", model, sde, word, weighting] => {
                let weighting = match weighting {
                    "lw0" => Weighting::Variance,
                    "lw1" => Weighting::Likelihood,
                    _ => return None,
                };
                Loss { model, sde, reduction: reduction(word)?, weighting: Some(weighting) }
            }
            _ => return None,
        })
    }
}

pub fn report(case: &Case) -> Result<Report> {
    let Description { file } = case.describe()?;
    let tensors = case.tensors(&file)?;
    let mut report = Report::default();
    let mut losses: BTreeMap<&str, Vec<(&str, Loss)>> = BTreeMap::new();
    for name in tensors.names_after("f64.") {
        match Loss::parse(name) {
            Some(loss) => losses.entry(loss.model).or_default().push((name, loss)),
            None => report.skip(name),
        }
    }
    for (model, losses) in losses {
        let golden = Golden::open(case.beside(&format!("model_{model}"))?)?;
        for kind in [Kind::Double, Kind::Float] {
            let mut model = golden.model(kind)?;
            for (name, loss) in &losses {
                report.golden(kind, name, &mean_loss(case, &golden, &mut model, loss, &tensors)?, Per::Entry, &tensors);
            }
        }
    }
    Ok(report)
}

/// The mean over the batch.
fn mean_loss(case: &Case, golden: &Golden, model: &mut ScoreNetwork, loss: &Loss, tensors: &Tensors) -> Result<Tensor> {
    let x0 = golden.images(tensors.get("batch01")?, model.kind());
    let z = tensors.get("z")?.to_kind(model.kind());
    let spec = sde::default(case, loss.sde)?;
    let sde = spec.get();
    model.parametrisation = golden.parametrisation(&spec, loss.weighting.is_none().then_some(LEVELS))?;
    let score = model.model(sde);
    let (t, w) = match (loss.weighting, score.chain()) {
        (Some(weighting), _) => {
            let t = times(tensors.get("u")?);
            let w = t.iter().map(|&t| weighting.at(sde, t)).collect();
            (t, w)
        }
        (None, chain) => {
            let chain = chain.ok_or_else(|| case.error("labels of levels, but a network in continuous time"))?;
            // VE's labels count from the largest σ.
            let level = |label: f64| if loss.sde == "ve" { LEVELS - 1 - label as usize } else { label as usize };
            let t: Vec<f64> = to_vec(tensors.get("labels")?).into_iter().map(|label| chain.time(level(label))).collect();
            let w = vec![1.0; t.len()];
            (t, w)
        }
    };
    let losses = denoising_score_matching(&score, loss.reduction, &Batch { x0: &x0, t: &t, z: &z, w: &w });
    Ok(losses.mean(None))
}

/// U(T_MIN, 1) from U(0, 1).
pub fn times(u: &Tensor) -> Vec<f64> {
    to_vec(u).into_iter().map(|u| T_MIN + u * (1.0 - T_MIN)).collect()
}
