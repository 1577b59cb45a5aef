//! The keys of an experiment as TensorBoard's HPARAMS compares runs by them.

use std::collections::HashMap;

use protobuf::Message;
use protobuf::well_known_types::Value;
use tensorboard_proto::plugin_hparams::{HParamsPluginData, SessionStartInfo};
use tensorboard_proto::summary::Summary_Value;

use super::{values, wall_time};

/// The tag under which the plugin looks for them.
const TAG: &str = "_hparams_/session_start_info";

/// The begin of a run with these keys: numbers, words and yes or no.
pub fn session_start(keys: &toml::Table) -> Summary_Value {
    let mut start = SessionStartInfo::new();
    start.set_hparams(flat(keys));
    start.set_start_time_secs(wall_time());
    let mut content = HParamsPluginData::new();
    content.set_session_start_info(start);
    let mut value = values::of_plugin(TAG, "hparams");
    let content = content.write_to_bytes().expect("a message without required fields");
    value.mut_metadata().mut_plugin_data().set_content(content);
    value
}

/// Every key with its whole path.
fn flat(keys: &toml::Table) -> HashMap<String, Value> {
    let mut found = HashMap::new();
    let mut open: Vec<(String, &toml::Value)> = keys.iter().map(|(key, value)| (key.clone(), value)).collect();
    while let Some((path, value)) = open.pop() {
        match value {
            toml::Value::Table(table) if !table.is_empty() => {
                open.extend(table.iter().map(|(key, value)| (format!("{path}.{key}"), value)));
            }
            leaf => drop(found.insert(path, of(leaf))),
        }
    }
    found
}

fn of(leaf: &toml::Value) -> Value {
    let mut value = Value::new();
    match leaf {
        toml::Value::Integer(number) => value.set_number_value(*number as f64),
        toml::Value::Float(number) if number.is_finite() => value.set_number_value(*number),
        toml::Value::Boolean(yes) => value.set_bool_value(*yes),
        // A table without keys is asked for by its name.
        toml::Value::Table(_) => value.set_bool_value(true),
        toml::Value::String(word) => value.set_string_value(word.clone()),
        other => value.set_string_value(other.to_string()),
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_path_and_its_kind() {
        let keys = "seed = 3\n[train]\nlr = 2e-4\nclip = inf\nbetas = [0.9, 0.5]\nobjective = 'denoising'\n[likelihood]\ntrace.exact = {}\n\
                    [data.idx]\nflip = false\n";
        let value = session_start(&toml::from_str(keys).unwrap());
        assert_eq!((value.get_tag(), value.get_metadata().get_plugin_data().get_plugin_name()), (TAG, "hparams"));
        let content = HParamsPluginData::parse_from_bytes(value.get_metadata().get_plugin_data().get_content()).unwrap();
        let keys = content.get_session_start_info().get_hparams();
        assert_eq!((keys["seed"].get_number_value(), keys["train.lr"].get_number_value()), (3.0, 2e-4));
        assert_eq!((keys["train.clip"].get_string_value(), keys["train.betas"].get_string_value()), ("inf", "[0.9, 0.5]"));
        assert_eq!(keys["train.objective"].get_string_value(), "denoising");
        assert!(keys["likelihood.trace.exact"].get_bool_value() && keys["data.idx.flip"].has_bool_value());
        assert_eq!(keys.len(), 7);
    }
}
