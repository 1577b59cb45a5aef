//! Features of the examples of a set, in memory and in a file, so that they are computed once.

use std::fmt;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};
use crate::file::{self, sha256};
use crate::metric::Features;
use crate::run::{replace, tensors};

/// Features, and what they are of.
pub struct FeatureTable {
    /// [N, D], f32, on the CPU.
    pub x: Tensor,
    /// The place of each in its set, `[N]`.
    pub places: Vec<i64>,
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
const ABOUT: &str = "about";
const CHECKSUM: &str = "sha256";
const CURE: &str = "make it again: score-sde evaluate SET --save FILE.safetensors";

impl FeatureTable {
    /// As metrics take them, on a device. Error: they are too few, not finite, or all alike.
    pub fn features(&self, seed: u64, device: Device) -> Result<Features> {
        Features::new(&self.about.name, &self.x.to_device(device), seed)
    }

    /// Writes a safetensors file: `features` [N, D], f32, `places` `[N]`, i64, and in its metadata what they are of and the SHA-256 of all.
    pub fn save(&self, path: &Path) -> Result<()> {
        let about = serde_json::to_string(&self.about).expect("words and numbers are JSON");
        let (x, places) = (self.x.contiguous(), Tensor::from_slice(&self.places));
        let sum = checksum(&about, [&x, &places]);
        let bytes = tensors::encode(&[(FEATURES.to_owned(), &x), (PLACES.to_owned(), &places)], &[(ABOUT, about), (CHECKSUM, sum)]);
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
        let damaged = || Error::data(path, "is damaged: its checksum does not fit its content", CURE);
        if sum != checksum(text, [&x, &places]) {
            return Err(damaged());
        }
        let about: About = serde_json::from_str(text).map_err(|_| damaged())?;
        let places: Vec<i64> = Vec::try_from(&places).map_err(|_| damaged())?;
        match x.kind() == Kind::Float
            && x.size() == [about.count, about.features.dimension].map(|n| n as i64)
            && places.len() == about.count
        {
            true => Ok(FeatureTable { x, places, about }),
            false => Err(damaged()),
        }
    }
}

fn checksum(about: &str, tensors: [&Tensor; 2]) -> String {
    let [features, places] = tensors.map(tensors::bytes);
    sha256(&[about.as_bytes(), features, places].concat())
}
