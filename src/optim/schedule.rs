//! Learning rates along training, as factors of `train.lr`.

use std::f64::consts::PI;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Fault;

/// `train.schedule`: what the learning rate is multiplied by, beside the warm-up, after so many steps, or images of all batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Schedule {
    /// 1.
    #[default]
    Constant,
    /// √(after / n) beyond `after`, as Karras et al. 2024 (arXiv 2312.02696, sec. B.1) have it.
    InverseSquareRoot {
        /// Above 0.
        after: u64,
        #[serde(default)]
        unit: Unit,
    },
    /// From 1 to `floor` along half a wave of a cosine, at `until` and beyond (Loshchilov & Hutter 2017, arXiv 1608.03983, without restarts).
    Cosine {
        /// Above 0.
        until: u64,
        /// In [0, 1).
        floor: f64,
        #[serde(default)]
        unit: Unit,
    },
    /// From 1 to `floor` along a line, at `until` and beyond.
    Linear {
        /// Above 0.
        until: u64,
        /// In [0, 1).
        floor: f64,
        #[serde(default)]
        unit: Unit,
    },
}

/// What training is measured by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    #[default]
    Steps,
    Images,
}

impl Unit {
    /// So many steps of a batch.
    fn of(self, steps: u64, batch: usize) -> f64 {
        match self {
            Unit::Steps => steps as f64,
            Unit::Images => steps as f64 * batch as f64,
        }
    }
}

impl Schedule {
    pub fn is_constant(&self) -> bool {
        *self == Schedule::Constant
    }

    /// The factor of the step that follows so many.
    pub fn factor(&self, steps: u64, batch: usize) -> f64 {
        let share = |until: u64, unit: Unit| (unit.of(steps, batch) / until as f64).min(1.0);
        match *self {
            Schedule::Constant => 1.0,
            Schedule::InverseSquareRoot { after, unit } => (after as f64 / unit.of(steps, batch).max(after as f64)).sqrt(),
            Schedule::Cosine { until, floor, unit } => floor + (1.0 - floor) * 0.5 * (1.0 + (PI * share(until, unit)).cos()),
            Schedule::Linear { until, floor, unit } => floor + (1.0 - floor) * (1.0 - share(until, unit)),
        }
    }

    /// A fault's key is relative to `schedule`.
    pub fn check(&self) -> Result<(), Fault> {
        let (table, key, count, floor) = match *self {
            Schedule::Constant => return Ok(()),
            Schedule::InverseSquareRoot { after, .. } => ("inverse-square-root", "after", after, 0.0),
            Schedule::Cosine { until, floor, .. } => ("cosine", "until", until, floor),
            Schedule::Linear { until, floor, .. } => ("linear", "until", until, floor),
        };
        let checked = match count {
            0 => Err(Fault::new(key, format!("{key} is 0"), "give the steps, or the images, of all batches up to there")),
            _ if !(0.0..1.0).contains(&floor) => Err(Fault::new("floor", format!("floor is {floor}"), "give 0, or a number below 1")),
            _ => Ok(()),
        };
        checked.map_err(|fault| fault.within(table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_follow_their_formulas() {
        let images = Unit::Images;
        let at = |schedule: Schedule, steps: [u64; 4]| steps.map(|n| (schedule.factor(n, 10) * 1e6).round() / 1e6);
        assert_eq!(at(Schedule::Constant, [0, 1, 10, 1000]), [1.0; 4]);
        let root = Schedule::InverseSquareRoot { after: 100, unit: Unit::Steps };
        assert_eq!(at(root, [0, 100, 400, 10_000]), [1.0, 1.0, 0.5, 0.1]);
        assert_eq!(at(Schedule::InverseSquareRoot { after: 1000, unit: images }, [0, 100, 400, 10_000]), [1.0, 1.0, 0.5, 0.1]);
        assert_eq!(at(Schedule::Cosine { until: 100, floor: 0.2, unit: Unit::Steps }, [0, 50, 100, 200]), [1.0, 0.6, 0.2, 0.2]);
        assert_eq!(at(Schedule::Linear { until: 1000, floor: 0.0, unit: images }, [0, 25, 100, 200]), [1.0, 0.75, 0.0, 0.0]);
    }

    #[test]
    fn what_no_schedule_can_be_is_refused() {
        let key = |schedule: Schedule| schedule.check().unwrap_err().key;
        assert_eq!(key(Schedule::InverseSquareRoot { after: 0, unit: Unit::Steps }), "inverse-square-root.after");
        assert_eq!(key(Schedule::Linear { until: 5, floor: 1.0, unit: Unit::Steps }), "linear.floor");
        assert_eq!(key(Schedule::Cosine { until: 5, floor: f64::NAN, unit: Unit::Images }), "cosine.floor");
        assert!(Schedule::Cosine { until: 5, floor: 0.0, unit: Unit::Images }.check().is_ok() && Schedule::Constant.check().is_ok());
    }
}
