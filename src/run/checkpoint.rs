//! Checkpoints: named tensors and a few words about them, in safetensors, written whole or not at all and checked when read.
//!
//! The file's own format refuses a truncated file but not a flipped bit, so a CRC-32 of the whole file (its own eight digits taken as
//! zeros) stands in the metadata. Any safetensors reader can open the file.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Run, tensors};
use crate::error::{Error, Result};
use crate::progress::warn;

const FOLDER: &str = "checkpoints";
const STEP: &str = "step";
/// The mark of the run that wrote it.
const RUN: &str = "run";
const CRC: &str = "crc32";
/// The checksum's digits while it is computed.
const BLANK: &str = "00000000";

/// A checkpoint in memory, on the CPU.
#[derive(Debug)]
pub struct Checkpoint {
    pub step: u64,
    path: PathBuf,
    tensors: BTreeMap<String, Tensor>,
    meta: HashMap<String, String>,
}

impl Checkpoint {
    /// The tensor of this name. Error: the checkpoint has none.
    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.tensors.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.names().take(10).collect();
            let message = format!("holds no tensor `{name}` (it holds {} tensors: {} ...)", self.tensors.len(), names.join(", "));
            Error::run(
                &self.path,
                message,
                "it was written by another experiment or version; start the run anew in another folder (--out DIR)",
            )
        })
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A word stored with the tensors.
    pub fn meta(&self, key: &str) -> Option<&str> {
        self.meta.get(key).map(String::as_str)
    }
}

/// The file of a step, relative to the run.
pub fn name(step: u64) -> String {
    format!("{FOLDER}/step-{step:08}.safetensors")
}

/// Renames checkpoints that are newer than the newest whole one, so that their steps are trained again.
///
/// Errors: as [`latest`].
pub fn set_damaged_aside(run: &Run) -> Result<()> {
    let whole = latest(run)?.map(|checkpoint| checkpoint.step);
    for (_, damaged) in list(run)?.into_iter().filter(|(step, _)| Some(*step) > whole) {
        run.folder().rename(&damaged, &damaged.replace(".safetensors", ".damaged"))?;
    }
    Ok(())
}

/// Which checkpoints stay when a new one is saved.
#[derive(Clone, Copy, Debug)]
pub struct Keep<'a> {
    /// So many of the newest.
    pub newest: usize,
    /// Those whose step is a multiple of this one.
    pub every: Option<u64>,
    /// The one with the lowest value of a metric: its name, and its value now where it has one.
    pub best: Option<(&'a str, f64)>,
}

impl From<usize> for Keep<'_> {
    fn from(newest: usize) -> Self {
        Keep { newest, every: None, best: None }
    }
}

/// `checkpoints/best.json`.
#[derive(Serialize, Deserialize)]
struct Best {
    metric: String,
    value: f64,
    step: u64,
}

const BEST: &str = "checkpoints/best.json";

