//! In what two experiments differ.

use super::written::Experiment;

impl Experiment {
    /// The keys in which two experiments differ so that their results may: (key, here, there). Operational keys don't count.
    pub fn differences(&self, other: &Experiment) -> Vec<(String, String, String)> {
        let value = |experiment: &Experiment| toml::Value::try_from(experiment).expect("an experiment is a TOML document");
        let mut found = Vec::new();
        differences("", Some(&value(self)), Some(&value(other)), &mut found);
        found.retain(|(key, _, _)| !self.is_operational(key));
        found
    }

    /// Whether a key changes no result here. A batch size does where a solver couples the examples of a batch.
    fn is_operational(&self, key: &str) -> bool {
        let coupled = match key {
            "sample.batch" => self.sample.as_ref().is_some_and(|sample| sample.solver.couples_batch()),
            "likelihood.batch" => self.likelihood.as_ref().is_some_and(|likelihood| likelihood.solver.couples_batch()),
            _ => false,
        };
        let of_training = TRAININGS.iter().find_map(|table| key.strip_prefix(table));
        of_training.is_some_and(|key| OF_TRAINING.contains(&key)) || OPERATIONAL.contains(&key) && !coupled
    }
}

/// Keys that change no result.
const OPERATIONAL: [&str; 6] =
    ["network.torchscript.file", "sample.batch", "likelihood.batch", "draw.batch", "density.batch", "evaluate.batch"];

/// Where trainings are, and their keys that change no weights.
const TRAININGS: [&str; 3] = ["train.", "space.latent.train.", "classifier.train."];
const OF_TRAINING: [&str; 9] = [
    "checkpoint_every",
    "keep",
    "keep_every",
    "keep_best",
    "log_every",
    "sample_every",
    "validation",
    "validation.every",
    "validation.count",
];

fn differences(key: &str, a: Option<&toml::Value>, b: Option<&toml::Value>, found: &mut Vec<(String, String, String)>) {
    match (a, b) {
        (Some(toml::Value::Table(a)), Some(toml::Value::Table(b))) => {
            let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for name in names {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                differences(&key, a.get(name), b.get(name), found);
            }
        }
        _ if a == b => {}
        _ => {
            let show = |value: Option<&toml::Value>| match value {
                None => "nothing".to_owned(),
                Some(toml::Value::Table(_)) => "a table".to_owned(),
                Some(value) => value.to_string(),
            };
            found.push((key.to_owned(), show(a), show(b)));
        }
    }
}
