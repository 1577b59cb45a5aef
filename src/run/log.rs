//! Learning curves, twice: `metrics.jsonl`, which anything can read, and TensorBoard event files.
//!
//! Each session writes an event file of its own (a torn record would hide all that is appended after it), which begins with a
//! `SessionLog` START at the first step to come; readers drop what an earlier session wrote from that step on, so a resumed run shows
//! one curve.
//!
//! Logging never stops a run. When a record can't be written (the disk is full), the file is cut back to its last whole record, one
//! warning goes to stderr, and the next record is tried again: the curve gets a gap. A file that can't be cut back is given up.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use image::RgbImage;
use protobuf::{Message, RepeatedField};
use serde_json::{Map, Value};
use tensorboard_proto::event::{Event, SessionLog, SessionLog_SessionStatus};
use tensorboard_proto::summary::{Summary, Summary_Image, Summary_Value, SummaryMetadata, SummaryMetadata_PluginData};
use tensorboard_proto::tensor::TensorProto;
use tensorboard_proto::tensor_shape::{TensorShapeProto, TensorShapeProto_Dim};
use tensorboard_proto::types::DataType;
use tensorboard_rs::record_writer::RecordWriter;
use tensorboard_rs::summary;

use super::Run;
use crate::error::{Error, Result};
use crate::plot;
use crate::plot::Bins;
use crate::progress::warn;

const METRICS: &str = "metrics.jsonl";
const EVENTS: &str = "events.out.tfevents.";

/// The curves of one session.
pub struct Log {
    metrics: Option<Records>,
    events: Option<Records>,
}

impl Log {
    /// Goes on with the curves of `run`; `first_step` is the first step this session will log, and everything logged from there on by
    /// earlier sessions is dropped.
    pub fn open(run: &Run, first_step: u64) -> Log {
        let warned = |e: Error| warn(&format!("{e}; the run goes on without this log"));
        let metrics = open_metrics(run, first_step).map_err(warned).ok();
        let events = open_events(run).map_err(warned).ok();
        let mut log = Log { metrics, events };

        let mut version = Event::new();
        version.set_file_version("brain.Event:2".to_owned());
        log.event(0, version);
        let mut session = SessionLog::new();
        session.set_status(SessionLog_SessionStatus::START);
        let mut start = Event::new();
        start.set_session_log(session);
        log.event(first_step, start);
        // Without its beginning a session would not replace what an earlier one wrote.
        log.events.take_if(|events| events.warned);
        log
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
        self.event(step, event);
    }

    fn event(&mut self, step: u64, mut event: Event) {
        let Some(events) = &mut self.events else { return };
        event.set_step(step as i64);
        event.set_wall_time(wall_time());
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
    fn open(path: PathBuf, options: &mut OpenOptions) -> Result<Records> {
        let file = options.append(true).open(&path).map_err(|e| Error::io("open", &path, e))?;
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
        self.given_up = self.file.set_len(self.length).is_err();
        if !self.warned {
            let rest = if self.given_up { "the run goes on without this log" } else { "the run goes on, this log has a gap" };
            warn(&format!("cannot write {}: {e}; {rest}", self.path.display()));
            self.warned = true;
        }
    }
}

/// Opens `metrics.jsonl` without what is going to be logged again and without a torn last line.
fn open_metrics(run: &Run, first_step: u64) -> Result<Records> {
    let old = run.read(METRICS)?.unwrap_or_default();
    let earlier = |line: &&[u8]| {
        let step = serde_json::from_slice::<Map<String, Value>>(line).ok().and_then(|fields| fields.get("step")?.as_u64());
        line.ends_with(b"\n") && step.is_some_and(|step| step < first_step)
    };
    let kept = old.split_inclusive(|byte| *byte == b'\n').filter(earlier).collect::<Vec<_>>().concat();
    if kept != old {
        run.write(METRICS, &kept)?;
    }
    Records::open(run.path().join(METRICS), OpenOptions::new().create(true))
}

/// A new event file. Readers take event files in the order of their names, which begin with the time in seconds; a session within the
/// same second as the last one, or after the clock was set back, takes the next free second.
fn open_events(run: &Run) -> Result<Records> {
    let entries = fs::read_dir(run.path()).map_err(|e| Error::io("read the folder", run.path(), e))?;
    let second = |path: &Path| path.file_name()?.to_str()?.strip_prefix(EVENTS)?.get(..10)?.parse::<u64>().ok();
    let last = entries.flatten().filter_map(|entry| second(&entry.path())).max();
    let second = last.map_or(0, |last| last + 1).max(wall_time() as u64);
    let name = format!("{EVENTS}{second:010}.{}", std::process::id());
    Records::open(run.path().join(name), OpenOptions::new().create_new(true))
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
