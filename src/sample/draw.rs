//! `[draw]`: samples of a family that draws by itself.

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tch::no_grad;

use super::{Drawn, Samples, all, f32s, sizes};
use crate::error::{Error, Fault, Result};
use crate::generator::Generator;
use crate::progress::Terminal;
use crate::run::Journal;
use crate::solver::Statistics;
use crate::train::Weights;

/// `[draw]`: how many samples of a flow or a VAE are drawn, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Draw {
    /// Samples, 1 to 100,000,000.
    pub count: usize,
    /// Samples that are drawn together, 1 to 1,000,000; sample i does not depend on it. Operational.
    pub batch: usize,
    /// What draws of the prior are multiplied by, above 0; 1 for the law itself, less for samples nearer to its middle.
    pub temperature: f64,
}

impl Draw {
    pub fn check(&self) -> Result<(), Fault> {
        Fault::unless_in("count", self.count, 1..=100_000_000, "leave [draw] out for no samples")?;
        Fault::unless_in("batch", self.batch, 1..=1_000_000, "a smaller batch needs less memory")?;
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return Err(Fault::new(
                "temperature",
                format!("temperature is {}", self.temperature),
                "give a number above 0; 1 is the law itself",
            ));
        }
        Ok(())
    }

    /// All that samples depend on.
    pub fn subject(&self, seed: u64, weights: Option<&Weights>) -> Value {
        json!({ "seed": seed, "weights": weights, "draw": { "count": self.count, "temperature": self.temperature } })
    }
}

/// Draws `spec.count` samples of `shape`; what `journal` holds is not drawn again. Sample i is a function of (seed, i).
///
/// Error: a sample is not finite.
pub fn draw(
    spec: &Draw,
    seed: u64,
    generator: &dyn Generator,
    shape: &[usize],
    journal: &mut Journal<Drawn>,
    terminal: &Terminal,
) -> Result<Samples> {
    let one = |rows: Range<u64>| {
        let x = no_grad(|| generator.draw(seed, rows.clone(), spec.temperature));
        if x.isfinite().all().int64_value(&[]) == 0 {
            let help = "train longer or with a lower train.lr, or lower draw.temperature".into();
            return Err(Error::Solver { message: "a sample is not finite".into(), help });
        }
        let n = (rows.end - rows.start) as usize;
        let statistics = Statistics { evaluations: vec![generator.evaluations(); n], accepted: vec![0; n], rejected: vec![0; n] };
        Ok(Drawn { x: f32s(&x), statistics, states: Vec::new(), times: Vec::new() })
    };
    all([spec.count, spec.batch], 0, &sizes(shape), journal, terminal, |rows, _| one(rows))
}
