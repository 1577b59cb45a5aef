//! `likelihood`: the probability flow with its change of log-density, from golden images and probes to bits/dim.

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::compare::{OWN, Per, Report, absolute, nudge, relative};
use super::golden::{Case, Tensors, prefix};
use super::model::Golden;
use super::sde;
use crate::divergence::Probes;
use crate::dynamics::{Dynamics, FlowWithLogDensity, squared_norm};
use crate::error::Result;
use crate::model::At;
use crate::sde::Sde;
use crate::solver::{Adaptive, Control, SolverSpec, Step};
use crate::space::Scale;
use crate::tensor::{column_of, to_vec};

/// How far bits/dim may be from the reference's f64 at the end of some thousand evaluations.
const BITS: f64 = 1e-5;

/// How far the times of the first accepted steps may be, relative: errors that decide a step are differences of nearly equal numbers.
const ACCEPTED: f64 = 1e-6;
const FIRST: usize = 16;

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

/// [`FlowWithLogDensity`] with the divergence of the whole drift f x - ½ g² s estimated by the probe v, as in the reference. Ours takes that
/// of f x as the f D that it is; the estimate f ‖v‖² differs from it where ‖v‖² is not D.
struct Estimated<'a> {
    flow: FlowWithLogDensity<'a>,
    sde: &'a dyn Sde,
    /// ‖v‖² - D [B, 1]
    excess: Tensor,
}

impl Dynamics for Estimated<'_> {
    fn drift(&self, at: &At) -> Tensor {
        let slope = self.flow.drift(at);
        let (velocity, change) = self.flow.split(&slope);
        Tensor::cat(&[velocity, change - &self.excess * column_of(&self.excess, at.t, |t| self.sde.drift(t))], 1)
    }
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
    let probe = tensors.get("epsilon")?.to_kind(Kind::Double).view([1, batch as i64, d]);
    let excess = probe.square().sum_dim_intlist(2i64, false, None::<Kind>).view([-1, 1]) - d as f64;
    let flow = Estimated { flow: FlowWithLogDensity::new(&score, shape, Probes::Random(probe)), sde, excess };
    let start = flow.flow.start(&x);

    // The right-hand side at the start point, at the recorded times.
    for name in tensors.names_after("f64.drift_at_t") {
        let t = name.parse().map_err(|e| case.error(format!("drift_at_t{name}: {e}")))?;
        let slope = flow.drift(&At::whole(&start, &vec![t; batch]));
        let (drift, change) = flow.flow.split(&slope);
        report.golden(kind, &format!("drift_at_t{name}"), &drift.view_as(&x), Per::Entry, tensors);
        // One number an example: its own rounding in the reference is a matter of luck, the batch's is not.
        report.golden(kind, &format!("div_at_t{name}"), &-change.view(-1), Per::Tensor { zero: 0.0 }, tensors);
    }

    let Some(truth) = tensors.find("f64.bpd") else { return Ok(()) };
    let adaptive = Adaptive { rtol: description.rtol, atol: description.atol, control: Control::BatchCoupled };
    let scale = Scale::Pixels { range: [if golden.reference.centered { -1.0 } else { 0.0 }, 1.0], dequantise: true };
    let solve = |start: &Tensor| -> Result<Solution> {
        let mut times = vec![description.eps];
        // A rejected attempt moves no example.
        let mut watch = |step: &Step| times.extend(step.to.first());
        let (end, cost) = SolverSpec::Rk45(adaptive).general()?.solve(&flow, sde, start, (description.eps, 1.0), &mut watch)?;
        let (z, change) = flow.flow.split(&end);
        let bits = |(square, change): (f64, f64)| scale.bits_per_dim(sde.prior_log_density(square, d as usize) - change, d as usize);
        let bits: Vec<f64> = squared_norm(&z).into_iter().zip(to_vec(&change)).map(bits).collect();
        let times = Tensor::from_slice(&times[..times.len().min(FIRST)]);
        Ok(Solution { bits: Tensor::from_slice(&bits), evaluations: f64::from(cost.evaluations[0]), times })
    };
    compare(description, kind, (&solve(&start)?, truth), |share| solve(&(&start * (1.0 + share * nudge(kind)))), tensors, report)
}

/// Starts nearby, in shares of the nudge: where the number of steps is an accident, one of them says too little of how far it scatters.
const BESIDE: [f64; 3] = [1.0, -1.0, 2.0];

/// The end of a solve and its way there with the reference's. `beside` solves from a start nearby, one after the other while ours is off.
fn compare(
    description: &Description,
    kind: Kind,
    (ours, truth): (&Solution, &Tensor),
    beside: impl Fn(f64) -> Result<Solution>,
    tensors: &Tensors,
    report: &mut Report,
) -> Result<()> {
    let recorded = tensors.find(&format!("{}.bpd", prefix(kind))).map_or(0.0, |own| absolute(own, truth));
    let accepted =
        tensors.find("f64.t_accepted").filter(|_| kind == Kind::Double).map(|times| times.narrow(0, 0, times.size()[0].min(FIRST as i64)));
    let apart_in_time = |times: &Tensor| accepted.as_ref().map_or(0.0, |truth| relative(times, truth, Per::Entry));
    let (mut bits, mut evaluations, mut times) = (BITS.max(OWN * recorded), 0.5, ACCEPTED);
    let truth_evaluations = f64::from(description.f64_nfe);
    let off = |bits: f64, times: f64| absolute(&ours.bits, truth) > bits || apart_in_time(&ours.times) > times;
    let miscounted = |allowed: f64| kind == Kind::Double && (ours.evaluations - truth_evaluations).abs() > allowed;
    // A number of steps is an accident where a path is, and nowhere else.
    if off(bits, times) {
        let mut range = [ours.evaluations; 2];
        for share in BESIDE {
            let beside = beside(share)?;
            bits = bits.max(OWN * absolute(&beside.bits, &ours.bits));
            range = [range[0].min(beside.evaluations), range[1].max(beside.evaluations)];
            evaluations = 0.5 + OWN * (range[1] - range[0]);
            times = times.max(OWN * relative(&beside.times, &ours.times, Per::Entry));
            if !off(bits, times) && !miscounted(evaluations) {
                break;
            }
        }
    }
    report.apart(kind, "bpd", &ours.bits, truth, bits);
    if kind == Kind::Double {
        let count = |n: f64| Tensor::from_slice(&[n]);
        report.apart(kind, "nfe", &count(ours.evaluations), &count(truth_evaluations), evaluations);
    }
    if let Some(truth) = accepted {
        report.within(kind, "t_accepted", &ours.times, &truth, Per::Entry, times);
    }
    Ok(())
}

/// The end of a solve.
struct Solution {
    /// bits/dim `[B]`
    bits: Tensor,
    evaluations: f64,
    /// of the first accepted steps
    times: Tensor,
}
