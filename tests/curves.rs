//! The curves of a run say what its reports say.

mod common;

use std::collections::BTreeMap;

use common::home::{Home, IMAGES, VECTORS};
use serde_json::Value;

/// Scalars of the curves, and where their number stands in a report.
const REPORTED: [(&str, &str, &str); 4] = [
    ("likelihood/bits_per_dim", "likelihood.json", "/bits_per_dim/mean"),
    ("likelihood/bits_per_dim_standard_error", "likelihood.json", "/bits_per_dim/standard_error"),
    ("likelihood/nats", "likelihood.json", "/nats/mean"),
    ("likelihood/bound_bits_per_dim", "likelihood.json", "/bound/bits_per_dim/mean"),
];
/// Scalars on the way, of which no report speaks.
const ON_THE_WAY: [&str; 2] = ["train/", "dequantisation/"];

/// Every scalar of a run with its last value.
fn scalars(home: &Home) -> BTreeMap<String, Value> {
    let text = String::from_utf8(home.read("runs/tiny/metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<BTreeMap<String, Value>>(line).unwrap());
    lines.flatten().filter(|(name, _)| name.contains('/')).collect()
}

#[test]
fn every_scalar_equals_its_report() {
    let images: String = IMAGES.replace("below_t_min = \"ignored\"", "below_t_min = \"tweedie\"");
    // With one example there is no standard error.
    let bounded = images + "bound.elbo = { form = \"denoising\", draws = 2 }\n";
    for (home, count) in [(Home::with(VECTORS), 3), (Home::with_images(&bounded), 4)] {
        home.succeed(&["run", "tiny.toml"]);
        let scalars = scalars(&home);
        let of_reports: Vec<&String> = scalars.keys().filter(|name| !ON_THE_WAY.iter().any(|prefix| name.starts_with(prefix))).collect();
        assert_eq!(of_reports.len(), count, "{of_reports:?}");
        for name in of_reports {
            let (_, file, place) = REPORTED.iter().find(|row| row.0 == name).unwrap_or_else(|| panic!("{name} is in no report"));
            let report = home.json(&format!("runs/tiny/{file}"));
            let stated = report.pointer(place).unwrap_or_else(|| panic!("{file} has no {place}"));
            // What can't be known is not a number there and null here.
            let unknown = scalars[name] == "nan" && stated.is_null();
            assert!(unknown || &scalars[name] == stated, "{name} is {} in the curves, {place} is {stated} in {file}", scalars[name]);
        }
    }
}
