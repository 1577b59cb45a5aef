//! What a result adds to the curves.

use std::borrow::Cow;

use image::RgbImage;
use tensorboard_proto::event::Event;

use super::{Log, events, json_line, values, wall_time};
use crate::error::Result;
use crate::plot::Bins;
use crate::run::Product;

/// What is known at a step, or of a result at the step of its weights.
#[derive(Default)]
pub struct Points {
    /// `train`, `samples`, `likelihood`, …: one tag at least is this or `group/…`. All points of a step go with it where the phase begins anew.
    pub group: &'static str,
    pub step: u64,
    pub scalars: Vec<(Tag, f64)>,
    pub histograms: Vec<(Tag, Bins)>,
    pub pictures: Vec<(Tag, RgbImage)>,
}

/// The name of a curve; TensorBoard makes a section of all that have the same word before the first slash.
pub type Tag = Cow<'static, str>;

/// Where the points of a result go.
pub enum Curves<'a, 'r> {
    /// To the curves of the run, by the process that holds its lock.
    OfRun(&'a mut Log<'r>),
    /// To files of the result's own, beside whoever works in the run.
    OfResult,
}

impl Points {
    pub(super) fn event(&self) -> Event {
        let mut of_step = values::scalars(&self.scalars);
        of_step.extend(self.histograms.iter().flat_map(|(tag, bins)| values::histogram(tag, bins)));
        of_step.extend(self.pictures.iter().map(|(tag, picture)| values::image(tag, picture)));
        events::summary(self.step, of_step)
    }
}

impl Curves<'_, '_> {
    /// Adds the points of a product called `name`. A result's own are `curves/<group>/<name>/metrics.jsonl`, where there are numbers, and an
    /// event file beside it, with the tags that the run's have: TensorBoard takes the folder for a run, and shows both in one chart.
    pub fn add(self, points: &Points, product: &mut Product, name: &str) -> Result<()> {
        let log = match self {
            Curves::OfRun(log) => return log.show(points),
            Curves::OfResult => format!("curves/{}/{name}", points.group),
        };
        if !points.scalars.is_empty() {
            product.write(&format!("{log}/metrics.jsonl"), json_line(points.step, wall_time(), &points.scalars).as_bytes())?;
        }
        let records = [events::version(), points.event()].iter().flat_map(events::record).collect::<Vec<u8>>();
        product.write(&format!("{log}/events.out.tfevents"), &records)
    }
}
