//! Whether samples are copies of training examples.

use image::RgbImage;
use serde::Serialize;
use tch::{Device, Tensor};

use super::compare::check;
use super::table::{About, FeatureTable};
use crate::data::chosen;
use crate::error::Result;
use crate::metric::{Estimate, authenticity, nearest};
use crate::plot;
use crate::tensor::pixels;

/// A set beside the examples that a model was trained on.
#[derive(Serialize)]
pub struct Memorisation {
    pub train: About,
    /// The share of A that is farther from its nearest training example than that one is from its own nearest (Alaa et al. 2022).
    pub authenticity: Estimate,
    /// The same of B, where there are examples of it. Where B was held out of training, A should not be below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authenticity_of_b: Option<Estimate>,
    /// How many of A have the very features of a training example.
    pub copies: usize,
    /// The pairs that are nearest to each other, the nearest first.
    pub nearest: Vec<Pair>,
    /// These pairs, where they are images and at hand: rows of ten of A, each above the training example that is nearest to it.
    #[serde(skip)]
    pub picture: Option<RgbImage>,
}

/// An example of A and the training example that is nearest to it.
#[derive(Clone, Debug, Serialize)]
pub struct Pair {
    /// The place of each in its set, from 0.
    pub example: i64,
    pub train: i64,
    /// Between their features.
    pub distance: f64,
}

/// Pairs that are named.
const NAMED: usize = 20;

/// Pairs in a row of a picture.
const IN_A_ROW: usize = 10;

/// None of vectors, or where features alone were kept.
fn picture(a: &FeatureTable, train: &FeatureTable, pairs: &[Pair]) -> Result<Option<RgbImage>> {
    let (Some(of_a), Some(of_train), &[c, h, w]) = (&a.examples, &train.examples, &a.about.shape[..]) else { return Ok(None) };
    if train.about.shape != a.about.shape {
        return Ok(None);
    }
    let places = |of: fn(&Pair) -> i64| pairs.iter().map(|pair| of(pair) as usize).collect::<Vec<_>>();
    let (left, right) = (chosen(&**of_a, &places(|pair| pair.example))?, chosen(&**of_train, &places(|pair| pair.train))?);
    let rows = |x: &Tensor| x.split(IN_A_ROW as i64, 0);
    let x = Tensor::cat(&rows(&left).into_iter().zip(rows(&right)).flat_map(<[Tensor; 2]>::from).collect::<Vec<_>>(), 0);
    Ok(Some(plot::strips(&pixels(&x), &[2 * pairs.len(), c, h, w], pairs.len().min(IN_A_ROW))))
}

impl Memorisation {
    /// Error: as [`super::compare`].
    pub fn of(a: &FeatureTable, b: Option<&FeatureTable>, train: &FeatureTable, seed: u64, device: Device) -> Result<Memorisation> {
        check(a, train)?;
        let [x, seen] = [a.features(seed, device)?, train.features(seed, device)?];
        let near = nearest(&x, &seen)?;
        let pair =
            |(i, (&distance, &place)): (usize, (&f64, &i64))| Pair { example: a.places[i], train: train.places[place as usize], distance };
        let mut pairs: Vec<Pair> = near.distances.iter().zip(&near.places).enumerate().map(pair).collect();
        pairs.sort_by(|a, b| a.distance.total_cmp(&b.distance));
        let copies = pairs.iter().filter(|pair| pair.distance == 0.0).count();
        pairs.truncate(NAMED);
        let authenticity_of_b = b.map(|b| authenticity(&b.features(seed, device)?, &seen)).transpose()?;
        let authenticity = authenticity(&x, &seen)?;
        let picture = picture(a, train, &pairs)?;
        Ok(Memorisation { train: train.about.clone(), authenticity, authenticity_of_b, copies, nearest: pairs, picture })
    }
}
