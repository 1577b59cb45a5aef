//! Learning curves, twice: `metrics.jsonl`, which anything can read, and TensorBoard event files.
//!
//! Each session writes an event file of its own (a torn record would hide all that is appended after it). A phase that is done again from
//! some step on writes a `SessionLog` START with this step, from which on readers drop all they know, and after it, once more, what the
//! other phases logged from there on: so every phase has one curve, however often the run was resumed.
//!
//! A point is on the disk before what is saved after it: [`Log::sync`] comes before every checkpoint and every product. Until then a record
//! that can't be written (the disk is full) waits, with one warning. What was synced is stamped with sizes and checksums, so that a curve
//! that is damaged later is refused by name; what follows a stamp is cut off when the run goes on, for it is logged again.
//!
//! These are the writer's alone. A result that is made beside it has its [`Points`] in files of its own, which belong to it.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use tensorboard_proto::event::Event;

pub mod events;
mod hparams;
mod points;
pub(super) mod stamps;
mod values;

pub use points::{Curves, Points, Tag};
use stamps::Stamps;

use super::product::Stamp;
use super::{Folder, Provenance, Run};
use crate::error::{Error, Result};
use crate::progress::warn;

pub(super) const METRICS: &str = "metrics.jsonl";
const EVENTS: &str = "events.out.tfevents.";
/// The tag of the run's first text.
const EXPERIMENT: &str = "experiment";

/// The curves of one session. Nothing is written before a phase begins to log.
pub struct Log<'a> {
    run: &'a Run,
    /// The experiment, in TOML: the first text of a run, and what TensorBoard compares runs by.
    experiment: String,
    metrics: Option<Records>,
    events: Option<Records>,
    /// Of the files as they were last synced.
    stamps: Stamps,
}

impl Log<'_> {
    /// Error: curves of earlier sessions are damaged.
    pub fn open(run: &Run, experiment: String) -> Result<Log<'_>> {
        Ok(Log { run, experiment, metrics: None, events: None, stamps: Stamps::open(run)? })
    }

    /// A phase logs tags `group` and `group/…` from `first_step` on. What earlier sessions logged of these from there is dropped, and nothing
    /// else is.
    pub fn begin(&mut self, group: &str, first_step: u64) -> Result<()> {
        if self.metrics.is_some() {
            self.sync()?;
        }
        self.metrics = Some(self.open_metrics(group, first_step)?);
        let (kept, stale) =
            events::from_step(self.run, first_step)?.into_iter().partition::<Vec<Event>, _>(|event| !events::is_of(event, group));
        if self.events.is_none() {
            self.open_events()?;
        }
        if !stale.is_empty() {
            // Readers drop all that they know from this step on.
            self.event(events::start(first_step));
            kept.into_iter().for_each(|event| self.event(event));
        }
        Ok(())
    }

    /// Opens `metrics.jsonl` without the numbers of a group that are going to be logged again, and without a torn last line.
    fn open_metrics(&mut self, group: &str, first_step: u64) -> Result<Records> {
        let old = self.run.read(METRICS)?.unwrap_or_default();
        let stays = |line: &&[u8]| {
            let fields = serde_json::from_slice::<Map<String, Value>>(line).ok();
            let step = fields.as_ref().and_then(|fields| fields.get("step")?.as_u64());
            let of_group = fields.iter().flat_map(Map::keys).any(|tag| events::is_in(tag, group));
            line.ends_with(b"\n") && step.is_some_and(|step| step < first_step || !of_group)
        };
        let kept = old.split_inclusive(|byte| *byte == b'\n').filter(stays).collect::<Vec<_>>().concat();
        if kept != old {
            // Whenever this process ends, no stamp is of another file.
            self.stamps.forget(self.run, METRICS)?;
            self.run.write(METRICS, &kept)?;
        }
        Records::open(self.run.folder(), METRICS, &kept)
    }

    /// A new event file. Readers take event files in the order of their names, which begin with the time in seconds; a session within the
    /// same second as the last one, or after the clock was set back, takes the next free second.
    fn open_events(&mut self) -> Result<()> {
        let names = events::files(self.run)?;
        // What this session builds on stays.
        for name in &names {
            let bytes = self.run.read(name)?.unwrap_or_default();
            self.stamps.of.entry(name.clone()).or_insert_with(|| Stamp::of(&bytes[..]).expect("memory can be read"));
        }
        let second = |name: &String| name.strip_prefix(EVENTS)?.get(..10)?.parse::<u64>().ok();
        let last = names.iter().filter_map(second).max();
        let second = last.map_or(0, |last| last + 1).max(wall_time() as u64);
        let begun = events::from_step(self.run, 0)?.iter().any(|event| events::is_of(event, EXPERIMENT));
        let name = format!("{EVENTS}{second:010}.{}", std::process::id());
        self.run.note("begun", json!(Provenance::of_this_process()))?;
        self.events = Some(Records::open(self.run.folder(), &name, b"")?);
        self.event(events::version());
        if !begun {
            let experiment = std::mem::take(&mut self.experiment);
            let keys = toml::from_str(&experiment).unwrap_or_default();
            let text = values::text(EXPERIMENT, &format!("```toml\n{experiment}```"));
            self.event(events::summary(0, vec![text, hparams::session_start(&keys)]));
        }
        Ok(())
    }

    /// Whether a phase has begun to log.
    pub fn has_begun(&self) -> bool {
        self.events.is_some()
    }

    /// Whether anything of a group is logged at a step.
    pub fn shows(&self, group: &str, step: u64) -> Result<bool> {
        Ok(events::from_step(self.run, step)?.iter().any(|event| event.get_step() == step as i64 && events::is_of(event, group)))
    }

    /// Sees to it that all points so far are on the disk.
    ///
    /// Error: they can't be written; what was to be saved after them must not be then.
    pub fn sync(&mut self) -> Result<()> {
        self.run.check()?;
        for records in [&mut self.metrics, &mut self.events].into_iter().flatten() {
            let stamp = records.sync().map_err(|e| Error::io("write", self.run.folder().at(&records.name), e))?;
            self.stamps.of.insert(records.name.clone(), stamp);
        }
        self.stamps.save(self.run)
    }

    /// Numbers of one step. Tags are `group/name`; TensorBoard makes a section of each group and keeps f32 precision. In
    /// `metrics.jsonl`, numbers that are not finite are the strings `"nan"`, `"inf"` and `"-inf"`, since JSON has none.
    pub fn scalars(&mut self, step: u64, values: &[(&str, f64)]) {
        self.line(step, values);
        self.event(events::summary(step, values::scalars(values)));
    }

    /// The points of a step, as one record.
    pub fn add(&mut self, points: &Points) {
        if !points.scalars.is_empty() {
            self.line(points.step, &points.scalars);
        }
        self.event(points.event());
    }

    /// What a phase made, in the place of what it made before from this step on; on the disk afterwards.
    pub fn show(&mut self, points: &Points) -> Result<()> {
        self.begin(points.group, points.step)?;
        self.add(points);
        self.sync()
    }

    /// The steps at which some tags have numbers, and these; NaN for one that has none.
    pub fn curves<const N: usize>(&self, tags: &[String; N]) -> Result<Vec<(u64, [f64; N])>> {
        let mut bytes = self.run.read(METRICS)?.unwrap_or_default();
        bytes.extend(self.metrics.iter().flat_map(|records| &records.waiting));
        let point = |line: &[u8]| {
            let fields = serde_json::from_slice::<Map<String, Value>>(line).ok()?;
            let numbers = tags.each_ref().map(|tag| fields.get(tag).and_then(Value::as_f64).unwrap_or(f64::NAN));
            Some((fields.get("step")?.as_u64()?, numbers))
        };
        let points = bytes.split(|byte| *byte == b'\n').filter_map(point);
        Ok(points.filter(|(_, numbers)| numbers.iter().any(|number| number.is_finite())).collect())
    }

    fn line(&mut self, step: u64, values: &[(impl AsRef<str>, f64)]) {
        if let Some(metrics) = &mut self.metrics {
            metrics.append(self.run, json_line(step, wall_time(), values).as_bytes());
        }
    }

    fn event(&mut self, event: Event) {
        if let Some(events) = &mut self.events {
            events.append(self.run, &events::record(&event));
        }
    }
}

