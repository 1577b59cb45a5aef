//! What was compared, how, and what came of it.

use std::fmt;

use image::RgbImage;
use serde::Serialize;

use super::classes::OfClass;
use super::compare::{Measure, Settings};
use super::memorisation::{Memorisation, Pair};
use super::moments::AboutMoments;
use super::protocol::{Followed, Value};
use super::table::About;
use super::verdict::Verdict;
use crate::metric::{Estimate, number};
use crate::progress::wrapped;
use crate::run::log::Points;

/// A comparison with its protocol.
#[derive(Serialize)]
pub struct Report {
    /// Of this program.
    pub version: &'static str,
    #[serde(flatten)]
    pub settings: Settings,
    pub a: About,
    /// What `a` is compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b: Option<About>,
    /// Or, in its place, the moments that `a` is compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moments: Option<AboutMoments>,
    /// Of `a` and `b`.
    pub measures: Vec<Measure>,
    /// Of the examples of each class, where that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<OfClass>,
    /// What `a` should be better than.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub than: Option<Than>,
    /// As another program has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub followed: Option<Followed>,
    /// Of `a`, beside the training set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memorisation: Option<Memorisation>,
}

/// Another set beside the first.
#[derive(Serialize)]
pub struct Than {
    pub c: About,
    /// Of `c` and `b`.
    pub measures: Vec<Measure>,
    pub verdicts: Vec<Verdict>,
}

impl Report {
    /// Of A, with nothing beside it yet.
    pub fn new(settings: Settings, a: About, measures: Vec<Measure>) -> Report {
        Report {
            version: env!("CARGO_PKG_VERSION"),
            settings,
            a,
            b: None,
            moments: None,
            measures,
            classes: Vec::new(),
            than: None,
            followed: None,
            memorisation: None,
        }
    }

    /// What is compared, and by what.
    pub(super) fn sides(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let c = self.than.as_ref().map(|than| &than.c);
        let train = self.memorisation.as_ref().map(|memorisation| &memorisation.train);
        for (side, about) in [("A", Some(&self.a)), ("B", self.b.as_ref()), ("C", c), ("train", train)] {
            let Some(About { name, count, shape, sha256, note, .. }) = about else { continue };
            writeln!(
                f,
                "{side:<10}{name}\n          {count} examples of shape {shape:?}, SHA-256 {}",
                sha256.get(..SHOWN).unwrap_or(sha256)
            )?;
            note.iter().flat_map(|note| note.split("; ")).try_for_each(|note| writeln!(f, "          {note}"))?;
        }
        if let Some(AboutMoments { name, dimension, sha256 }) = &self.moments {
            let sha256 = sha256.get(..SHOWN).unwrap_or(sha256);
            writeln!(f, "{:<10}{name}\n          mean and covariance of {dimension} features of its own, SHA-256 {sha256}", "B")?;
        }
        writeln!(f, "features  {}\nseed      {}", self.a.features, self.settings.seed)
    }

    /// What it adds to the curves of a run: each number, half of its interval, and samples beside their nearest training examples.
    pub fn points(&self, group: &'static str, step: u64) -> Points {
        let both = |(metric, estimate): (&str, Estimate)| {
            let tag = format!("{group}/{metric}");
            [(format!("{tag}/half_width").into(), estimate.half_width), (tag.into(), estimate.value)]
        };
        let scalars = self.scalars().into_iter().flat_map(both).collect();
        let pictures = self.picture().map(|picture| (group.into(), picture.clone())).into_iter().collect();
        Points { group, step, scalars, pictures, ..Points::default() }
    }

    /// Samples beside their nearest training examples, if these were looked for and are images.
    pub fn picture(&self) -> Option<&RgbImage> {
        self.memorisation.as_ref()?.picture.as_ref()
    }

    /// Every number by its name.
    pub fn scalars(&self) -> Vec<(&'static str, Estimate)> {
        let measures = self.measures.iter().map(|measure| (measure.metric, measure.estimate));
        let memorised = self.memorisation.iter().flat_map(|memorisation| {
            let Memorisation { authenticity, authenticity_of_b, copies, .. } = memorisation;
            let copies = Estimate::new(*copies as f64, 0.0);
            [("authenticity", Some(*authenticity)), ("authenticity_of_b", *authenticity_of_b), ("copies", Some(copies))]
        });
        measures.chain(memorised.filter_map(|(name, estimate)| Some((name, estimate?)))).collect()
    }

