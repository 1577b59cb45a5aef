//! The same examples by the reference's protocol and by this one, and what each difference between the two is worth.

use std::fmt;

use serde::Serialize;
use statrs::statistics::Statistics as _;

use super::{BelowTMin, Budget, Dequantisation, Likelihood, Likelihoods, Probing, Trace};
use crate::error::{Error, Result};
use crate::likelihood::parts::error_of_mean;
use crate::rng::Law;
use crate::solver::{Adaptive, Control, SolverSpec};
use crate::space::Scale;

/// A number of bits/dim with its standard error.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Number {
    #[serde(rename = "bits_per_dim")]
    pub mean: f64,
    pub standard_error: f64,
}

impl Number {
    fn of(values: &[f64]) -> Number {
        Number { mean: values.mean(), standard_error: error_of_mean(values).unwrap_or(f64::NAN) }
    }
}

/// Both numbers, and the way from the reference's to ours: what each change is worth, as a mean over the same examples with the same
/// random numbers. The changes add up to the difference.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    pub reference: Measured,
    pub ours: Measured,
    pub changes: Vec<Change>,
}

/// By one protocol.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    #[serde(flatten)]
    pub number: Number,
    /// The examples it measures.
    pub count: usize,
}

/// What one difference between the protocols is worth.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    pub what: &'static str,
    #[serde(flatten)]
    pub number: Number,
}

/// The reference's protocol for our examples (Song et al. 2021, as published in code): RK45 at 1e-5 over the whole batch as one vector,
/// t_min = 1e-5 with nothing for the mass below, one Rademacher probe and one uniform draw for each example, and no example of a last, smaller batch.
///
/// Its batches are `batch` examples here, as `eval.batch_size` there. Error: not even one batch is full.
pub fn reference(ours: &Likelihood, scale: Scale) -> Result<Likelihood> {
    if let Dequantisation::Latent { .. } = ours.dequantisation {
        let message = "the reference measures scores of the data, and this one is of latent variables".into();
        return Err(Error::Usage { message, help: "leave out --compare".into() });
    }
    let kept = ours.count / ours.batch * ours.batch;
    if kept == 0 {
        return Err(Error::Usage {
            message: format!("the reference drops a batch that is not full: nothing is left of {} examples", ours.count),
            help: format!("its batches are as large as ours: --set likelihood.batch={} or less", ours.count),
        });
    }
    let dequantisation = match scale {
        Scale::Pixels { .. } => Dequantisation::Uniform { draws: 1 },
        Scale::Vectors { .. } => Dequantisation::None,
    };
    Ok(Likelihood {
        count: kept,
        t_min: 1e-5,
        below_t_min: BelowTMin::Ignored,
        solver: SolverSpec::Rk45(Adaptive { rtol: 1e-5, atol: 1e-5, control: Control::BatchCoupled }),
        solver_check: 0,
        trace: Trace::Hutchinson(Probing { law: Law::Rademacher, budget: Budget::Fixed { probes: 1 } }),
        dequantisation,
        bound: None,
        ..ours.clone()
    })
}

/// The reference's number of bits to add for the range of the data: 7 - inverse_scaler(-1), which is log2 of the levels per unit of the
/// model's space where the range is [-1, 1] or [0, 1].
fn reference_offset(scale: Scale) -> f64 {
    match scale {
        Scale::Pixels { range: [lo, hi], .. } => 7.0 - (-1.0 - lo) / (hi - lo),
        Scale::Vectors { .. } => offset(scale),
    }
}

fn offset(scale: Scale) -> f64 {
    -scale.log_det_per_dim() / std::f64::consts::LN_2
}

/// Makes one thing of a protocol ours.
type Edit = fn(&mut Likelihood, &Likelihood);

/// Goes from the reference's protocol to ours, one change at a time. `ours` has been measured by `spec`; `measure` measures by another
/// one, under a name.
pub fn compare(
    spec: &Likelihood,
    scale: Scale,
    ours: &Likelihoods,
    measure: &mut dyn FnMut(&str, &Likelihood) -> Result<Likelihoods>,
) -> Result<Comparison> {
    let mut protocol = reference(spec, scale)?;
    let kept = protocol.count;
    let target = Likelihood { count: kept, solver_check: 0, bound: None, ..spec.clone() };
    let in_bits = |nats: Vec<f64>| nats.into_iter().map(|nats| nats * ours.bits_per_nat()).collect::<Vec<f64>>();
    let of_ours = in_bits(ours.nats());
    let mut at = |name: &str, protocol: &Likelihood| {
        if *protocol == target { Ok(of_ours[..kept].to_vec()) } else { measure(name, protocol).map(|other| in_bits(other.nats())) }
    };
    let rule = reference_offset(scale) - offset(scale);
    let mut values = at("reference", &protocol)?;
    let first = values.clone();
    let mut changes = vec![Change { what: "offset rule", number: Number { mean: 0.0 - rule, standard_error: 0.0 } }];
    let steps: [(&str, &str, Edit); 5] = [
        ("solver: tolerance and step control", "solver", |protocol, ours| protocol.solver = ours.solver.clone()),
        ("t_min", "t_min", |protocol, ours| protocol.t_min = ours.t_min),
        ("trace: probes", "trace", |protocol, ours| protocol.trace = ours.trace.clone()),
        ("mass below t_min", "below_t_min", |protocol, ours| {
            protocol.below_t_min = ours.below_t_min;
            // The probability of pixels themselves knows no noise.
            if ours.below_t_min == BelowTMin::Discrete {
                protocol.dequantisation = ours.dequantisation;
            }
        }),
        ("dequantisation", "dequantisation", |protocol, ours| protocol.dequantisation = ours.dequantisation),
    ];
    for (what, name, change) in steps {
        let before = protocol.clone();
        change(&mut protocol, spec);
        let next = if protocol == before { values.clone() } else { at(name, &protocol)? };
        let differences: Vec<f64> = next.iter().zip(&values).map(|(next, before)| next - before).collect();
        changes.push(Change { what, number: Number::of(&differences) });
        values = next;
    }
    let all = Number::of(&of_ours);
    // The kept ones are among all: the two means differ by what the dropped ones differ from the kept.
    let dropped = Number::of(&of_ours[kept..]);
    let share = (of_ours.len() - kept) as f64 / of_ours.len() as f64;
    let last = Number::of(&values);
    let remainder = match share > 0.0 {
        true => Number { mean: all.mean - last.mean, standard_error: share * dropped.standard_error.hypot(last.standard_error) },
        false => Number { mean: 0.0, standard_error: 0.0 },
    };
    changes.push(Change { what: "dropped remainder", number: remainder });
    let reference = Number::of(&first);
    Ok(Comparison {
        reference: Measured { number: Number { mean: reference.mean + rule, ..reference }, count: kept },
        ours: Measured { number: all, count: of_ours.len() },
        changes,
    })
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut line = |name: &str, sign: bool, Number { mean, standard_error }: &Number, note: &str| {
            let mean = if sign { format!("{mean:+.5}") } else { format!("{mean:.5}") };
            let bar = if standard_error.is_nan() { "    -   ".into() } else { format!("± {standard_error:.5}") };
            writeln!(f, "{name:36} {mean:>9} {bar}{note}")
        };
        let Comparison { reference, ours, changes } = self;
        let note = format!("  {} of {} examples", reference.count, ours.count);
        line("the reference's protocol, bits/dim", false, &reference.number, &note)?;
        for Change { what, number } in changes {
            line(&format!("  {what}"), true, number, "")?;
        }
        line("this protocol, bits/dim", false, &ours.number, "")
    }
}
