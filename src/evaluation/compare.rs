//! What is measured of two sets of features.

use serde::Serialize;
use tch::Device;

use super::moments::KeptMoments;
use super::table::FeatureTable;
use crate::error::{Error, Result};
use crate::metric::{
    Estimate, Features, Frechet, Kernels, Support, expected_coverage, median_distance, sliced_wasserstein, told_apart, vendi,
};
use crate::progress::{Terminal, warn};
use crate::rng::{self, Purpose};

/// A number of a metric.
#[derive(Clone, Debug, Serialize)]
pub struct Measure {
    /// What the metric is called in JSON and curves, such as `energy_distance`.
    pub metric: &'static str,
    /// What people call it.
    #[serde(skip)]
    pub name: &'static str,
    /// With its 95 % interval.
    #[serde(flatten)]
    pub estimate: Estimate,
    /// In the mean where both sets are drawn from one law, if that is a number whatever the law.
    pub equal_laws: Option<f64>,
    /// What a set that is nearer to the other has, where that can be told.
    pub better: Option<Better>,
}

/// Which of two numbers is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    Smaller,
    Larger,
}

/// Directions of the sliced Wasserstein distance.
const DIRECTIONS: u64 = 256;

/// How sets are compared.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Settings {
    /// What everything random is a function of.
    pub seed: u64,
    /// Which neighbour the balls of precision, recall, density and coverage reach to.
    pub neighbours: i64,
}

fn distance([metric, name]: [&'static str; 2], estimate: Estimate) -> Measure {
    Measure { metric, name, estimate, equal_laws: Some(0.0), better: Some(Better::Smaller) }
}

/// Measures how far the law that `a` is drawn from is from that of `b`, on a device.
///
/// Error: their features are not of one kind, or say nothing: too few, not finite, or all alike.
pub fn compare(a: &FeatureTable, b: &FeatureTable, settings: Settings, device: Device, terminal: &Terminal) -> Result<Vec<Measure>> {
    let Settings { seed, neighbours } = settings;
    check(a, b)?;
    let [x, y] = [a.features(seed, device)?, b.features(seed, device)?];
    [&x, &y].into_iter().filter_map(Frechet::warning).for_each(|warning| warn(&warning));
    let frechet = || Ok(frechets(Frechet::new(&x, &y)?));
    let kernels = || {
        let Kernels { kid, mmd, energy } = Kernels::new(&x, &y, median_distance(&x, &y)?)?;
        let energy = distance(["energy_distance", "energy distance"], energy);
        Ok(vec![distance(["kid", "KID"], kid), distance(["squared_mmd", "MMD²"], mmd), energy])
    };
    let sliced =
        || Ok(vec![distance(["squared_sliced_wasserstein", "sliced Wasserstein²"], sliced_wasserstein(&x, &y, DIRECTIONS, seed)?)]);
    let classifier = || {
        let accuracy = told_apart(&x, &y, rng::derive(seed, Purpose::Evaluation, 1))?;
        Ok(vec![Measure { equal_laws: Some(0.5), ..distance(["c2st_accuracy", "C2ST accuracy"], accuracy) }])
    };
    let support = || supports(&x, &y, neighbours);
    let diversity = || Ok(diversities(&x, &y));
    let parts: [&dyn Fn() -> Result<Vec<Measure>>; 6] = [&frechet, &kernels, &sliced, &classifier, &support, &diversity];
    let mut phase = terminal.phase("compare", "metrics", parts.len() as u64, 0);
    let mut measures = Vec::new();
    for (i, part) in parts.into_iter().enumerate() {
        measures.extend(part()?);
        phase.set(i as u64 + 1, "");
    }
    phase.finish("");
    Ok(measures)
}

/// Measures how far the law that `a` is drawn from is from one of which there are moments alone, as they are.
///
/// Error: its features say nothing, or the moments are of features in another number.
pub fn compare_with_moments(a: &FeatureTable, b: &KeptMoments, settings: Settings, device: Device) -> Result<Vec<Measure>> {
    let x = a.features(settings.seed, device)?;
    Frechet::warning(&x).iter().for_each(|warning| warn(warning));
    Ok(frechets(Frechet::to(&x, &b.moments)?))
}

fn frechets(Frechet { plain, extrapolated }: Frechet) -> Vec<Measure> {
    let plain = Measure { equal_laws: None, ..distance(["frechet_distance", "Fréchet distance"], plain) };
    vec![plain, distance(["frechet_distance_extrapolated", "Fréchet distance, N → ∞"], extrapolated)]
}

fn supports(x: &Features, y: &Features, k: i64) -> Result<Vec<Measure>> {
    let Support { precision, recall, density, coverage } = Support::new(x, y, k)?;
    let share = |metric, estimate| Measure { metric, name: metric, estimate, equal_laws: None, better: Some(Better::Larger) };
    Ok(vec![
        share("precision", precision),
        share("recall", recall),
        // That of samples from the densest place alone is above 1.
        Measure { equal_laws: Some(1.0), better: None, ..share("density", density) },
        Measure { equal_laws: Some(expected_coverage(x.count(), y.count(), k)), ..share("coverage", coverage) },
    ])
}

/// Of each set; of one with an example that is all 0, which has no direction, there is none.
fn diversities(x: &Features, y: &Features) -> Vec<Measure> {
    let score = |[metric, name]: [&'static str; 2], set| {
        vendi(set).ok().map(|estimate| Measure { metric, name, estimate, equal_laws: None, better: None })
    };
    let both = [score(["vendi_score", "Vendi score"], x), score(["vendi_score_of_b", "Vendi score of B"], y)];
    both.into_iter().flatten().collect()
}

pub(super) fn check(a: &FeatureTable, b: &FeatureTable) -> Result<()> {
    let (of_a, of_b) = (&a.about.features, &b.about.features);
    if !of_a.source.is(&of_b.source) {
        let message = format!("the features of {} are of {of_a}, those of {} of {of_b}", a.about.name, b.about.name);
        let help = "compare features of one kind: give --features FILE with the module of the kept ones";
        return Err(Error::Usage { message, help: help.into() });
    }
    if of_a.dimension != of_b.dimension || (of_a.source.sha256.is_none() && a.about.shape != b.about.shape) {
        let message = format!("{} has examples of shape {:?}, {} of {:?}", a.about.name, a.about.shape, b.about.name, b.about.shape);
        let help = "bring them to one shape; for images in files, [data.images] of an experiment, whose splits are FILE.toml:train and \
                    FILE.toml:test, has size, fit and channels";
        return Err(Error::Usage { message, help: help.into() });
    }
    Ok(())
}
