//! Where each key of an experiment comes from.

use std::collections::BTreeMap;

use serde::Serialize;

use super::text::Text;
use super::written::Experiment;

/// What a key is said to come from that no file and no `--set` gives.
const DEFAULT: &str = "default";
/// The column in which notes stand where the keys leave room, and that in which lines end.
const NOTES: usize = 50;
const END: usize = 80;

/// By key of the resolved experiment: the file that it is from, as messages name it, or `--set`, or `default`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Origins(BTreeMap<String, String>);

impl Origins {
    pub(super) fn of(experiment: &Experiment, text: &Text) -> Origins {
        let (mut found, tree) = (BTreeMap::new(), text.tree());
        let value = toml::Value::try_from(experiment).expect("an experiment is a TOML document");
        visit("", &value, &mut |key| drop(found.insert(key.to_owned(), text.origin_of(tree.get_ref(), key).unwrap_or(DEFAULT).to_owned())));
        Origins(found)
    }

    /// Those of some keys.
    pub(super) fn among(&self, keys: impl Fn(&str) -> bool) -> Origins {
        Origins(self.0.iter().filter(|(key, _)| keys(key)).map(|(key, origin)| (key.clone(), origin.clone())).collect())
    }

    /// An experiment's TOML with a note at each key that its own file, `file`, does not give.
    pub fn noted(&self, experiment: &Experiment, file: &str) -> String {
        let (mut table, mut noted) = (String::new(), Vec::new());
        for line in experiment.resolved().lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                table = format!("{name}.");
            }
            let key = line.split_once(" = ").map(|(name, _)| format!("{table}{name}"));
            let origin = key.and_then(|key| self.0.get(&key)).filter(|origin| *origin != file);
            let note = origin.map(|origin| if is_of_a_file(origin) { format!("# from {origin}") } else { format!("# {origin}") });
            noted.push((line.to_owned(), note));
        }
        let column = noted.iter().filter(|(_, note)| note.is_some()).map(|(line, _)| line.chars().count()).filter(|n| *n <= NOTES).max();
        let column = column.unwrap_or(0);
        let shown = noted.into_iter().map(|(line, note)| match note {
            None => format!("{line}\n"),
            Some(note) if line.chars().count().max(column) + 2 + note.chars().count() > END => format!("{note}\n{line}\n"),
            Some(note) => format!("{line:column$}  {note}\n"),
        });
        shown.collect()
    }
}

fn is_of_a_file(origin: &str) -> bool {
    origin != DEFAULT && !origin.starts_with("--")
}

/// Calls `found` with the key of every value that is no table.
fn visit(key: &str, value: &toml::Value, found: &mut impl FnMut(&str)) {
    let Some(table) = value.as_table() else { return found(key) };
    for (name, value) in table {
        visit(&if key.is_empty() { name.clone() } else { format!("{key}.{name}") }, value, found);
    }
}
