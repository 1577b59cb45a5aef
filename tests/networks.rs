//! Networks against the published configurations of the reference implementation, see `tests/golden/README.md`.

use std::path::{Path, PathBuf};

use score_sde::net::Interface;
use score_sde::net::reference::Reference;
use score_sde::optim::Builder;
use serde_json::Value;

#[test]
fn published_configurations_have_the_references_parameters() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let path = std::env::var_os("SCORE_SDE_GOLDEN").map_or(committed, PathBuf::from).join("fullsize.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let published: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
    // An entry without a configuration is one that the reference can't build.
    for (name, truth) in published.iter().filter(|(_, truth)| truth["config"].is_object()) {
        let Reference { network, shape, .. } = Reference::new(&truth["config"]).unwrap_or_else(|fault| panic!("{name}: {fault:?}"));
        assert_eq!(network.parameter_count(&Interface::plain(&shape)) as u64, truth["n_trainable"].as_u64().unwrap(), "{name}");
        let builder = Builder::dry();
        network.build(&Interface::plain(&shape), &builder);
        let ours = builder.inventory();
        let theirs: Vec<&Value> = truth["state"].as_array().unwrap().iter().filter(|entry| entry["param"] == true).collect();
        assert_eq!(ours.len(), theirs.len(), "{name}: number of parameters");
        for ((ours, shape, trainable), theirs) in ours.iter().zip(theirs) {
            assert_eq!(ours, theirs["name"].as_str().unwrap(), "{name}");
            assert_eq!(serde_json::json!(shape), theirs["shape"], "{name}: {ours}");
            assert_eq!(*trainable, theirs["trainable"] == true, "{name}: {ours}");
        }
        println!("{name:40} {} parameters", truth["n_trainable"]);
    }
}
