//! `likelihood`: the probability flow with its change of log-density, from golden images and probes to bits/dim.

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::compare::{OWN, Per, Report};
use super::golden::{Case, Tensors, prefix};
use super::model::Golden;
use super::sde;
use crate::divergence::Probes;
use crate::dynamics::{Dynamics, FlowWithLogDensity, squared_norm};
use crate::error::Result;
use crate::model::At;
use crate::solver::{Adaptive, Control, SolverSpec, Step};
use crate::space::Scale;
use crate::tensor::to_vec;

/// How far bits/dim may be from the reference's f64 at the end of some thousand evaluations.
const BITS: f64 = 1e-5;

/// How far the times of the first accepted steps may be, relative: errors that decide a step are differences of nearly equal numbers.
const ACCEPTED: f64 = 1e-6;
const FIRST: i64 = 16;
/// Some random networks multiply a difference by ten with every few steps, until the step control takes other steps altogether. Where an
/// end is off, a second solve from a start that differs by this share tells how far off rounding alone can take it.
fn nudge(kind: Kind) -> f64 {
    if kind == Kind::Double { 1e-13 } else { f64::from(f32::EPSILON) }
}

#[derive(Deserialize)]
struct Description {
    file: String,
    model: String,
    sde: String,
    eps: f64,
    rtol: f64,
    atol: f64,
    f64_nfe: u32,
}

pub fn report(case: &Case) -> Result<Report> {
    let description: Description = case.describe()?;
    let tensors = case.tensors(&description.file)?;
    let golden = Golden::open(case.beside(&format!("model_{}", description.model))?)?;
    let mut report = Report::default();
    for kind in [Kind::Double, Kind::Float] {
        solve(case, &description, &golden, kind, &tensors, &mut report)?;
    }
    Ok(report)
}

fn solve(case: &Case, description: &Description, golden: &Golden, kind: Kind, tensors: &Tensors, report: &mut Report) -> Result<()> {
    let spec = sde::default(case, &description.sde)?;
    let sde = spec.get();
    let mut model = golden.model(kind)?;
    model.parameters.freeze();
    model.parametrisation = golden.parametrisation(&spec, None)?;
    let score = model.model(sde);
    let x = tensors.get("data_scaled")?.to_kind(Kind::Double);
    let shape = x.size()[1..].to_vec();
    let (batch, d) = (x.size()[0] as usize, shape.iter().product::<i64>());
    let probes = Probes::Random(tensors.get("epsilon")?.to_kind(Kind::Double).view([1, batch as i64, d]));
    let flow = FlowWithLogDensity::new(&score, shape, probes);
    let start = flow.start(&x);

    // The right-hand side at the start point, at the recorded times.
    for name in tensors.names_after("f64.drift_at_t") {
        let t = name.parse().map_err(|e| case.error(format!("drift_at_t{name}: {e}")))?;
        let slope = flow.drift(&At::whole(&start, &vec![t; batch]));
        let (drift, change) = flow.split(&slope);
        report.golden(kind, &format!("drift_at_t{name}"), &drift.view_as(&x), Per::Entry, tensors)?;
        // One number an example: its own rounding in the reference is a matter of luck, the batch's is not.
        report.golden(kind, &format!("div_at_t{name}"), &-change.view(-1), Per::Tensor { zero: 0.0 }, tensors)?;
    }

    let adaptive = Adaptive { rtol: description.rtol, atol: description.atol, control: Control::BatchCoupled };
    let scale = Scale::Pixels { range: [if golden.reference.centered { -1.0 } else { 0.0 }, 1.0], dequantise: true };
    let solve = |start: &Tensor| -> Result<Solution> {
        let mut times = vec![description.eps];
        // A rejected attempt moves no example.
        let mut watch = |step: &Step| times.extend(step.to.first());
        let (end, cost) = SolverSpec::Rk45(adaptive).general()?.solve(&flow, sde, start, (description.eps, 1.0), &mut watch)?;
        let (z, change) = flow.split(&end);
        let bits = |(square, change): (f64, f64)| scale.bits_per_dim(sde.prior_log_density(square, d as usize) - change, d as usize);
        let bits: Vec<f64> = squared_norm(&z).into_iter().zip(to_vec(&change)).map(bits).collect();
        Ok(Solution { bits: Tensor::from_slice(&bits), evaluations: f64::from(cost.evaluations[0]), times: Tensor::from_slice(&times) })
    };
    let ours = solve(&start)?;
    let truth = tensors.get("f64.bpd")?;
    let distance = |a: &Tensor, b: &Tensor| (a.to_kind(Kind::Double) - b).abs().max().double_value(&[]);
    let recorded = distance(tensors.get(&format!("{}.bpd", prefix(kind)))?, truth);
    let (mut bits, mut evaluations) = (BITS.max(OWN * recorded), 0.5);
    if distance(&ours.bits, truth) > bits {
        let beside = solve(&(&start * (1.0 + nudge(kind))))?;
        bits = bits.max(OWN * distance(&beside.bits, &ours.bits));
        evaluations += OWN * (beside.evaluations - ours.evaluations).abs();
    }
    report.apart(kind, "bpd", &ours.bits, truth, bits);
    if kind == Kind::Float {
        return Ok(());
    }
    let nfe = Tensor::from_slice(&[f64::from(description.f64_nfe)]);
    report.apart(kind, "nfe", &Tensor::from_slice(&[ours.evaluations]), &nfe, evaluations);
    let first = |times: &Tensor| times.narrow(0, 0, FIRST.min(times.size()[0]));
    report.within(kind, "t_accepted", &first(&ours.times), &first(tensors.get("f64.t_accepted")?), Per::Entry, ACCEPTED);
    Ok(())
}

/// The end of a solve.
struct Solution {
    /// bits/dim `[B]`
    bits: Tensor,
    evaluations: f64,
    /// of the accepted steps
    times: Tensor,
}
