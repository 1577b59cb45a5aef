//! `score-sde edit` and `share`: samples that begin on the way.

use std::path::PathBuf;

use clap::Args;

use super::codes::{Asked, Common, Split, ask};
use crate::error::{Error, Result};
use crate::run::plain_name;
use crate::session::Given;

#[derive(Args, Debug)]
pub struct Edit {
    #[command(flatten)]
    common: Common,
    /// The images or vectors, in data units: an .npy array [N, H, W, C] or [N, D], or an .npz archive with such an array `samples` [default: the
    /// first examples of a split].
    images: Option<PathBuf>,
    /// The time that they are noised to, above t_min and at most 1: the smaller, the more of them stays.
    #[arg(long, value_name = "T")]
    from: f64,
    /// Samples of each.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    each: u64,
    /// Of which split.
    #[arg(long, default_value = "test", conflicts_with = "images")]
    split: Split,
    /// The first so many examples.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=1_000_000), conflicts_with = "images")]
    count: u64,
    /// Name of the files in samples/.
    #[arg(long, default_value = "edited")]
    name: String,
}

#[derive(Args, Debug)]
pub struct Share {
    #[command(flatten)]
    common: Common,
    /// Times, such as 1,0.75,0.5,0.25, above t_min and at most 1: a row of samples for each, that share their way down to there.
    #[arg(long, value_name = "T,...", value_delimiter = ',', num_args = 1, required = true)]
    from: Vec<f64>,
    /// Samples of each row.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    each: u64,
    /// Name of the files in samples/.
    #[arg(long, default_value = "shared")]
    name: String,
}

/// Rows that are worth a look.
const MOST_TIMES: usize = 100;

pub fn edit(Edit { common, images, from, each, split, count, name }: Edit) -> Result<()> {
    let asked = ask(common)?;
    let images = match &images {
        Some(path) => asked.session.read_images(path)?,
        None => asked.session.examples(split.into(), &(0..count as usize).collect::<Vec<_>>())?,
    };
    draw(&asked, &Given::Images { images: &images, t: from }, each, name)
}

pub fn share(Share { common, from, each, name }: Share) -> Result<()> {
    if from.len() > MOST_TIMES {
        let message = format!("--from names {} times", from.len());
        return Err(Error::Usage { message, help: format!("give at most {MOST_TIMES}") });
    }
    draw(&ask(common)?, &Given::Shared { times: &from }, each, name)
}

fn draw(asked: &Asked, given: &Given, each: u64, name: String) -> Result<()> {
    let name = plain_name(name)?;
    asked.session.sample_from_into(&asked.spec, (given, each as usize), &asked.run, asked.place(), &name)?;
    asked.show_samples(&name)
}
