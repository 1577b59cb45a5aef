//! `score-sde sweep`: an experiment with each of some values of its keys, a run for each.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use toml::de::DeTable;

use super::{Form, Overrides, Voice, parse_threads};
use crate::error::{Error, Result};
use crate::experiment::{self, Override, default_run_folder};
use crate::interrupt;
use crate::progress::Terminal;
use crate::report::{Swept, sweep_table};
use crate::run::{Run, replace};

#[derive(Args, Debug)]
pub struct Arguments {
    /// The experiment, a TOML file.
    experiment: PathBuf,
    /// A key and its values, such as train.lr=1e-4,3e-4; of several keys, every choice of values is a run. The runs that differ in seed alone are
    /// repeats: their mean is given with its error.
    #[arg(long = "over", required = true, value_name = "KEY=A,B,...")]
    over: Vec<String>,
    /// The folder of the runs [default: runs/<file's stem>-sweep].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Runs that work at once.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: u16,
    /// Threads of LibTorch of each run [default: as score-sde run has them; 1 where several runs work at once].
    #[arg(long, value_parser = parse_threads)]
    threads: Option<i32>,
    /// Where tensors live: cpu, cuda or cuda:N.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Writes a page with the curves of all runs, too, an HTML file that needs no other.
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    #[command(flatten)]
    set: Overrides,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    voice: Voice,
}

/// A run of a sweep.
struct Point {
    /// Of its folder.
    name: String,
    values: Vec<(String, String)>,
}

pub fn sweep(arguments: Arguments) -> Result<()> {
    let Arguments { experiment: path, over, out, jobs, page, set, form, voice, .. } = &arguments;
    let axes = over.iter().map(|axis| parse_axis(axis)).collect::<Result<Vec<_>>>()?;
    let points = points(&axes)?;
    let out = out.clone().unwrap_or_else(|| {
        let folder = default_run_folder(path);
        folder.with_file_name(format!("{}-sweep", folder.file_name().unwrap_or_default().to_string_lossy()))
    });
    // A mistake in any of them is found before the first one works.
    for point in &points {
        experiment::load(path, &[&set.overrides[..], &settings(point)].concat())?;
    }
    fs::create_dir_all(&out).map_err(|e| Error::io("create the folder", &out, e))?;
    let terminal = Terminal::new(voice.quiet);
    let failed = work(&points, usize::from(*jobs), &terminal, |point| start(point, &arguments, &out))?;
    let done: Vec<&Point> = points.iter().filter(|point| !failed.contains_key(&point.name)).collect();
    let runs = done.iter().map(|point| Run::reading(&out.join(&point.name))).collect::<Result<Vec<_>>>()?;
    let swept = done.iter().zip(&runs).map(|(point, run)| Swept { values: point.values.clone(), run }).collect::<Vec<_>>();
    if !swept.is_empty() {
        let table = sweep_table(&swept)?;
        replace(&out.join("sweep.json"), |file| writeln!(file, "{:#}", json!(table)))?;
        match form.json {
            true => form.print(&json!(table))?,
            false => print!("{table}"),
        }
        if let Some(page) = page {
            let html = table.page(&swept, &path.display().to_string())?.html();
            replace(page, |file| file.write_all(html.as_bytes()))?;
        }
    }
    let Some((name, said)) = failed.first_key_value() else { return Ok(()) };
    let message = format!("{} of {} runs failed; {name}: {said}", failed.len(), points.len());
    let help = format!("what each said is in {}; the same command goes on", out.join("NAME.log").display());
    Err(Error::Usage { message, help })
}

/// A key and its values, as TOML has them, or words without quotes.
fn parse_axis(axis: &str) -> Result<(String, Vec<String>)> {
    let wrong = |message: String| {
        let help = "write --over KEY=A,B, such as --over train.lr=1e-4,3e-4 --over seed=1,2,3".into();
        Error::Usage { message, help }
    };
    let Some((key, values)) = axis.split_once('=') else { return Err(wrong(format!("--over {axis} has no ="))) };
    // As they are written: 1e-4 stays so in the names of folders.
    let text = format!("values = [{values}]");
    let parsed = DeTable::parse(&text).ok();
    let values: Vec<String> = match parsed.as_ref().and_then(|table| table.get_ref().get("values")?.get_ref().as_array()) {
        Some(array) => array.iter().map(|value| text[value.span()].to_owned()).collect(),
        None => values.split(',').map(|value| value.trim().to_owned()).collect(),
    };
    match values.iter().enumerate().find(|(i, value)| value.is_empty() || values[..*i].contains(value)) {
        None if !values.is_empty() => Ok((key.trim().to_owned(), values)),
        _ => Err(wrong(format!("--over {axis} does not give some values, each once"))),
    }
}

/// Every choice of values; the last axis is the fastest. Error: two have the same name.
fn points(axes: &[(String, Vec<String>)]) -> Result<Vec<Point>> {
    let mut all: Vec<Vec<(String, String)>> = vec![Vec::new()];
    for (key, values) in axes {
        let with = |values_of: &Vec<(String, String)>| {
            let more = |value: &String| [values_of.clone(), vec![(key.clone(), value.clone())]].concat();
            values.iter().map(more).collect::<Vec<_>>()
        };
        all = all.iter().flat_map(with).collect();
    }
    let mut seen = BTreeMap::new();
    for values in all {
        let name = values.iter().map(|(key, value)| format!("{key}={}", plain(value))).collect::<Vec<_>>().join(",");
        if seen.contains_key(&name) || axes.iter().filter(|(key, _)| *key == axes[0].0).count() > 1 {
            let message = format!("--over gives {} twice", if seen.contains_key(&name) { &name } else { &axes[0].0 });
            return Err(Error::Usage { message, help: "give each key once, with all its values: --over KEY=A,B,C".into() });
        }
        seen.insert(name, (seen.len(), values));
    }
    let mut points: Vec<(usize, Point)> = seen.into_iter().map(|(name, (i, values))| (i, Point { name, values })).collect();
    points.sort_by_key(|(i, _)| *i);
    Ok(points.into_iter().map(|(_, point)| point).collect())
}