/// A file that grows by whole records.
struct Records {
    name: String,
    file: File,
    /// Bytes of whole records, and their checksum.
    length: u64,
    crc: crc32fast::Hasher,
    /// Records that could not be written yet.
    waiting: Vec<u8>,
    warned: bool,
}

impl Records {
    /// The file `name`, which holds `content`.
    fn open(folder: &Folder, name: &str, content: &[u8]) -> Result<Records> {
        let file = folder.grow(name)?;
        let mut crc = crc32fast::Hasher::new();
        crc.update(content);
        Ok(Records { name: name.to_owned(), file, length: content.len() as u64, crc, waiting: Vec::new(), warned: false })
    }

    fn append(&mut self, run: &Run, record: &[u8]) {
        self.waiting.extend(record);
        // Who lost the folder writes no more; what is saved next says so.
        if run.check().is_ok()
            && let Err(e) = self.settle()
            && !self.warned
        {
            warn(&format!(
                "cannot write {}: {e}; it is tried again, at the latest before anything is saved",
                run.folder().at(&self.name).display()
            ));
            self.warned = true;
        }
    }

    /// Writes what waits. A half-written record is no part of the file: the next one takes its place.
    fn settle(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.length))?;
        if let Err(e) = self.file.write_all(&self.waiting) {
            self.file.set_len(self.length)?;
            return Err(e);
        }
        self.length += self.waiting.len() as u64;
        self.crc.update(&std::mem::take(&mut self.waiting));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<Stamp> {
        self.settle()?;
        self.file.sync_data()?;
        Ok(Stamp::new(self.length, self.crc.clone()))
    }
}

/// Seconds since 1970.
pub(super) fn wall_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// One line of `metrics.jsonl`, its keys in the order given.
fn json_line(step: u64, wall_time: f64, values: &[(impl AsRef<str>, f64)]) -> String {
    let mut line = format!("{{\"step\":{step},\"wall_time\":{wall_time:.3}");
    for (tag, value) in values {
        let number = match *value {
            x if x.is_finite() => Value::from(x),
            x if x.is_nan() => Value::from("nan"),
            x => Value::from(if x > 0.0 { "inf" } else { "-inf" }),
        };
        line += &format!(",{}:{number}", Value::from(tag.as_ref()));
    }
    line + "}\n"
}

#[cfg(test)]
mod tests;
