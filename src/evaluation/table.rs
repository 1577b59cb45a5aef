//! Features of the examples of a set, in memory and in a file, so that they are computed once.

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::file::{self, sha256};
use crate::metric::Features;
use crate::run::{replace, tensors};
use crate::tensor::select;

/// Features, and what they are of.
pub struct FeatureTable {
    /// [N, D], f32, on the CPU.
    pub x: Tensor,
    /// The place of each in its set, `[N]`.
    pub places: Vec<i64>,
    /// The class of each, `[N]`, where it was asked for.
    pub classes: Option<Vec<i64>>,
    /// The set itself, where it is at hand.
    pub examples: Option<Arc<dyn Dataset>>,
    pub about: About,
}

/// What features are of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct About {
    /// As the set was given.
    pub name: String,
    pub count: usize,
    /// Of one example.
    pub shape: Vec<usize>,
    /// The SHA-256 of the examples' numbers in data units, as little-endian f32, images by channel, row and column.
    pub sha256: String,
    /// What the set says of itself, such as files that are missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The report of the samples of a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made_by: Option<Value>,
    pub features: FeatureKind,
}

/// What was computed of each example.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeatureKind {
    #[serde(flatten)]
    pub source: Source,
    /// D
    pub dimension: usize,
}

/// What makes features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// `data`, or that of a network.
    pub name: String,
    /// What is done to examples before the network sees them, where its file does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Of the network's weights, or program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

impl Source {
    /// Whether features of both are the same numbers, whatever their names.
    pub fn is(&self, other: &Source) -> bool {
        (&self.protocol, &self.sha256) == (&other.protocol, &other.sha256)
    }
}

/// Its name, and of a network the beginning of its hash.
impl fmt::Display for FeatureKind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let FeatureKind { source: Source { name, protocol, sha256 }, dimension } = self;
        let Some(sha256) = sha256 else { return write!(f, "the examples as they are, {dimension} numbers") };
        let protocol = protocol.as_ref().map_or(String::new(), |protocol| format!(" by {protocol}"));
        write!(f, "{name}{protocol}, SHA-256 {}, {dimension} numbers", sha256.get(..12).unwrap_or(sha256))
    }
}

const FEATURES: &str = "features";
const PLACES: &str = "places";
const CLASSES: &str = "classes";
const ABOUT: &str = "about";
const CHECKSUM: &str = "sha256";
const CURE: &str = "make it again: score-sde evaluate SET --save FILE.safetensors";

impl FeatureTable {
    /// As metrics take them, on a device. Error: they are too few, not finite, or all alike.
    pub fn features(&self, seed: u64, device: Device) -> Result<Features> {
        Features::new(&self.about.name, &self.x.to_device(device), seed)
    }

    /// Those of the examples of a class; none without any.
    pub fn of_class(&self, class: i64) -> Option<FeatureTable> {
        let of_class = |(i, there): (usize, &i64)| (*there == class).then_some(i);
        let rows: Vec<usize> = self.classes.iter().flatten().enumerate().filter_map(of_class).collect();
        let about = About { name: format!("{}, class {class}", self.about.name), count: rows.len(), ..self.about.clone() };
        let places = rows.iter().map(|&i| self.places[i]).collect();
        (!rows.is_empty()).then(|| FeatureTable {
            x: select(&self.x, &rows),
            places,
            classes: None,
            examples: self.examples.clone(),
            about,
        })
    }

    /// Writes a safetensors file: `features` [N, D], f32, `places` `[N]`, i64, `classes` likewise, where there are some, and in its metadata what
    /// they are of and the SHA-256 of all.
    pub fn save(&self, path: &Path) -> Result<()> {
        let about = serde_json::to_string(&self.about).expect("words and numbers are JSON");
        let classes = self.classes.as_deref().map(Tensor::from_slice);
        let all = [(FEATURES, Some(self.x.contiguous())), (PLACES, Some(Tensor::from_slice(&self.places))), (CLASSES, classes)];
        let all: Vec<(String, Tensor)> = all.into_iter().filter_map(|(name, x)| Some((name.to_owned(), x?))).collect();
        let sum = checksum(&about, all.iter().map(|(_, x)| x));
        let named: Vec<(String, &Tensor)> = all.iter().map(|(name, x)| (name.clone(), x)).collect();
        let bytes = tensors::encode(&named, &[(ABOUT, about), (CHECKSUM, sum)]);
        replace(path, |file| file.write_all(&bytes))
    }

    /// Reads it. Errors: there is no such file, it is another one, or damaged.
    pub fn read(path: &Path) -> Result<FeatureTable> {
        let bytes = file::read(path).map_err(|error| Error::io("read", path, error))?;
        let bytes = bytes.ok_or_else(|| Error::data(path, "there is no such file", CURE))?;
        let (mut named, meta) = tensors::parse(&bytes).map_err(|message| Error::data(path, message, CURE))?;
        let of_meta = |key: &str| meta.get(key).map(String::as_str);
        let parts = (named.remove(FEATURES), named.remove(PLACES), of_meta(ABOUT), of_meta(CHECKSUM));
        let (Some(x), Some(places), Some(text), Some(sum)) = parts else {
            return Err(Error::data(path, "holds no features: it is another safetensors file", CURE));
        };
        let classes = named.remove(CLASSES);
        let damaged = || Error::data(path, "is damaged: its checksum does not fit its content", CURE);
        if sum != checksum(text, [Some(&x), Some(&places), classes.as_ref()].into_iter().flatten()) {
            return Err(damaged());
        }
        let about: About = serde_json::from_str(text).map_err(|_| damaged())?;
        let whole = |x: &Tensor| Vec::<i64>::try_from(x).ok().filter(|x| x.len() == about.count).ok_or_else(damaged);
        let (places, classes) = (whole(&places)?, classes.as_ref().map(whole).transpose()?);
        match x.kind() == Kind::Float && x.size() == [about.count, about.features.dimension].map(|n| n as i64) {
            true => Ok(FeatureTable { x, places, classes, examples: None, about }),
            false => Err(damaged()),
        }
    }
}

fn checksum<'a>(about: &'a str, tensors: impl Iterator<Item = &'a Tensor>) -> String {
    sha256([about.as_bytes()].into_iter().chain(tensors.map(tensors::bytes)))
}