fn best(run: &Run) -> Result<Option<Best>> {
    Ok(run.read(BEST)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// Which checkpoint of a run is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Choice {
    #[default]
    Newest,
    /// By the metric of `train.keep_best`.
    Best,
    Step(u64),
}

/// The checkpoint that is wanted, whole.
///
/// Errors: as [`latest`], if the newest one is wanted and damaged, and if there is no such checkpoint; the message lists those that are there.
pub fn choose(run: &Run, choice: Choice) -> Result<Option<Checkpoint>> {
    let step = match choice {
        Choice::Newest => return newest(run),
        Choice::Step(step) => Some(step),
        Choice::Best => best(run)?.map(|best| best.step),
    };
    let saved = list(run)?;
    let steps = || saved.keys().map(u64::to_string).collect::<Vec<_>>().join(", ");
    let missing = || {
        let wanted = step.map_or("best checkpoint".to_owned(), |step| format!("checkpoint of step {step}"));
        let help = format!("there are those of steps {}; train.keep, keep_every and keep_best say which stay", steps());
        Error::run(run.folder().at(FOLDER), format!("holds no {wanted}"), help)
    };
    let name = step.and_then(|step| saved.get(&step)).ok_or_else(missing)?;
    let path = run.folder().at(name);
    let bytes = run.read(name)?.ok_or_else(missing)?;
    let help = format!("choose another one of steps {}", steps());
    let checkpoint = load(&path, &bytes).map_err(|damage| Error::run(&path, damage, help))?;
    of_this_run(run, checkpoint).map(Some)
}

/// The newest checkpoint, for who must not take the weights before it for its own.
fn newest(run: &Run) -> Result<Option<Checkpoint>> {
    let newest = list(run)?.into_iter().next_back();
    let whole = latest(run)?;
    match newest {
        Some((step, name)) if whole.as_ref().is_some_and(|whole| whole.step < step) => {
            let help = "run the experiment again, which trains its steps again; or choose an earlier checkpoint, or remove this one";
            Err(Error::run(run.folder().at(&name), "is damaged", help))
        }
        _ => Ok(whole),
    }
}

/// Writes `checkpoints/step-<step>.safetensors` (f32, f64, i64 or u8 tensors of any device and layout), then removes those up to this step
/// that are not to stay. A file of a later step can only be one that `latest` refused; it goes, too.
///
/// The bytes of a contiguous CPU tensor are written from where they are. Panics on a tensor of another kind and if none is to stay.
/// Error: the disk has no room for it.
pub fn save<'a>(
    run: &Run,
    step: u64,
    tensors: &[(String, &Tensor)],
    meta: &[(&str, String)],
    keep: impl Into<Keep<'a>>,
) -> Result<PathBuf> {
    let keep = keep.into();
    assert!(keep.newest > 0, "a checkpoint that is not kept");
    let tensors = tensors::gather(tensors);
    let mut meta: BTreeMap<String, String> = meta.iter().map(|(key, value)| (key.to_string(), value.clone())).collect();
    meta.insert(STEP.to_owned(), step.to_string());
    meta.insert(RUN.to_owned(), run.about()?.mark);
    meta.insert(CRC.to_owned(), BLANK.to_owned());
    let mut head = tensors::head(&meta, &tensors);
    let mut crc = crc32fast::Hasher::new();
    crc.update(&head);
    tensors.iter().for_each(|(_, tensor)| crc.update(tensors::bytes(tensor)));
    let at = crc_position(&head, BLANK).expect("the checksum is in the metadata");
    head[at..at + BLANK.len()].copy_from_slice(format!("{:08x}", crc.finalize()).as_bytes());

    let size = head.len() + tensors.iter().map(|(_, tensor)| tensors::bytes(tensor).len()).sum::<usize>();
    run.folder().check_room(size as u64)?;
    let path = run.replace(&name(step), |file| {
        file.write_all(&head)?;
        tensors.iter().try_for_each(|(_, tensor)| file.write_all(tensors::bytes(tensor)))
    })?;
    let saved = list(run)?;
    let mut kept: Vec<u64> = saved.keys().rev().copied().filter(|s| *s <= step).take(keep.newest).collect();
    if let Some((metric, value)) = keep.best {
        let before = best(run)?.filter(|best| best.metric == metric && best.step < step && saved.contains_key(&best.step));
        match before {
            Some(before) if before.value <= value || value.is_nan() => kept.push(before.step),
            _ if value.is_finite() => {
                let best = Best { metric: metric.to_owned(), value, step };
                run.write(BEST, &serde_json::to_vec(&best).expect("a report is JSON"))?;
            }
            _ => {}
        }
    }
    let stays = |s: &u64| kept.contains(s) || (*s <= step && keep.every.is_some_and(|every| s.is_multiple_of(every)));
    for (_, old) in saved.iter().filter(|(s, _)| !stays(s)) {
        run.folder().remove(old)?;
    }
    Ok(path)
}

