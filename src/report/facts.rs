//! What was run, where, and what its files are.

use std::collections::BTreeMap;

use serde_json::Value;

use super::page::{Block, Section, Table};
use super::results::{duration, shown};
use crate::error::Result;
use crate::run::{EXPERIMENT, Run, manifests};

/// Every key of the experiment as it was run, with where its value came from.
pub fn experiment(run: &Run) -> Result<Section> {
    let mut section = Section::new("Experiment");
    let text = run.experiment()?.unwrap_or_default();
    let table: toml::Table = toml::from_str(&text).unwrap_or_default();
    let history = run.history()?;
    let origins: BTreeMap<&String, &Value> = history.iter().filter_map(|line| line["origins"].as_object()).flatten().collect();
    let origin = |key: &String| origins.get(key).map_or(String::new(), |origin| shown(origin));
    let rows = keys(&table).into_iter().map(|(key, value)| vec![key.clone(), value, origin(&key)]).collect();
    section.table(Table::with_head(&["key", "value", "from"], rows));
    for line in history.iter().filter(|line| line["what"] == "changed") {
        let changes = line["changes"].as_object().into_iter().flatten();
        let said = changes.map(|(key, change)| format!("{key} from {} to {}", shown(&change["from"]), shown(&change["to"])));
        let step = line["step"].as_u64().map_or(String::new(), |step| format!("At step {step}: "));
        section.blocks.push(Block::Text(format!("{step}{}.", said.collect::<Vec<_>>().join(", "))));
    }
    Ok(section)
}

/// The values of an experiment by their dotted keys, the shallow ones of a table first.
pub fn keys(table: &toml::Table) -> Vec<(String, String)> {
    fn add(prefix: &str, table: &toml::Table, found: &mut Vec<(String, String)>) {
        let (tables, values): (Vec<_>, Vec<_>) = table.iter().partition(|(_, value)| value.is_table());
        let key = |name: &str| if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
        found.extend(values.into_iter().map(|(name, value)| (key(name), plain(value))));
        for (name, value) in tables {
            match value.as_table() {
                Some(inner) if inner.is_empty() => found.push((key(name), "{}".into())),
                inner => inner.into_iter().for_each(|inner| add(&key(name), inner, found)),
            }
        }
    }
    let mut found = Vec::new();
    add("", table, &mut found);
    found
}

fn plain(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Program, machine and time, by the run's history.
pub fn environment(run: &Run) -> Result<Section> {
    let mut section = Section::new("Environment");
    let history = run.history()?;
    let of = |what: &'static str| history.iter().filter(move |line| line["what"] == what);
    if let Some(begun) = of("begun").next_back() {
        let keys = ["version", "commit", "libtorch", "host", "threads"];
        let mut rows: Vec<(String, String)> =
            keys.iter().filter(|key| !begun[**key].is_null()).map(|key| (key.to_string(), shown(&begun[*key]))).collect();
        let words = begun["arguments"].as_array().into_iter().flatten().map(shown);
        rows.push(("command".into(), words.collect::<Vec<_>>().join(" ")));
        let total = |key: &str| history.iter().filter_map(|line| line[key].as_f64()).sum::<f64>();
        rows.push(("sessions".into(), of("begun").count().to_string()));
        rows.push(("time".into(), format!("{}, of processors {}", duration(total("seconds")), duration(total("cpu_seconds")))));
        section.table(Table::of_pairs(rows));
    }
    Ok(section)
}

/// Marks, fingerprints and checksums.
pub fn hashes(run: &Run) -> Result<Section> {
    let mut section = Section::new("Files");
    let about = run.about()?;
    let mut rows =
        vec![("format of the run".to_owned(), about.format.to_string()), ("mark of what its weights depend on".into(), about.mark)];
    rows.extend(about.data.into_iter().map(|(key, sha256)| (format!("{key}, SHA-256 of size and ends"), sha256)));
    rows.extend(about.from.map(|from| ("began with the weights of".into(), format!("{}, step {}", from.run.display(), from.step))));
    section.table(Table::of_pairs(rows));
    let files: BTreeMap<String, [String; 2]> = manifests(run)?;
    let rows = files.into_iter().map(|(name, [bytes, crc32])| vec![name, bytes, crc32]).collect();
    section.table(Table::with_head(&["file", "bytes", "CRC-32"], rows));
    Ok(section)
}

/// What differs between experiments: a row for each key, with the value in each run, or `-`.
pub fn differences(runs: &[&Run]) -> Result<Vec<Vec<String>>> {
    let of = |run: &&Run| -> Result<BTreeMap<String, String>> {
        let text = run.read(EXPERIMENT)?.unwrap_or_default();
        Ok(keys(&toml::from_str(&String::from_utf8_lossy(&text)).unwrap_or_default()).into_iter().collect())
    };
    let all = runs.iter().map(of).collect::<Result<Vec<_>>>()?;
    let names: std::collections::BTreeSet<&String> = all.iter().flat_map(BTreeMap::keys).collect();
    let row = |name: &String| {
        let values: Vec<String> = all.iter().map(|keys| keys.get(name).cloned().unwrap_or_else(|| "-".into())).collect();
        let differ = values.iter().any(|value| *value != values[0]);
        differ.then(|| [vec![name.clone()], values].concat())
    };
    Ok(names.into_iter().filter_map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_dotted_and_shallow_ones_come_first() {
        let table = toml::from_str("seed = 1\n[sde.ve]\nsigma_max = 50.0\n[train]\nsteps = 3\n[sample.solver.heun]\n").unwrap();
        let pairs = keys(&table).into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>();
        assert_eq!(pairs, ["seed=1", "sample.solver.heun={}", "sde.ve.sigma_max=50.0", "train.steps=3"]);
    }
}
