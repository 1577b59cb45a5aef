//! What a run holds, but for what differs between undisturbed runs: times of the clock, and how work was cut into processes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use score_sde::run::Run;
use score_sde::run::log::events::from_step;
use serde_json::Value;

use crate::home::Home;

const PARTIAL: &str = ".partial-";

/// A half-written file of the run; the next `run` removes those of processes that are gone.
pub fn half_written(home: &Home) -> Option<String> {
    let mut files = BTreeMap::new();
    collect(&home.path("run"), "", &mut files);
    files.into_keys().find(|name| name.contains(PARTIAL))
}

#[derive(PartialEq)]
pub struct State {
    /// Finished files, and what must be equal of each.
    files: BTreeMap<String, Vec<u8>>,
    /// Points of `metrics.jsonl`, and of the event files as readers show them.
    metrics: Vec<String>,
    events: Vec<String>,
}

impl State {
    pub fn of(home: &Home) -> State {
        let mut files = BTreeMap::new();
        collect(&home.path("run"), "", &mut files);
        let metrics = files.remove("metrics.jsonl").map_or(Vec::new(), |bytes| metrics(&bytes));
        files.retain(|name, _| !name.contains("events.out."));
        // A resumed run may have saved other steps on its way; the last one counts.
        let last = files.keys().rfind(|name| name.ends_with(".safetensors") && name.starts_with("checkpoints/")).cloned();
        files.retain(|name, _| !name.starts_with("checkpoints/") || Some(name) == last.as_ref());
        files.retain(|name, _| {
            !name.contains(PARTIAL)
                && ![".lock", "curves.stamps", "history.jsonl"].contains(&&**name)
                && !name.ends_with("likelihood.journal")
        });
        files.retain(|name, _| !name.ends_with("again.journal") && !name.ends_with(".bound.journal"));
        let files = files.into_iter().map(|(name, bytes)| (name.clone(), comparable(&name, bytes))).collect();
        State { files, metrics, events: events(&home.path("run")) }
    }

    /// How another state differs from this one.
    pub fn difference(&self, other: &State) -> Option<String> {
        let files = self.files.keys().chain(other.files.keys()).find_map(|name| match (self.files.get(name), other.files.get(name)) {
            (Some(a), Some(b)) if a == b => None,
            (Some(_), Some(_)) => Some(format!("{name} is another")),
            (Some(_), None) => Some(format!("{name} is missing")),
            (None, _) => Some(format!("{name} is too many")),
        });
        files
            .or_else(|| points("metrics.jsonl", &self.metrics, &other.metrics))
            .or_else(|| points("the events", &self.events, &other.events))
    }

    /// What of this state is no more in a later one.
    pub fn lost(&self, later: &State) -> Option<String> {
        let kept =
            |name: &&String| name.ends_with(".npz") || name.ends_with(".png") || name.ends_with(".json") || name.ends_with(".safetensors");
        let changed = |name: &&String| self.files.get(*name) != later.files.get(*name) && !name.starts_with("checkpoints/");
        self.files.keys().filter(kept).find(changed).map(|name| format!("{name} is not what it was"))
    }
}

fn points(what: &str, here: &[String], there: &[String]) -> Option<String> {
    let count = |of: &[String], point: &String| of.iter().filter(|other| *other == point).count();
    let different = here.iter().chain(there).find(|point| count(here, point) != count(there, point))?;
    let short: String = different.chars().take(120).collect();
    Some(format!("{what}: {short} is there {} times, not {}", count(there, different), count(here, different)))
}

fn collect(folder: &Path, above: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{above}{}", entry.file_name().to_string_lossy());
        match entry.path().is_dir() {
            true => collect(&entry.path(), &format!("{name}/"), files),
            // Processes that work here may remove it meanwhile.
            false => drop(fs::read(entry.path()).map(|bytes| files.insert(name, bytes))),
        }
    }
}