/// The newest checkpoint that is whole; none in a new run. A damaged one is passed over with a warning.
///
/// Errors: there are checkpoints and all are damaged, one can't be opened, or one is of another run.
pub fn latest(run: &Run) -> Result<Option<Checkpoint>> {
    let saved = list(run)?;
    for name in saved.values().rev() {
        // The writer may have removed it since.
        let Some(bytes) = run.read(name)? else { return latest(run) };
        let path = run.folder().at(name);
        match load(&path, &bytes) {
            Ok(checkpoint) => return of_this_run(run, checkpoint).map(Some),
            Err(damage) => warn(&format!("{}: {damage}; trying the checkpoint before it", path.display())),
        }
    }
    if saved.is_empty() {
        return Ok(None);
    }
    let help = "restore one from a copy, or remove the folder to train from step 0 again";
    Err(Error::run(run.folder().at(FOLDER), format!("none of the {} checkpoints is whole", saved.len()), help))
}

/// The steps of the checkpoints, whole or not, in their order.
pub fn steps(run: &Run) -> Result<Vec<u64>> {
    Ok(list(run)?.into_keys().collect())
}

/// Whether the newest whole checkpoint bears a mark; or there are none, and they may come to bear it.
pub fn may_bear(run: &Run, mark: &str) -> Result<bool> {
    let saved = list(run)?;
    for name in saved.values().rev() {
        if let Ok(checkpoint) = load(&run.folder().at(name), &run.read(name)?.unwrap_or_default()) {
            return Ok(checkpoint.meta(RUN) == Some(mark));
        }
    }
    Ok(saved.is_empty())
}

/// What is wrong with each checkpoint file, the oldest first.
pub(super) fn judge(run: &Run) -> Result<Vec<(String, Result<(), String>)>> {
    let judged = |name: String| -> Result<(String, Result<(), String>)> {
        let bytes = run.read(&name)?.unwrap_or_default();
        let found = match load(&run.folder().at(&name), &bytes) {
            Err(damage) => Err(damage.into_owned()),
            Ok(checkpoint) => of_this_run(run, checkpoint).map(drop).map_err(|e| e.to_string()),
        };
        Ok((name, found))
    };
    list(run)?.into_values().map(judged).collect()
}

/// The checkpoint, if this run wrote it; format 0 did not say.
fn of_this_run(run: &Run, checkpoint: Checkpoint) -> Result<Checkpoint> {
    let mark = run.about()?.mark;
    match checkpoint.meta(RUN) {
        Some(of) if of != mark && !mark.is_empty() => {
            let message = "is of another run: its seed, data, network or training are others";
            Err(Error::run(&checkpoint.path, message, "remove it, or put it back where it came from"))
        }
        _ => Ok(checkpoint),
    }
}

/// The checkpoint files of a run by step, relative to it.
fn list(run: &Run) -> Result<BTreeMap<u64, String>> {
    let step = |name: &String| name.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok();
    Ok(run.folder().names(FOLDER)?.iter().filter_map(|name| Some((step(name)?, format!("{FOLDER}/{name}")))).collect())
}

/// Reads and checks the bytes of a file; the error is what is wrong with them.
fn load(path: &Path, bytes: &[u8]) -> Result<Checkpoint, Cow<'static, str>> {
    let damaged = |e| format!("is damaged: {e}");
    let (length, _) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
    let (tensors, meta) = tensors::parse(bytes)?;

    let stated = meta.get(CRC).ok_or("has no checksum")?;
    let at = crc_position(&bytes[..8 + length], stated).ok_or("has no checksum")?;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes[..at]);
    crc.update(BLANK.as_bytes());
    crc.update(&bytes[at + BLANK.len()..]);
    if format!("{:08x}", crc.finalize()) != *stated {
        return Err("is damaged: its checksum does not fit its content".into());
    }

    let step = meta.get(STEP).and_then(|step| step.parse().ok()).ok_or("has no step")?;
    Ok(Checkpoint { step, path: path.to_owned(), tensors, meta })
}

/// Where in the head the digits of the checksum stand.
fn crc_position(head: &[u8], digits: &str) -> Option<usize> {
    let (before, field) = (format!("\"{CRC}\":\""), format!("\"{CRC}\":\"{digits}\""));
    let at = head.windows(field.len()).position(|window| window == field.as_bytes())? + before.len();
    (digits.len() == BLANK.len()).then_some(at)
}

#[cfg(test)]
mod tests;
