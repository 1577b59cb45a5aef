//! `ode`: the probability flow of golden networks by RK45, the whole batch as one vector.

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::compare::{Per, Report};
use super::golden::{Case, Tensors};
use super::model::Golden;
use super::sde::Constants;
use crate::dynamics::Reverse;
use crate::error::Result;
use crate::sde::SdeSpec;
use crate::solver::{Adaptive, Control, Problem, SolverSpec, Step};

/// Allowed in f64, relative.
const F64: f64 = 1e-6;

#[derive(Deserialize)]
struct Description {
    file: String,
    model: String,
    sde: String,
    kwargs: Constants,
    eps: f64,
    rtol: f64,
    atol: f64,
    denoise: bool,
    f64_nfe: u32,
    f64_accepted_steps: u32,
}

pub fn report(case: &Case) -> Result<Report> {
    let description: Description = case.describe()?;
    if description.denoise {
        return Err(case.error("ends with a reverse-diffusion step, which no solver of the probability flow here has"));
    }
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
    let Description { rtol, atol, eps, .. } = *description;
    let solver = SolverSpec::Rk45(Adaptive { rtol, atol, control: Control::BatchCoupled });
    // `z` was rounded to f32 where it is a multiple of the prior's draw, and these paths amplify that.
    let (x, exact) = match tensors.find("prior_noise") {
        Some(noise) => (noise.to_kind(Kind::Double) * sde.prior_std(), true),
        None => (tensors.get("z")?.to_kind(Kind::Double), sde.prior_std() == 1.0),
    };
    let problem = Problem { x: &x, span: (1.0, eps), denoise: false };
    let mut times = vec![1.0];
    let mut accept = |step: &Step| times.extend(step.to.first());
    let (end, cost) =
        solver.sample(&Reverse { model: &score, eta: 0.0 }, &problem, &mut |_| unreachable!("an ordinary equation"), &mut accept)?;
    if kind == Kind::Double {
        let counts =
            [("nfe", cost.evaluations[0], description.f64_nfe), ("accepted_steps", cost.accepted[0], description.f64_accepted_steps)];
        for (name, ours, truth) in counts {
            let count = |n: u32| Tensor::from_slice(&[f64::from(n)]);
            report.within(kind, name, &count(ours), &count(truth), Per::Entry, 0.0);
        }
    }
    let whole = Per::Tensor { zero: 0.0 };
    let results =
        [("t_accepted", Tensor::from_slice(&times), whole), ("y_end_f64", end.view(-1), whole), ("x", golden.to_unit(&end), Per::Entry)];
    for (name, ours, per) in results {
        match kind {
            Kind::Double if exact => report.within(kind, name, &ours, tensors.get(&format!("f64.{name}"))?, per, F64),
            Kind::Double => report.golden_in_f32(kind, name, &ours, per, tensors)?,
            // In f32 the error estimate is near its own rounding, and steps come and go.
            _ if name == "t_accepted" => {}
            _ => report.golden(kind, name, &ours, per, tensors)?,
        }
    }
    Ok(())
}
