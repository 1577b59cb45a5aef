//! `score-sde data`: what a data set holds, and the keys that its numbers suggest.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::codes::Split;
use super::{Form, Overrides, Voice};
use crate::data::{Data, Farthest, ImageFiles, ImageLabels, Labels, Moments, Statistics, Summary};
use crate::error::{Error, Result};
use crate::experiment;
use crate::memory;
use crate::progress::{Terminal, short, short_up};
use crate::space::Scale;

#[derive(Args, Debug)]
pub struct Arguments {
    /// The experiment, a TOML file; of it only [data.*] and, for what is drawn, seed are looked at.
    experiment: PathBuf,
    #[command(flatten)]
    set: Overrides,
    /// Of which split.
    #[arg(long, default_value = "train")]
    split: Split,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    voice: Voice,
}

/// Channels, components or classes that are shown.
const SHOWN: usize = 12;

pub fn data(Arguments { experiment: path, set, split, form, voice }: Arguments) -> Result<()> {
    let (seed, data) = experiment::load_data(&path, &set.overrides)?;
    let split = split.into();
    let Summary { shape, len, note, bytes } = data.describe(split)?;
    if memory::available().is_some_and(|available| bytes > available) {
        let message = format!("this split takes {} of memory, more than there is", memory::bytes(bytes));
        return Err(Error::Memory { message, help: format!("lower {}", data.size_key(split)) });
    }
    if !form.json {
        println!("data      [data.{}], {len} examples of shape {shape:?}", data.name());
        note.iter().flat_map(|note| note.split("; ")).for_each(|note| println!("          {note}"));
    }
    let set = data.open(split, seed)?;
    let labels = Labels::of(&data, split, seed)?;
    let mut phase = Terminal::new(voice.quiet).phase("data", "readings", 2 * len as u64, 0);
    let statistics = Statistics::of(&*set, data.scale(), &mut |done| phase.set(done as u64, ""))?;
    phase.finish("");
    if form.json {
        let of = json!({ "data": data.name(), "examples": len, "shape": shape, "note": note, "labels": labels });
        return form.print(&with(of, json!(statistics)));
    }
    show(&statistics, labels.as_ref(), if shape.len() == 3 { "channel" } else { "component" });
    suggest(&data, &statistics);
    Ok(())
}

/// One object with the keys of two.
fn with(mut a: Value, b: Value) -> Value {
    b.as_object().into_iter().flatten().for_each(|(key, value)| a[key] = value.clone());
    a
}

fn show(Statistics { channels, in_model_space, farthest }: &Statistics, labels: Option<&Labels>, part: &str) {
    println!("\n{:<16}{:>12}{:>12}{:>12}{:>12}", "", "mean", "std", "least", "most");
    let row = |name: &str, Moments { mean, std, least, most, .. }: &Moments| {
        println!("{name:<16}{:>12}{:>12}{:>12}{:>12}", short(*mean), short(*std), short(*least), short(*most));
    };
    channels.iter().take(SHOWN).enumerate().for_each(|(i, moments)| row(&format!("{part} {i}"), moments));
    if channels.len() > SHOWN {
        println!("... and {} more", channels.len() - SHOWN);
    }
    row("in model space", in_model_space);
    let Farthest { distance, examples: [a, b], bound } = *farthest;
    println!("\nlargest distance in model space: {}, between examples {a} and {b}", short(distance));
    if bound > distance {
        println!("(of the outermost examples; no pair exceeds {})", short(bound));
    }
    let Some(Labels { counts, names }) = labels else { return };
    let [least, most] = [counts.iter().min(), counts.iter().max()].map(|count| count.copied().unwrap_or_default());
    let each = if least == most { most.to_string() } else { format!("{least} to {most}") };
    println!("\nlabels    {} classes of {each} examples", counts.len());
    for (class, count) in counts.iter().enumerate().take(SHOWN) {
        let name = names.as_ref().map_or(String::new(), |names| format!("  {}", names[class]));
        println!("{class:>9} {count:>9}{name}");
    }
    if counts.len() > SHOWN {
        println!("... and {} more", counts.len() - SHOWN);
    }
}

/// Keys, with numbers of three digits; a largest distance is rounded up.
fn suggest(data: &Data, Statistics { in_model_space, farthest, .. }: &Statistics) {
    let std = in_model_space.std;
    println!("\nsuggested");
    println!("  sde.ve.sigma_max = {}", short_up(farthest.distance));
    println!("  precondition.edm.sigma_data = {}", short(std));
    if let Data::Images(set @ ImageFiles { labels: None, .. }) = data
        && let Ok(Some(names)) = (ImageFiles { labels: Some(ImageLabels::Folders), ..set.clone() }).class_names()
        && names.len() > 1
    {
        println!("  data.images.labels = \"folders\", {} classes", names.len());
    }
    if let Scale::Vectors { scale } = data.scale() {
        println!("  data.{}.scale = {}, for a standard deviation of 1", data.name(), short(scale * std));
    }
}