    /// Of another set beside the first: `measures` of it and `b`, of the same metrics.
    pub fn beside(self, c: About, measures: Vec<Measure>) -> Report {
        let verdicts = self.measures.iter().zip(&measures).filter_map(|(a, c)| Verdict::of(a, c)).collect();
        Report { than: Some(Than { c, measures, verdicts }), ..self }
    }
}

/// Digits of a hash that a table shows.
const SHOWN: usize = 12;

/// A table of 80 columns, but for names that are longer.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.sides(f)?;
        lines(f, if self.than.is_some() { "A and B" } else { "" }, &self.measures)?;
        by_class(f, &self.classes)?;
        if let Some(Than { measures, verdicts, .. }) = &self.than {
            lines(f, "C and B", measures)?;
            writeln!(f)?;
            verdicts.iter().try_for_each(|verdict| writeln!(f, "{:<26}{}", verdict.name, verdict.sentence()))?;
        }
        self.followed.as_ref().map_or(Ok(()), |followed| protocol(f, followed))?;
        self.memorisation.as_ref().map_or(Ok(()), |memorisation| copies(f, memorisation))
    }
}

/// What a table shows of each class.
const OF_CLASS: [&str; 3] = ["energy_distance", "recall", "coverage"];

fn by_class(f: &mut fmt::Formatter, classes: &[OfClass]) -> fmt::Result {
    if classes.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n{:<8}{:>8}{:>8}{:>20}{:>18}{:>18}", "class", "of A", "of B", "energy distance", "recall", "coverage")?;
    classes.iter().try_for_each(|OfClass { class, counts: [a, b], measures }| {
        write!(f, "{class:<8}{a:>8}{b:>8}")?;
        for (metric, width) in OF_CLASS.into_iter().zip([20, 18, 18]) {
            let measure = measures.iter().find(|measure| measure.metric == metric);
            let shown = measure.map(|Measure { estimate, .. }| format!("{:.3} ± {:.3}", estimate.value, estimate.half_width));
            write!(f, "{:>width$}", shown.unwrap_or("-".into()))?;
        }
        writeln!(f)
    })
}

fn protocol(f: &mut fmt::Formatter, Followed { protocol, values, missing }: &Followed) -> fmt::Result {
    writeln!(f, "\n{:<26}{:>16}{:>18}", format!("as {} has it", protocol.name()), "value", "deviation")?;
    for Value { metric, value, deviation } in values {
        writeln!(f, "{metric:<26}{:>16}{:>18}", number(*value), deviation.map_or("-".into(), number))?;
    }
    missing.iter().try_for_each(|missing| writeln!(f, "{}", wrapped(missing, "missing: ", "         ")))
}

fn copies(f: &mut fmt::Formatter, Memorisation { authenticity, authenticity_of_b, copies, nearest, .. }: &Memorisation) -> fmt::Result {
    writeln!(f, "\n{:<26}{:>16}{:>18}", "beside train", "value", "95 % interval")?;
    let of_both = [("authenticity", Some(authenticity)), ("authenticity of B", authenticity_of_b.as_ref())];
    for (name, estimate) in of_both.into_iter().filter_map(|(name, estimate)| Some((name, estimate?))) {
        writeln!(f, "{name:<26}{:>16}{:>18}", number(estimate.value), format!("± {}", number(estimate.half_width)))?;
    }
    writeln!(f, "{:<26}{copies:>16}", "copies")?;
    let Some(Pair { example, train, distance }) = nearest.first() else { return Ok(()) };
    writeln!(f, "nearest: example {example} of A to example {train} of train, {} apart", number(*distance))
}

fn lines(f: &mut fmt::Formatter, title: &str, measures: &[Measure]) -> fmt::Result {
    if !measures.is_empty() {
        writeln!(f, "\n{title:<26}{:>16}{:>18}{:>20}", "value", "95 % interval", "if laws are equal")?;
    }
    measures.iter().try_for_each(|Measure { name, estimate, equal_laws, .. }| {
        let equal = equal_laws.map_or("-".to_owned(), |value| format!("{value:.3}"));
        writeln!(f, "{name:<26}{:>16}{:>18}{equal:>20}", number(estimate.value), format!("± {}", number(estimate.half_width)))
    })
}