/// What of a file must be equal.
fn comparable(name: &str, bytes: Vec<u8>) -> Vec<u8> {
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
    if name.ends_with(".manifest") {
        // The report in it has its seconds in its checksum, and the curves have the time of day.
        let Some(mut manifest) = bytes.get(9..).and_then(json) else { return bytes };
        manifest["files"]
            .as_object_mut()
            .into_iter()
            .for_each(|files| files.retain(|name, _| !name.ends_with(".json") && !name.starts_with("curves/")));
        return manifest.to_string().into_bytes();
    }
    if name.ends_with("experiment.toml") {
        return without_places(&String::from_utf8_lossy(&bytes));
    }
    if name.ends_with("metrics.jsonl") {
        return metrics(&bytes).join("\n").into_bytes();
    }
    if name.ends_with(".json") && name != "run.json" {
        let Some(mut report) = json(&bytes) else { return bytes };
        without_seconds(&mut report);
        return report.to_string().into_bytes();
    }
    // Of solvers compared, costs and errors; the pictures show seconds.
    match name.strip_prefix("lab/") {
        Some("lab.csv") => without_column(&String::from_utf8_lossy(&bytes), "seconds"),
        Some(name) if name != "lab.journal" => Vec::new(),
        _ => bytes,
    }
}

/// An experiment whose data lie in no folder in particular, without its checksum.
fn without_places(experiment: &str) -> Vec<u8> {
    let line = |line: &str| match line.split_once(" = \"/") {
        Some((key, path)) => format!("{key} = {}\n", path.rsplit('/').next().unwrap_or(path)),
        None => format!("{line}\n"),
    };
    experiment.lines().filter(|line| !line.starts_with("# crc32")).map(line).collect::<String>().into_bytes()
}

fn without_seconds(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("seconds");
            fields.values_mut().for_each(without_seconds);
        }
        Value::Array(values) => values.iter_mut().for_each(without_seconds),
        _ => {}
    }
}

fn without_column(csv: &str, column: &str) -> Vec<u8> {
    let at = csv.lines().next().and_then(|head| head.split(',').position(|name| name.contains(column)));
    let line =
        |line: &str| line.split(',').enumerate().filter(|(i, _)| Some(*i) != at).map(|(_, cell)| format!("{cell},")).collect::<String>();
    csv.lines().map(|row| line(row) + "\n").collect::<String>().into_bytes()
}

/// Whether a number is of the clock.
fn is_of_the_clock(tag: &str) -> bool {
    ["wall_time", "train/examples_per_second", "train/waiting_for_data", "train/writing", "train/memory_gb"].contains(&tag)
}

fn metrics(bytes: &[u8]) -> Vec<String> {
    let mut points = Vec::new();
    for line in String::from_utf8_lossy(bytes).lines() {
        let Ok(Value::Object(fields)) = serde_json::from_str(line) else {
            points.push(format!("no JSON: {line}"));
            continue;
        };
        let step = fields.get("step").unwrap_or(&Value::Null);
        points.extend(fields.iter().filter(|(tag, _)| !is_of_the_clock(tag)).map(|(tag, value)| format!("{tag} at {step}: {value}")));
    }
    points.sort();
    points
}

fn events(run: &Path) -> Vec<String> {
    let Ok(run) = Run::elsewhere(run) else { return Vec::new() };
    let mut points = Vec::new();
    for event in from_step(&run, 0).unwrap_or_default() {
        for value in event.get_summary().get_value() {
            if !is_of_the_clock(value.get_tag()) {
                let mut value = value.clone();
                value.clear_metadata();
                if value.get_tag() == "experiment" {
                    let text = value.take_tensor().take_string_val().concat();
                    points.push(String::from_utf8_lossy(&without_places(&String::from_utf8_lossy(&text))).into_owned());
                    continue;
                }
                points.push(format!(
                    "{} at {}: {:08x} {value:?}",
                    value.get_tag(),
                    event.get_step(),
                    crc32fast::hash(format!("{value:?}").as_bytes())
                ));
            }
        }
    }
    points.sort();
    points
}
