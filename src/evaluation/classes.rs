//! Examples of each class compared.

use std::collections::BTreeSet;

use serde::Serialize;
use tch::Device;

use super::compare::{Measure, Settings, compare};
use super::table::FeatureTable;
use crate::error::{Error, Result};
use crate::progress::Terminal;

/// The examples of a class.
#[derive(Serialize)]
pub struct OfClass {
    pub class: i64,
    /// How many of A and of B there are.
    pub counts: [usize; 2],
    /// Of these; none where they are too few for intervals.
    pub measures: Vec<Measure>,
}

/// Examples of a class that have intervals.
const FEWEST: usize = 20;

/// Every class that A or B has, in increasing order. Error: one of them has none.
pub(super) fn of_classes(a: &FeatureTable, b: &FeatureTable, settings: Settings, device: Device) -> Result<Vec<OfClass>> {
    if let Some(table) = [a, b].into_iter().find(|table| table.classes.is_none()) {
        return Err(Error::Usage {
            message: format!("the examples of {} have no classes", table.about.name),
            help: "compare samples that were given classes with a split whose data have labels, or leave classes out".into(),
        });
    }
    let classes: BTreeSet<i64> = [a, b].iter().flat_map(|table| table.classes.iter().flatten()).copied().collect();
    let of = |class| {
        let [x, y] = [a, b].map(|table| table.of_class(class));
        let counts = [&x, &y].map(|table| table.as_ref().map_or(0, |table| table.about.count));
        let both = x.zip(y).filter(|_| counts.iter().all(|count| *count >= FEWEST));
        // Their neighbours are as many as there are, where the classes are small.
        let neighbours = settings.neighbours.min(counts[0].min(counts[1]) as i64 / 2);
        let settings = Settings { neighbours, ..settings };
        let measures = both.map(|(x, y)| compare(&x, &y, settings, device, &Terminal::new(true))).transpose()?.unwrap_or_default();
        Ok(OfClass { class, counts, measures })
    };
    classes.into_iter().map(of).collect()
}
