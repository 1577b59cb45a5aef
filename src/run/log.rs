//! Learning curves, twice: `metrics.jsonl`, which anything can read, and TensorBoard event files.
//!
//! Each session writes an event file of its own (a torn record would hide all that is appended after it). A phase that is done again from
//! some step on writes a `SessionLog` START with this step, from which on readers drop all they know, and after it, once more, what the
//! other phases logged from there on: so every phase has one curve, however often the run was resumed.
//!
//! Logging never stops a run. When a record can't be written (the disk is full), the file is cut back to its last whole record, one
//! warning goes to stderr, and the next record is tried again: the curve gets a gap. A file that can't be cut back is given up.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use image::RgbImage;
use protobuf::{Message, RepeatedField};
use serde_json::{Map, Value};
use tensorboard_proto::event::Event;
use tensorboard_proto::summary::{Summary, Summary_Image, Summary_Value, SummaryMetadata, SummaryMetadata_PluginData};
use tensorboard_proto::tensor::TensorProto;
use tensorboard_proto::tensor_shape::{TensorShapeProto, TensorShapeProto_Dim};
use tensorboard_proto::types::DataType;
use tensorboard_rs::record_writer::RecordWriter;
use tensorboard_rs::summary;

pub(super) mod events;

use super::{Folder, Run};
use crate::error::{Error, Result};
use crate::plot;
use crate::plot::Bins;
use crate::progress::warn;

pub(super) const METRICS: &str = "metrics.jsonl";
const EVENTS: &str = "events.out.tfevents.";

/// The curves of one session. Nothing is written before a phase begins to log.
pub struct Log<'a> {
    run: &'a Run,
    /// The experiment, in Markdown; the first text of a run.
    experiment: String,
    metrics: Option<Records>,
    events: Option<Records>,
}

impl Log<'_> {
    pub fn new(run: &Run, experiment: String) -> Log<'_> {
        Log { run, experiment, metrics: None, events: None }
    }

    /// A phase logs tags `group` and `group/…` from `first_step` on. What earlier sessions logged of these from there is dropped, and nothing
    /// else is.
    pub fn begin(&mut self, group: &str, first_step: u64) {
        let warned = |e: Error| warn(&format!("{e}; the run goes on without this log"));
        self.metrics = open_metrics(self.run, group, first_step).map_err(warned).ok();
        let (kept, stale) = match events::from_step(self.run, first_step) {
            Ok(events) => events.into_iter().partition::<Vec<Event>, _>(|event| !events::is_of(event, group)),
            Err(e) => return warned(e),
        };
        if self.events.is_none() {
            self.open_events().map_err(warned).unwrap_or_default();
        }
        if !stale.is_empty() {
            // Readers drop all that they know from this step on.
            self.event(events::start(first_step));
            kept.into_iter().for_each(|event| self.event(event));
        }
        // Without its beginning a session would not replace what an earlier one wrote.
        self.events.take_if(|events| events.warned);
    }

    /// A new event file. Readers take event files in the order of their names, which begin with the time in seconds; a session within the
    /// same second as the last one, or after the clock was set back, takes the next free second.
    fn open_events(&mut self) -> Result<()> {
        let names = events::files(self.run)?;
        let second = |name: &String| name.strip_prefix(EVENTS)?.get(..10)?.parse::<u64>().ok();
        let last = names.iter().filter_map(second).max();
        let second = last.map_or(0, |last| last + 1).max(wall_time() as u64);
        self.events = Some(Records::open(self.run.folder(), &format!("{EVENTS}{second:010}.{}", std::process::id()))?);
        self.event(events::version());
        if last.is_none() {
            let text = std::mem::take(&mut self.experiment);
            self.text("experiment", 0, &text);
        }
        Ok(())
    }

    /// Numbers of one step. Tags are `group/name`; TensorBoard makes a section of each group and keeps f32 precision. In
    /// `metrics.jsonl`, numbers that are not finite are the strings `"nan"`, `"inf"` and `"-inf"`, since JSON has none.
    pub fn scalars(&mut self, step: u64, values: &[(&str, f64)]) {
        if let Some(metrics) = &mut self.metrics {
            metrics.append(json_line(step, wall_time(), values).as_bytes());
        }
        let values = values.iter().flat_map(|(tag, value)| summary::scalar(tag, *value as f32).take_value().into_iter());
        self.summary(step, values.collect());
    }

    /// A text of one step, in Markdown; TensorBoard only.
    pub fn text(&mut self, tag: &str, step: u64, markdown: &str) {
        let mut dim = TensorShapeProto_Dim::new();
        dim.set_size(1);
        let mut shape = TensorShapeProto::new();
        shape.set_dim(RepeatedField::from_vec(vec![dim]));
        let mut tensor = TensorProto::new();
        tensor.set_dtype(DataType::DT_STRING);
        tensor.set_tensor_shape(shape);
        tensor.set_string_val(RepeatedField::from_vec(vec![markdown.as_bytes().to_vec()]));

        let mut plugin = SummaryMetadata_PluginData::new();
        plugin.set_plugin_name("text".to_owned());
        let mut metadata = SummaryMetadata::new();
        metadata.set_plugin_data(plugin);
        let mut value = Summary_Value::new();
        value.set_tag(tag.to_owned());
        value.set_metadata(metadata);
        value.set_tensor(tensor);
        self.summary(step, vec![value]);
    }

    /// A picture of one step; TensorBoard only.
    pub fn image(&mut self, tag: &str, step: u64, picture: &RgbImage) {
        let mut image = Summary_Image::new();
        image.set_height(picture.height() as i32);
        image.set_width(picture.width() as i32);
        image.set_colorspace(3);
        image.set_encoded_image_string(plot::png(picture));
        let mut value = Summary_Value::new();
        value.set_tag(tag.to_owned());
        value.set_image(image);
        self.summary(step, vec![value]);
    }

    /// How some numbers are spread; TensorBoard only.
    pub fn histogram(&mut self, tag: &str, step: u64, bins: &Bins) {
        let Bins { low, values, counts, .. } = bins;
        let (sum, squares) = values.iter().fold((0.0, 0.0), |(sum, squares), value| (sum + value, squares + value * value));
        let limits: Vec<f64> = (1..=counts.len()).map(|i| bins.limit(i)).collect();
        let counts: Vec<f64> = counts.iter().map(|&count| count as f64).collect();
        let high = bins.limit(counts.len());
        let summary = summary::histogram_raw(tag, *low, high, values.len() as f64, sum, squares, &limits, &counts).take_value();
        self.summary(step, summary.into_iter().collect());
    }

    fn summary(&mut self, step: u64, values: Vec<Summary_Value>) {
        let mut summary = Summary::new();
        summary.set_value(RepeatedField::from_vec(values));
        let mut event = Event::new();
        event.set_summary(summary);
        event.set_step(step as i64);
        event.set_wall_time(wall_time());
        self.event(event);
    }

    fn event(&mut self, event: Event) {
        let Some(events) = &mut self.events else { return };
        let message = event.write_to_bytes().expect("a message without required fields");
        let mut record = Vec::with_capacity(message.len() + 16);
        RecordWriter::new(&mut record).write(&message).expect("memory takes everything");
        events.append(&record);
    }
}

