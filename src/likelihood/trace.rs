//! `[likelihood.trace]`: how the divergence of the score is estimated, and how often.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::{Job, MOST};
use crate::divergence::Probes;
use crate::error::Fault;
use crate::rng::{self, Law, Purpose};

/// How the divergence of the score is estimated. Probes differ between examples and stay for a whole solve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Trace {
    /// D backward passes an evaluation.
    Exact {},
    /// One backward pass an evaluation for each probe (Hutchinson 1989).
    Hutchinson(Probing),
    /// Hutch++ (Meyer et al. 2021) beside a multiple of the identity: a third of the probes sketch the Jacobian's range, a third take its
    /// trace exactly, and a third estimate the rest. The sketch is Gaussian whatever the law: equal vectors of signs would not span a range.
    /// It pays where a few directions hold most of the trace; as many plain signs are the safer choice elsewhere.
    HutchPp(Probing),
}

/// Of what law the probes are, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Written", into = "Written")]
pub struct Probing {
    pub law: Law,
    pub budget: Budget,
}

/// How many probes a point gets. They are counted in backward passes an evaluation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// `probes`: so many for every point, in one solve.
    Fixed { probes: usize },
    /// `target_standard_error`, `max_probes`: a few for every point, then as many as these say are needed where they matter, for the part
    /// of the mean's standard error that comes from probes to be at most `standard_error` bits/dim (for vectors, too); no point has
    /// more than `most`. Their solves have few probes each.
    Target { standard_error: f64, most: usize },
}

/// [`Probing`] as it is written.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("anyOf" = [{ "required": ["probes"] }, { "required": ["target_standard_error", "max_probes"] }]))]
struct Written {
    /// The law of the probes.
    law: Law,
    /// So many for every point, in one solve: 1 to 65536, for hutch-pp a multiple of 3. The reference uses 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    probes: Option<usize>,
    /// In place of `probes`: the standard error of the mean that comes from probes is to be at most this, bits/dim, above 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    target_standard_error: Option<f64>,
    /// With a target: the most probes of a point, 2 (hutch-pp: 6) to 65536.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_probes: Option<usize>,
}

impl TryFrom<Written> for Probing {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Probing, &'static str> {
        let Written { law, probes, target_standard_error, max_probes } = written;
        let budget = match (probes, target_standard_error, max_probes) {
            (Some(probes), None, None) => Budget::Fixed { probes },
            (None, Some(standard_error), Some(most)) => Budget::Target { standard_error, most },
            _ => return Err("give either `probes`, or `target_standard_error` (bits/dim) and `max_probes`"),
        };
        Ok(Probing { law, budget })
    }
}

impl From<Probing> for Written {
    fn from(Probing { law, budget }: Probing) -> Written {
        let (probes, target_standard_error, max_probes) = match budget {
            Budget::Fixed { probes } => (Some(probes), None, None),
            Budget::Target { standard_error, most } => (None, Some(standard_error), Some(most)),
        };
        Written { law, probes, target_standard_error, max_probes }
    }
}

/// Estimates that the solves of a budget with a target give: the least that tell their spread, for one forward pass.
const AT_ONCE: usize = 2;

impl Trace {
    /// The probing of a random estimate, its table and the backward passes for one estimate.
    fn random(&self) -> Option<(&Probing, &'static str, usize)> {
        match self {
            Trace::Exact {} => None,
            Trace::Hutchinson(probing) => Some((probing, "hutchinson", 1)),
            Trace::HutchPp(probing) => Some((probing, "hutch-pp", 3)),
        }
    }

    /// Estimates that one solve gives for one point.
    pub fn estimates_at_once(&self) -> usize {
        match self.random() {
            None => 1,
            Some((Probing { budget: Budget::Fixed { probes }, .. }, _, cost)) => probes / cost,
            Some((Probing { budget: Budget::Target { .. }, .. }, ..)) => AT_ONCE,
        }
    }

    /// (standard error in bits/dim, most estimates for a point) of a budget with a target.
    pub fn target(&self) -> Option<(f64, usize)> {
        match self.random()? {
            (Probing { budget: Budget::Target { standard_error, most }, .. }, _, cost) => Some((*standard_error, most / cost)),
            _ => None,
        }
    }

    /// Whether probes have no part in the error.
    pub fn is_exact(&self) -> bool {
        matches!(self, Trace::Exact {})
    }

    pub fn check(&self) -> Result<(), Fault> {
        let Some((probing, table, cost)) = self.random() else { return Ok(()) };
        let fault = |key: &str, message: String, help: String| Err(Fault::new(format!("{table}.{key}"), message, help));
        match probing.budget {
            Budget::Fixed { probes } if probes == 0 || probes % cost != 0 || probes > MOST => {
                let help = match cost {
                    1 => format!("give 1 to {MOST}; the reference uses 1"),
                    _ => format!("give a multiple of 3 up to {MOST}: one third each for the sketch, its exact trace and the rest"),
                };
                fault("probes", format!("probes is {probes}"), help)
            }
            Budget::Target { standard_error, .. } if !(standard_error > 0.0 && standard_error.is_finite()) => {
                let message = format!("target_standard_error is {standard_error}");
                fault("target_standard_error", message, "give a number of bits/dim above 0, such as 0.01".into())
            }
            Budget::Target { most, .. } if !(AT_ONCE * cost..=MOST).contains(&most) => {
                let help = format!("give {} to {MOST}; the first {} tell the spread", AT_ONCE * cost, AT_ONCE * cost);
                fault("max_probes", format!("max_probes is {most}"), help)
            }
            _ => Ok(()),
        }
    }

    /// The probes of a batch of solves for points of D numbers.
    pub(super) fn probes(&self, jobs: &[Job], seed: u64, d: usize, device: Device) -> Probes {
        let vectors = |law: Law, purpose: Purpose| {
            let vector = |j: usize| {
                let places: Vec<(u64, u64)> =
                    jobs.iter().map(|job| (job.example as u64, (job.draw * MOST + job.probe + j) as u64)).collect();
                rng::rows_at(law, seed, purpose, &places, &[d as i64], device).to_kind(Kind::Double)
            };
            Tensor::stack(&(0..self.estimates_at_once()).map(vector).collect::<Vec<_>>(), 0)
        };
        match self {
            Trace::Exact {} => Probes::Exact,
            Trace::Hutchinson(Probing { law, .. }) => Probes::Random(vectors(*law, Purpose::Probe)),
            Trace::HutchPp(Probing { law, .. }) => {
                Probes::Sketched { sketch: vectors(Law::Gaussian, Purpose::Sketch), probes: vectors(*law, Purpose::Probe) }
            }
        }
    }
}
