//! Results on disk as they come: one line of JSON for each batch of solves, so that a killed evaluation goes on where it was.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Job, Likelihood};
use crate::error::{Error, Result};
use crate::run::Run;

/// What is kept of a batch of jobs.
pub trait Record: Serialize + DeserializeOwned {
    fn jobs(&self) -> &[Job];
    /// What came out for each job, nats.
    fn results(&self) -> Vec<f64>;
    /// Keys of `[likelihood]` that these records don't depend on.
    const FOREIGN: &[&str];
}

/// A file `<name>.solves.jsonl` of a run: first a line that says what is measured, then the batches in their order.
///
/// A line is written whole before the next batch begins; one that a kill or a power cut tore is dropped. Numbers come back to the bit.
pub struct Store<R> {
    /// None keeps nothing.
    file: Option<(PathBuf, File)>,
    /// What an earlier process left.
    old: VecDeque<R>,
}

impl<R: Record> Store<R> {
    /// Keeps nothing.
    pub fn nowhere() -> Store<R> {
        Store { file: None, old: VecDeque::new() }
    }

    /// Goes on with the file of an earlier process, or begins one. `weights` is the step the weights are of.
    ///
    /// Errors: the file was begun with other settings (the message names the key), or is none of these.
    pub fn open(run: &Run, name: &str, spec: &Likelihood, seed: u64, weights: Option<u64>) -> Result<Store<R>> {
        let name = format!("{name}.solves.jsonl");
        let path = run.path().join(&name);
        let help = "remove the file to begin anew, or give the results another name";
        let header = header::<R>(spec, seed, weights);
        let text = run.read(&name)?.unwrap_or_default();
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let mut lines = text[..whole].split_inclusive(|&byte| byte == b'\n');
        let mut old = VecDeque::new();
        match lines.next() {
            None => drop(run.write(&name, &line(&header))?),
            Some(first) => {
                let begun: Value =
                    serde_json::from_slice(first).map_err(|e| Error::run(&path, format!("its first line can't be read: {e}"), help))?;
                if let Some((key, there, here)) = difference("", &begun, &header) {
                    let message = format!("holds part of an evaluation with other settings: {key} is {there} there, {here} now");
                    return Err(Error::run(&path, message, help));
                }
                for (i, record) in lines.enumerate() {
                    let solved = serde_json::from_slice(record)
                        .map_err(|e| Error::run(&path, format!("line {} can't be read: {e}", i + 2), help))?;
                    old.push_back(solved);
                }
                if whole < text.len() {
                    run.write(&name, &text[..whole])?;
                }
            }
        }
        let file = OpenOptions::new().append(true).open(&path).map_err(|e| Error::io("open", &path, e))?;
        Ok(Store { file: Some((path, file)), old })
    }

    /// The first of `jobs`, if an earlier process solved them.
    pub(super) fn recall(&mut self, jobs: &[Job]) -> Result<Option<R>> {
        let Some(solved) = self.old.pop_front() else { return Ok(None) };
        if jobs.starts_with(solved.jobs()) && !solved.jobs().is_empty() {
            return Ok(Some(solved));
        }
        let path = self.file.as_ref().map(|(path, _)| path.clone()).unwrap_or_default();
        Err(Error::run(path, "does not go on as an evaluation with these settings does", "remove the file to begin anew"))
    }

    /// Error: a result that is not finite, or the file.
    pub(super) fn keep(&mut self, solved: &R) -> Result<()> {
        if let Some(job) = solved.results().iter().position(|nats| !nats.is_finite()) {
            return Err(Error::Solver {
                message: format!("the result for example {} is not finite", solved.jobs()[job].example),
                help: "the score is not finite somewhere; train longer, or raise likelihood.t_min".into(),
            });
        }
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        file.write_all(&line(solved)).and_then(|()| file.sync_data()).map_err(|e| Error::io("write", &*path, e))
    }
}

fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).expect("numbers and names are JSON");
    line.push(b'\n');
    line
}

/// All that the results depend on.
fn header<R: Record>(spec: &Likelihood, seed: u64, weights: Option<u64>) -> Value {
    let mut likelihood = json!(spec);
    let table = likelihood.as_object_mut().expect("a table");
    if !spec.solver.couples_batch() {
        table.remove("batch");
    }
    R::FOREIGN.iter().for_each(|key| drop(table.remove(*key)));
    json!({ "seed": seed, "weights": weights, "likelihood": likelihood })
}

/// The first key in which two values differ: (key, here, there).
fn difference(key: &str, a: &Value, b: &Value) -> Option<(String, String, String)> {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            let names: std::collections::BTreeSet<&String> = x.keys().chain(y.keys()).collect();
            let below = |name: &String| if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            names
                .into_iter()
                .find_map(|name| difference(&below(name), x.get(name).unwrap_or(&Value::Null), y.get(name).unwrap_or(&Value::Null)))
        }
        _ => {
            let shown = |value: &Value| if value.is_null() { "nothing".to_owned() } else { value.to_string() };
            (a != b).then(|| (key.to_owned(), shown(a), shown(b)))
        }
    }
}
