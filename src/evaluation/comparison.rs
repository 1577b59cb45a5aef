//! A comparison: sets -> features -> measures -> report.

use tch::Device;

use super::against::Against;
use super::classes::of_classes;
use super::compare::{Measure, Settings, compare, compare_with_moments};
use super::extractor::{Extractor, Reading};
use super::memorisation::Memorisation;
use super::protocol::Protocol;
use super::report::Report;
use super::set::Set;
use super::table::FeatureTable;
use crate::error::Result;
use crate::progress::Terminal;

/// How sets are compared, and on what.
pub struct Comparison<'a> {
    pub settings: Settings,
    pub extractor: &'a Extractor,
    /// Examples that are read, and handed to what makes features, at once.
    pub batch: usize,
    /// Whether examples of each class are compared as well.
    pub classes: bool,
    /// Whose numbers are given beside these.
    pub protocol: Option<Protocol>,
    pub device: Device,
    pub terminal: &'a Terminal,
}

impl Comparison<'_> {
    /// The features of a set; of `count` of its examples, drawn by the seed, or of all.
    pub fn features(&self, set: Set, count: Option<usize>) -> Result<FeatureTable> {
        let how = Reading { batch: self.batch, seed: self.settings.seed, classes: self.classes };
        self.extractor.features(set, count, &how, self.terminal)
    }

    /// A and B, whether A is better than C, and whether A holds copies of training examples.
    ///
    /// Error: their features are not of one kind, or say nothing.
    pub fn report(&self, a: &FeatureTable, b: &Against, c: Option<&FeatureTable>, train: Option<&FeatureTable>) -> Result<Report> {
        let Comparison { settings, device, .. } = *self;
        let mut report = Report::new(settings, a.about.clone(), self.measures(a, b)?);
        let examples = match b {
            Against::Examples(b) => Some(&**b),
            Against::Moments(_) => None,
        };
        match b {
            Against::Examples(b) => report.b = Some(b.about.clone()),
            Against::Moments(b) => report.moments = Some(b.about.clone()),
        }
        if let Some(c) = c {
            report = report.beside(c.about.clone(), self.measures(c, b)?);
        }
        if let (true, Some(b)) = (self.classes, examples) {
            report.classes = of_classes(a, b, settings, device)?;
        }
        report.followed = self.protocol.map(|protocol| protocol.follow(a, b, &report.measures, settings, device)).transpose()?;
        if let Some(train) = train {
            report.memorisation = Some(Memorisation::of(a, examples, train, settings.seed, device)?);
        }
        Ok(report)
    }

    fn measures(&self, a: &FeatureTable, b: &Against) -> Result<Vec<Measure>> {
        let Comparison { settings, device, terminal, .. } = *self;
        match b {
            Against::Examples(b) => compare(a, b, settings, device, terminal),
            Against::Moments(b) => compare_with_moments(a, b, settings, device),
        }
    }
}