/// A value in the name of a folder.
fn plain(value: &str) -> String {
    value.chars().filter(|c| !"\"' ".contains(*c)).map(|c| if "/\\,{}".contains(c) || c.is_control() { '_' } else { c }).collect()
}

fn settings(point: &Point) -> Vec<Override> {
    point.values.iter().map(|(key, value)| Override::Set(format!("{key}={value}"))).collect()
}

/// The process of a run. It takes no signal from the terminal: a sweep that is asked to stop asks its runs itself, once.
fn start(point: &Point, Arguments { experiment, jobs, threads, device, set, .. }: &Arguments, out: &Path) -> Result<Child> {
    let log = out.join(format!("{}.log", point.name));
    let log = File::create(&log).map_err(|e| Error::io("write", &log, e))?;
    let mut command = Command::new(std::env::current_exe().unwrap_or_else(|_| "score-sde".into()));
    command.arg("run").arg(experiment).arg("--out").arg(out.join(&point.name)).args(["--device", device]);
    command.args(set.overrides.iter().chain(&settings(point)).flat_map(Override::flag));
    let threads = threads.or((*jobs > 1).then_some(1));
    command.args(threads.iter().flat_map(|n| ["--threads".to_owned(), n.to_string()]));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
    command.spawn().map_err(|e| Error::io("start", "score-sde", e))
}

/// Every point, so many at once; what those said that failed, by name.
fn work(points: &[Point], jobs: usize, terminal: &Terminal, start: impl Fn(&Point) -> Result<Child>) -> Result<BTreeMap<String, String>> {
    interrupt::will_save();
    let (mut waiting, mut working) = (points.iter().collect::<VecDeque<_>>(), Vec::<(&Point, Child)>::new());
    let (mut failed, mut done) = (BTreeMap::new(), 0);
    let mut phase = terminal.phase("sweep", "runs", points.len() as u64, 0);
    while !waiting.is_empty() || !working.is_empty() {
        if interrupt::asked() {
            stop(&mut working);
            return Err(Error::Interrupted { at: format!("{done} of {} runs are done", points.len()) });
        }
        while working.len() < jobs
            && let Some(point) = waiting.pop_front()
        {
            working.push((point, start(point)?));
        }
        let mut still = Vec::new();
        for (point, mut child) in working {
            match child.try_wait().map_err(|e| Error::io("wait for", "score-sde", e))? {
                None => still.push((point, child)),
                Some(status) => {
                    done += 1;
                    phase.set(done, &point.name);
                    if !status.success() {
                        failed.insert(point.name.clone(), status.to_string());
                    }
                }
            }
        }
        working = still;
        thread::sleep(Duration::from_millis(20));
    }
    phase.finish("");
    Ok(failed)
}

/// Asks the runs to save and stop, and waits for them.
fn stop(working: &mut [(&Point, Child)]) {
    for (_, child) in working.iter() {
        if let Some(process) = Pid::from_raw(child.id() as i32) {
            let _ = kill_process(process, Signal::TERM);
        }
    }
    working.iter_mut().for_each(|(_, child)| drop(child.wait()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_lists_of_toml_or_of_words() {
        let values = |axis: &str| parse_axis(axis).map(|(key, values)| format!("{key}: {}", values.join("; ")));
        assert_eq!(values("train.lr=1e-4,3e-4").unwrap(), "train.lr: 1e-4; 3e-4");
        assert_eq!(
            values("sample.solver={heun={steps=5}},{euler={steps=9}}").unwrap(),
            "sample.solver: {heun={steps=5}}; {euler={steps=9}}"
        );
        assert_eq!(values("network.mlp.activation=swish, elu").unwrap(), "network.mlp.activation: swish; elu");
        for (axis, word) in [("seed", "no ="), ("seed=", "some values"), ("seed=1,1", "each once"), ("a=b,,c", "each once")] {
            assert!(parse_axis(axis).unwrap_err().to_string().contains(word), "{axis}");
        }
    }

    #[test]
    fn every_choice_of_values_is_a_point() {
        let axis = |key: &str, values: &[&str]| (key.to_owned(), values.iter().map(|value| value.to_string()).collect::<Vec<_>>());
        let names = |axes: &[(String, Vec<String>)]| points(axes).map(|points| points.into_iter().map(|p| p.name).collect::<Vec<_>>());
        let two = [axis("train.lr", &["1e-4", "3e-4"]), axis("seed", &["1", "2"])];
        let all = ["train.lr=1e-4,seed=1", "train.lr=1e-4,seed=2", "train.lr=3e-4,seed=1", "train.lr=3e-4,seed=2"];
        assert_eq!(names(&two).unwrap(), all);
        assert_eq!(names(&[axis("data.path", &["\"a/b\""])]).unwrap(), ["data.path=a_b"]);
        assert!(names(&[axis("seed", &["1"]), axis("seed", &["2"])]).unwrap_err().to_string().contains("twice"));
    }
}
