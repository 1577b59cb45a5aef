//! What is measured of two sets of features.

use serde::Serialize;
use tch::{Kind, Tensor};

use super::table::FeatureTable;
use crate::data::examples_at;
use crate::error::{Error, Result};
use crate::metric::{Energy, Estimate, classifier_accuracy};
use crate::rng::{self, Purpose};
use crate::tensor::{select, to_vec};

/// Examples that a set needs: the intervals leave out one after the other of ten groups of two.
const FEWEST: usize = 20;

/// A number and what it would be.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Measure {
    /// The metric's name.
    pub metric: &'static str,
    /// With its 95 % interval.
    #[serde(flatten)]
    pub estimate: Estimate,
    /// In the mean where both sets are drawn from one law.
    pub equal_laws: f64,
}

/// Measures how the laws differ that two sets are drawn from. The order of the examples, which intervals depend on, is drawn by `seed`.
///
/// Error: their features are not of one kind, or a set has too few examples.
pub fn compare(a: &FeatureTable, b: &FeatureTable, seed: u64) -> Result<Vec<Measure>> {
    check(a, b)?;
    let seed = rng::derive(seed, Purpose::Evaluation, 1);
    let [x, y] = [a, b].map(|table| in_order(&table.x, seed));
    let energy = Energy::new(&y).distance(&x);
    let accuracy = told_apart(&x, &y, seed);
    Ok(vec![
        Measure { metric: "energy distance", estimate: energy, equal_laws: 0.0 },
        Measure { metric: "C2ST accuracy", estimate: accuracy, equal_laws: 0.5 },
    ])
}

fn check(a: &FeatureTable, b: &FeatureTable) -> Result<()> {
    let (of_a, of_b) = (&a.about.features, &b.about.features);
    if of_a.sha256 != of_b.sha256 {
        let message = format!("the features of {} are of {of_a}, those of {} of {of_b}", a.about.name, b.about.name);
        return Err(Error::Usage {
            message,
            help: "compare features of one kind: give --features FILE with the module of the kept ones".into(),
        });
    }
    if of_a.dimension != of_b.dimension || (of_a.sha256.is_none() && a.about.shape != b.about.shape) {
        let message = format!("{} has examples of shape {:?}, {} of {:?}", a.about.name, a.about.shape, b.about.name, b.about.shape);
        let help = "bring them to one shape: images by [data.images] of an experiment, whose split FILE.toml:train or FILE.toml:test is";
        return Err(Error::Usage { message, help: help.into() });
    }
    [a, b].into_iter().try_for_each(check_table)
}

fn check_table(FeatureTable { x, about }: &FeatureTable) -> Result<()> {
    let wrong = |message: String, help: String| Err(Error::Usage { message: format!("{}: {message}", about.name), help });
    if about.count < FEWEST {
        let message = format!("there are {} examples", about.count);
        return wrong(message, format!("give {FEWEST} or more: intervals come from ten groups of them"));
    }
    let finite = x.isfinite().all_dim(1, false).to_kind(Kind::Float);
    if let Some(i) = to_vec(&finite).iter().position(|&finite| finite == 0.0) {
        return wrong(format!("example {i} has a feature that is not a finite number"), "look at what made this example".into());
    }
    if x.eq_tensor(&x.narrow(0, 0, 1)).all().int64_value(&[]) == 1 {
        return wrong("all examples have the same features".into(), "features that tell examples apart are needed".into());
    }
    Ok(())
}

fn in_order(x: &Tensor, seed: u64) -> Tensor {
    let n = x.size()[0] as usize;
    select(x, &examples_at(seed, n, 0..n as u64))
}

/// The classifier two-sample test of as many examples of each.
fn told_apart(x: &Tensor, y: &Tensor, seed: u64) -> Estimate {
    let n = x.size()[0].min(y.size()[0]);
    let [x, y] = [x, y].map(|x| x.narrow(0, 0, n).unsqueeze(1));
    classifier_accuracy(&x, &y, &Tensor::zeros([n, 0], (x.kind(), x.device())), seed)
}
