//! What a run made: samples, likelihoods and a comparison, by its own reports.

use serde_json::Value;

use super::page::{Block, Picture, Section, Table};
use crate::data::read_array;
use crate::error::Result;
use crate::metric::Estimate;
use crate::plot::Bins;
use crate::plot::chart::{Axis, Chart, Layer, Sheet};
use crate::run::{Run, TRAJECTORY};

const HISTOGRAM: (u32, u32) = (560, 300);
const BINS: usize = 30;

/// The JSON file `name` of a run, if it is there and whole.
pub(super) fn read(run: &Run, name: &str) -> Result<Option<Value>> {
    Ok(run.read(name)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// The reports in a folder of a run (`""` is its own) whose names begin so: name without ending, and content.
fn reports(run: &Run, folder: &str, prefix: &str) -> Result<Vec<(String, Value)>> {
    let place = |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
    let names = run.folder().names(folder)?;
    let named = names.iter().filter_map(|name| name.strip_suffix(".json").filter(|stem| stem.starts_with(prefix)));
    let read = |stem: &str| Ok(read(run, &place(&format!("{stem}.json")))?.map(|says| (stem.to_owned(), says)));
    named.filter_map(|stem| read(stem).transpose()).collect()
}

/// Samples of every name, with their pictures.
pub fn samples(run: &Run) -> Result<Section> {
    let mut section = Section::new("Samples");
    for (name, says) in reports(run, "samples", "")? {
        section.blocks.push(Block::Heading(name.clone()));
        for (ending, what) in [(".png", ""), (TRAJECTORY, ", on their way from t = 1 to 0")] {
            if let Some(png) = run.read(&format!("samples/{name}{ending}"))? {
                let count = says["count"].as_u64().map_or(String::new(), |count| format!("{count} samples{what}"));
                section.blocks.push(Block::Picture(Picture::of_png(&png, count)));
            }
        }
        section.tables(vec![Table::of_pairs(costs(&says)), protocol(&says["protocol"])]);
    }
    Ok(section)
}

/// Every likelihood with its errors in parts, its protocol, and the spread of the examples.
pub fn likelihoods(run: &Run) -> Result<Section> {
    let mut section = Section::new("Likelihood");
    for (name, says) in reports(run, "", "likelihood")? {
        section.blocks.push(Block::Heading(name.clone()));
        let rows: Vec<Vec<String>> = ["nats", "bits_per_dim"].into_iter().filter_map(|unit| number(unit, &says[unit])).collect();
        section.table(Table::with_head(
            &["-ln p", "mean", "± standard error", "of examples", "of dequantisation", "of probes", "solver"],
            rows,
        ));
        section.charts(histogram(run, &name, unit(&says)).into_iter().collect());
        let mut known = vec![("examples".to_owned(), shown(&says["count"]))];
        known.extend(costs(&says));
        let parts = [
            ("truth.nats.mean", "nats by the data's own law"),
            ("truth.excess_nats.mean", "nats above it"),
            ("bound.nats.mean", "bound, nats"),
        ];
        known.extend(parts.iter().filter_map(|(path, name)| Some((name.to_string(), significant(at(&says, path)?.as_f64()?)))));
        section.tables(vec![Table::of_pairs(known), protocol(&says["protocol"])]);
    }
    Ok(section)
}

fn number(unit: &str, says: &Value) -> Option<Vec<String>> {
    let shown = |value: &Value| value.as_f64().map_or("-".into(), significant);
    let name = if unit == "nats" { "nats" } else { "bits/dim" };
    let mean = says["mean"].as_f64()?;
    // What adds nothing, such as probes of an exact divergence, has no number.
    let part = |name: &str| says["parts"][name].as_f64().filter(|part| *part > 0.0).map_or("-".into(), significant);
    let parts = ["dataset", "dequantisation", "probes"].map(part);
    let row = [name.into(), significant(mean), shown(&says["standard_error"])].into_iter().chain(parts);
    Some(row.chain([shown(&says["solver"]["mean"])]).collect())
}

/// Of the examples in the likelihood's unit; none where the arrays are missing.
fn histogram(run: &Run, name: &str, unit: &str) -> Option<Sheet> {
    let (_, values) = read_array(&run.folder().at(&format!("{name}.npz")), unit).ok()?;
    let named = if unit == "nats" { "nats of an example" } else { "bits/dim of an example" };
    let (x, y) = (Axis::linear(named), Axis::linear("examples"));
    Some(Sheet::of(Chart { title: String::new(), x, y, layers: vec![Layer::Bars(Bins::new(&values, BINS))], square: false }, HISTOGRAM))
}

/// What solves took.
fn costs(says: &Value) -> Vec<(String, String)> {
    let counts = [("evaluations", "network evaluations"), ("accepted_steps", "accepted steps"), ("rejected_steps", "rejected steps")];
    let of = |(key, name): (&str, &str)| {
        let [mean, min, max] = ["mean", "min", "max"].map(|part| says[key][part].as_f64());
        let range = if min == max { String::new() } else { format!(" ({} to {})", significant(min?), significant(max?)) };
        Some((name.to_owned(), format!("{}{range} each", significant(mean?))))
    };
    let seconds = says["seconds"].as_f64().map(|seconds| ("time".to_owned(), duration(seconds)));
    counts.into_iter().filter_map(of).chain(seconds).collect()
}

/// What a set of samples was compared with, and the numbers.
pub fn evaluation(run: &Run) -> Result<Section> {
    let mut section = Section::new("Evaluation");
    let Some(says) = read(run, "evaluation.json")? else { return Ok(section) };
    let set = |of: &Value| format!("{}, {} examples, SHA-256 {:.12}", shown(&of["name"]), shown(&of["count"]), shown(&of["sha256"]));
    section.table(Table::of_pairs(["a", "b"].into_iter().filter(|key| says[key].is_object()).map(|key| (key, set(&says[key])))));
    let row = |measure: &Value| {
        let [value, half_width] = ["value", "half_width"].map(|key| measure[key].as_f64().map_or("-".into(), significant));
        let equal = measure["equal_laws"].as_f64().map_or("-".into(), significant);
        vec![shown(&measure["metric"]).replace('_', " "), value, format!("± {half_width}"), equal]
    };
    let rows = says["measures"].as_array().into_iter().flatten().map(row).collect();
    section.table(Table::with_head(&["metric", "value", "95 % interval", "if laws are equal"], rows));
    if let Some(png) = run.read("evaluation/checkpoints.png")? {
        section.blocks.push(Block::Picture(Picture::of_png(&png, "along training".into())));
    }
    Ok(section)
}

/// The unit that a likelihood is said in.
pub(super) fn unit(report: &Value) -> &'static str {
    if report["unit"] == "bits_per_dim" { "bits_per_dim" } else { "nats" }
}

/// A mean with the interval of its standard error.
pub(super) fn estimate(number: &Value) -> Option<Estimate> {
    Some(Estimate::of_error(number["mean"].as_f64()?, number["standard_error"].as_f64().unwrap_or(f64::NAN)))
}

/// Keys of nested tables with their values, in one row each.
fn protocol(settings: &Value) -> Table {
    let mut rows = Vec::new();
    flatten("", settings, &mut rows);
    Table::of_pairs(rows)
}

pub(super) fn flatten(key: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            flatten(&key, value, rows);
        }),
        Value::Null => {}
        value => rows.push((key.to_owned(), shown(value))),
    }
}

fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, name| value.get(name))
}

pub(super) fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// With as many digits as people read.
pub(super) fn significant(x: f64) -> String {
    match x.abs() {
        0.0 => "0".into(),
        size if x.fract() == 0.0 && size < 1e9 => format!("{x}"),
        size if (1e-3..1e6).contains(&size) => format!("{:.*}", (4 - size.log10().floor() as i32).clamp(0, 6) as usize, x),
        _ => format!("{x:.3e}"),
    }
}

pub(super) fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 60.0 => format!("{s:.1} s"),
        s if s < 3600.0 => format!("{} min {} s", (s / 60.0) as u64, (s % 60.0) as u64),
        s => format!("{} h {} min", (s / 3600.0) as u64, (s % 3600.0 / 60.0) as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_as_many_digits_as_people_read() {
        let cases =
            [(0.0, "0"), (1.23456789, "1.2346"), (-123.456, "-123.46"), (0.00123456, "0.001235"), (1e-7, "1.000e-7"), (250.0, "250")];
        for (x, text) in cases {
            assert_eq!(significant(x), text);
        }
        assert_eq!([3.25, 125.0, 7300.0].map(duration), ["3.2 s", "2 min 5 s", "2 h 1 min"]);
    }
}
