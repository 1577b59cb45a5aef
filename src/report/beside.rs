//! Training examples, and those that are nearest to samples.

use tch::Device;

use super::page::{Block, Picture, Section, Table};
use super::results::significant;
use crate::data::chosen;
use crate::error::Result;
use crate::evaluation::{Extractor, Holds, Memorisation, Reading, Set};
use crate::plot;
use crate::progress::Terminal;
use crate::run::{EXPERIMENT, Run};
use crate::session::open_set;
use crate::tensor::pixels;

/// Of them as many are shown.
const SHOWN: usize = 64;
/// Samples whose neighbours are looked for.
const MOST: usize = 1000;
/// Fewer are not looked at, since shares of them say little.
const FEWEST: usize = 20;

/// Training examples of a run of images, and the pairs of a sample and a training example that are nearest. Where the data can't be read, why.
pub fn training_examples(run: &Run, terminal: &Terminal) -> Result<Section> {
    let mut section = Section::new("Beside the training examples");
    let shape = run.about()?.shape;
    if shape.is_none_or(|shape| shape.len() != 3) || !run.has("samples/samples.npz") {
        return Ok(section);
    }
    let train = format!("{}:train", run.path().join(EXPERIMENT).display());
    match open_set(&train).and_then(|set| Ok((examples(&set)?, nearest(run, set, terminal)?))) {
        Err(error) => section.blocks.push(Block::Text(format!("The training examples can't be read: {error}."))),
        Ok((some, nearest)) => {
            section.blocks.push(Block::Picture(some));
            if let Some(found) = nearest {
                show(&mut section, &found);
            }
        }
    }
    Ok(section)
}

/// The first few of a set.
fn examples(set: &Set) -> Result<Picture> {
    let Holds::Examples(examples, _) = &set.holds else { unreachable!("a split holds examples") };
    let places: Vec<usize> = (0..examples.len().min(SHOWN)).collect();
    let x = chosen(&**examples, &places)?;
    let shape: Vec<usize> = x.size().iter().map(|n| *n as usize).collect();
    Ok(Picture::of_png(&plot::png(&plot::grid(&pixels(&x), &shape)), format!("The first {} training examples", places.len())))
}

/// Of the run's samples; none where there are few.
fn nearest(run: &Run, train: Set, terminal: &Terminal) -> Result<Option<Memorisation>> {
    let samples = Set::of_run(run, "samples")?;
    let Holds::Examples(drawn, _) = &samples.holds else { unreachable!("a run has examples") };
    let count = drawn.len().min(MOST);
    if count < FEWEST {
        return Ok(None);
    }
    let how = Reading { batch: 256, seed: 1, classes: false };
    let by_pixels = Extractor::data();
    let (a, train) = (by_pixels.features(samples, Some(count), &how, terminal)?, by_pixels.features(train, None, &how, terminal)?);
    Memorisation::of(&a, None, &train, how.seed, Device::Cpu).map(Some)
}

fn show(section: &mut Section, found: &Memorisation) {
    if let Some(picture) = &found.picture {
        let caption = "Of the samples those that are nearest to a training example, by pixels, each above that one".to_owned();
        section.blocks.push(Block::Picture(Picture::of_png(&plot::png(picture), caption)));
    }
    let share = &found.authenticity;
    let authentic = format!("{} ± {}", significant(share.value), significant(share.half_width));
    section.table(Table::of_pairs([
        ("copies of training examples".to_owned(), found.copies.to_string()),
        (
            "authenticity, by pixels: the share of samples that are farther from their nearest training example than that is from its own"
                .into(),
            authentic,
        ),
    ]));
}
