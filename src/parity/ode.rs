//! `ode`: the probability flow of golden networks by RK45, the whole batch as one vector, and one reverse-diffusion step at its end.

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::compare::{F32, OWN, Per, Report, nudge, relative};
use super::golden::{Case, Tensors};
use super::model::Golden;
use super::sde::Constants;
use crate::dynamics::Reverse;
use crate::error::Result;
use crate::model::{At, Model};
use crate::sde::SdeSpec;
use crate::solver::{Adaptive, Control, Problem, SolverSpec, Step};

/// Allowed in f64 at the end of a path, relative.
const PATH: f64 = 1e-6;
/// Allowed in f64 for the last step alone, relative.
const LAST_STEP: f64 = 1e-8;

#[derive(Deserialize)]
struct Description {
    file: String,
    model: String,
    sde: String,
    kwargs: Constants,
    eps: f64,
    rtol: f64,
    atol: f64,
    /// Does a reverse-diffusion step without its noise end the path?
    denoise: bool,
    f64_nfe: u32,
    f64_accepted_steps: u32,
}

pub fn report(case: &Case) -> Result<Report> {
    let description: Description = case.describe()?;
    let sde = description.kwargs.sde(case, &description.sde)?;
    let tensors = case.tensors(&description.file)?;
    let golden = Golden::open(case.beside(&format!("model_{}", description.model))?)?;
    let mut report = Report::default();
    for kind in [Kind::Double, Kind::Float] {
        compare(&description, &sde, &golden, kind, &tensors, &mut report)?;
    }
    Ok(report)
}

/// The state is f64 whatever the network's kind, as in the reference.
fn compare(description: &Description, spec: &SdeSpec, golden: &Golden, kind: Kind, tensors: &Tensors, report: &mut Report) -> Result<()> {
    let sde = spec.get();
    let mut model = golden.model(kind)?;
    model.parametrisation = golden.parametrisation(spec, None)?;
    let score = model.model(sde);
    // `z` was rounded to f32 where it is a multiple of the prior's draw, and these paths amplify that.
    let (x, exact) = match tensors.find("prior_noise") {
        Some(noise) => (noise.to_kind(Kind::Double) * sde.prior_std(), true),
        None => (tensors.get("z")?.to_kind(Kind::Double), sde.prior_std() == 1.0),
    };
    let path = description.solve(&score, &x)?;
    let judge = Judge { description, golden, kind, exact, score: &score, tensors };
    let judged = judge.compare(&path, &path);
    report.append(match judged.ok() {
        true => judged,
        // Where ours is off: how far rounding alone can take it.
        false => judge.compare(&path, &description.solve(&score, &(&x * (1.0 + nudge(kind))))?),
    });
    Ok(())
}

/// The reference's path, to put ours beside.
struct Judge<'a> {
    description: &'a Description,
    golden: &'a Golden<'a>,
    kind: Kind,
    /// Do both start from the same numbers in f64?
    exact: bool,
    score: &'a dyn Model,
    tensors: &'a Tensors,
}

impl Judge<'_> {
    /// A path may be as far off as the one that began beside it is from it.
    fn compare(&self, path: &Path, beside: &Path) -> Report {
        let Judge { description, golden, kind, exact, score, tensors } = *self;
        let mut report = Report::default();
        // The last step is of the reverse SDE, not of the probability flow.
        let reverse = Reverse { model: score, eta: 1.0 };
        let finish = |end: &Tensor| {
            let at = vec![description.eps; end.size()[0] as usize];
            let last = if description.denoise {
                reverse.discretised(&At::whole(end, &at), description.kwargs.levels()).0
            } else {
                end.zeros_like()
            };
            golden.to_unit(&(end - last))
        };
        let whole = Per::Tensor { zero: 0.0 };
        let results = |path: &Path| {
            [
                ("y_end_f64", path.end.view(-1), whole),
                ("x", finish(&path.end), Per::Entry),
                ("t_accepted", path.times.shallow_clone(), whole),
            ]
        };
        let (least, own_share) = if kind == Kind::Double && exact { (PATH, 0.0) } else { (F32, OWN) };
        for ((name, ours, per), (_, beside, _)) in results(path).into_iter().zip(results(beside)) {
            // In f32 the error estimate is near its own rounding, and steps come and go.
            if kind == Kind::Double || name != "t_accepted" {
                let rounding = if beside.size() == ours.size() { OWN * relative(&beside, &ours, per) } else { 0.0 };
                report.compare(kind, name, &ours, per, tensors, (least.max(rounding), own_share));
            }
        }
        if kind == Kind::Float {
            return report;
        }
        let counts = [
            ("nfe", path.evaluations, beside.evaluations, description.f64_nfe),
            ("accepted_steps", path.accepted, beside.accepted, description.f64_accepted_steps),
        ];
        for (name, ours, beside, truth) in counts {
            let count = |n: u32| Tensor::from_slice(&[f64::from(n)]);
            report.apart(kind, name, &count(ours), &count(truth), OWN * f64::from(ours.abs_diff(beside)));
        }
        // From the reference's end: a path is not known as well as a step.
        if let (true, Some(end), Some(x)) = (description.denoise, tensors.find("f64.y_end_f64"), tensors.find("f64.x")) {
            report.within(kind, "last step", &finish(&end.view_as(x)), x, Per::Entry, LAST_STEP);
        }
        report
    }
}

struct Path {
    end: Tensor,
    evaluations: u32,
    accepted: u32,
    /// From 1 to eps.
    times: Tensor,
}

impl Description {
    fn solve(&self, model: &dyn Model, x: &Tensor) -> Result<Path> {
        let Description { rtol, atol, eps, .. } = *self;
        let solver = SolverSpec::Rk45(Adaptive { rtol, atol, control: Control::BatchCoupled });
        let problem = Problem { x, span: (1.0, eps), denoise: false };
        let mut times = vec![1.0];
        let mut accept = |step: &Step| times.extend(step.to.first());
        let reverse = Reverse { model, eta: 0.0 };
        let (end, cost) = solver.sample(&reverse, &problem, &mut |_| unreachable!("an ordinary equation"), &mut accept)?;
        Ok(Path { end, evaluations: cost.evaluations[0], accepted: cost.accepted[0], times: Tensor::from_slice(&times) })
    }
}