/// A file that grows by whole records, each in one write.
struct Records {
    path: PathBuf,
    file: File,
    /// Bytes of whole records.
    length: u64,
    warned: bool,
    given_up: bool,
}

impl Records {
    fn open(folder: &Folder, name: &str) -> Result<Records> {
        let (path, mut file) = (folder.at(name), folder.grow(name)?);
        file.seek(SeekFrom::End(0)).map_err(|e| Error::io("open", &path, e))?;
        let length = file.metadata().map_err(|e| Error::io("open", &path, e))?.len();
        Ok(Records { path, file, length, warned: false, given_up: false })
    }

    fn append(&mut self, record: &[u8]) {
        if self.given_up {
            return;
        }
        let Err(e) = self.file.write_all(record) else {
            self.length += record.len() as u64;
            return;
        };
        self.given_up = self.file.set_len(self.length).and_then(|()| self.file.seek(SeekFrom::Start(self.length))).is_err();
        if !self.warned {
            let rest = if self.given_up { "the run goes on without this log" } else { "the run goes on, this log has a gap" };
            warn(&format!("cannot write {}: {e}; {rest}", self.path.display()));
            self.warned = true;
        }
    }
}

/// Opens `metrics.jsonl` without the numbers of a group that are going to be logged again, and without a torn last line.
fn open_metrics(run: &Run, group: &str, first_step: u64) -> Result<Records> {
    let old = run.read(METRICS)?.unwrap_or_default();
    let stays = |line: &&[u8]| {
        let fields = serde_json::from_slice::<Map<String, Value>>(line).ok();
        let step = fields.as_ref().and_then(|fields| fields.get("step")?.as_u64());
        let of_group = fields.iter().flat_map(Map::keys).any(|tag| events::is_in(tag, group));
        line.ends_with(b"\n") && step.is_some_and(|step| step < first_step || !of_group)
    };
    let kept = old.split_inclusive(|byte| *byte == b'\n').filter(stays).collect::<Vec<_>>().concat();
    if kept != old {
        run.write(METRICS, &kept)?;
    }
    Records::open(run.folder(), METRICS)
}

/// Seconds since 1970.
fn wall_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// One line of `metrics.jsonl`, its keys in the order given.
fn json_line(step: u64, wall_time: f64, values: &[(&str, f64)]) -> String {
    let mut line = format!("{{\"step\":{step},\"wall_time\":{wall_time:.3}");
    for (tag, value) in values {
        let number = match *value {
            x if x.is_finite() => Value::from(x),
            x if x.is_nan() => Value::from("nan"),
            x => Value::from(if x > 0.0 { "inf" } else { "-inf" }),
        };
        line += &format!(",{}:{number}", Value::from(*tag));
    }
    line + "}\n"
}

#[cfg(test)]
mod tests;
