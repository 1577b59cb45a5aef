//! What makes features of examples, as an experiment and the command line name it.

mod efficientnet;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use efficientnet::{EfficientNet, PROTOCOL};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Fault;

/// What makes features of examples: the numbers [N, D] that sets are compared by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum FeatureSpec {
    /// Examples are their own features: pixels from 0 to 255, or the components of vectors.
    Data {},
    /// A PyTorch module x [B, ...] → [B, D], scripted or traced.
    Torchscript {
        /// What `torch.jit.save` wrote, relative to the experiment file or the working directory. x is f32 and in data units, pixels from 0 to
        /// 255, [B, C, H, W]: what it is resized to and divided by is part of the module.
        file: PathBuf,
    },
    /// EfficientNet-Lite0, trained on ImageNet (Tan & Le 2019): images of any size, 1 or 3 channels → 1280 features, the means over places before
    /// its last layer. Images are stretched to 224 x 224 by Pillow's bicubic filter.
    EfficientnetLite0 {
        /// Its weights, which `scripts/fetch-features` brings, relative to the experiment file or the working directory.
        #[serde(default = "fetched")]
        weights: PathBuf,
    },
    /// A classifier that was trained here: what its last layer makes logits of, [B, width], for examples at its least time.
    Classifier {
        /// The run of the classifier, or of a score with a `[classifier]` beside it, relative to the experiment file or the working
        /// directory.
        run: PathBuf,
    },
}

/// Where `scripts/fetch-features` puts them.
fn fetched() -> PathBuf {
    "data/features/efficientnet-lite0.pth".into()
}

impl FeatureSpec {
    /// Reads no file. A fault's key is relative to the table of the features.
    pub fn check(&self) -> Result<(), Fault> {
        match self.needs() {
            Some((key, path, _)) if path.as_os_str().is_empty() => {
                Err(Fault::new(key, "the path is empty", "give one, relative to the working directory"))
            }
            _ => Ok(()),
        }
    }

    /// Whether what it needs is there. A fault's key is relative to the table of the features.
    pub fn check_files(&self) -> Result<(), Fault> {
        match self.needs() {
            Some((key, path, cure)) if !path.exists() => {
                Err(Fault::new(key, format!("{}: there is no such file or folder", path.display()), format!("{cure}, or correct the path")))
            }
            _ => Ok(()),
        }
    }

    /// The key of a file or folder, its path, and what makes it.
    fn needs(&self) -> Option<(&'static str, &Path, &'static str)> {
        match self {
            FeatureSpec::Data {} => None,
            FeatureSpec::Torchscript { file } => Some(("torchscript.file", file, "write it with torch.jit.save (docs/evaluate.md)")),
            FeatureSpec::EfficientnetLite0 { weights } => Some(("efficientnet-lite0.weights", weights, "run scripts/fetch-features")),
            FeatureSpec::Classifier { run } => Some(("classifier.run", run, "train a classifier first: an experiment with [classifier]")),
        }
    }
}

/// As the command line names it: `data`, `efficientnet-lite0`, the folder of a run with a classifier, or a TorchScript file.
impl FromStr for FeatureSpec {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<FeatureSpec, Infallible> {
        Ok(match name {
            "data" => FeatureSpec::Data {},
            "efficientnet-lite0" => FeatureSpec::EfficientnetLite0 { weights: fetched() },
            run if Path::new(run).is_dir() => FeatureSpec::Classifier { run: run.into() },
            file => FeatureSpec::Torchscript { file: file.into() },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_and_a_word_name_the_same() {
        #[derive(Deserialize)]
        struct Evaluate {
            features: FeatureSpec,
        }
        for (word, table) in [
            ("data", "[features.data]"),
            ("x.pt", "[features.torchscript]\nfile = \"x.pt\""),
            ("efficientnet-lite0", "[features.efficientnet-lite0]"),
            ("src", "[features.classifier]\nrun = \"src\""),
        ] {
            assert_eq!(FeatureSpec::from_str(word).unwrap(), toml::from_str::<Evaluate>(table).unwrap().features, "{word}");
        }
        let of = |word: &str| FeatureSpec::from_str(word).unwrap();
        assert_eq!(of("").check().unwrap_err().key, "torchscript.file");
        assert_eq!(of("none.pt").check_files().unwrap_err().key, "torchscript.file");
        assert!(of("none.pt").check().is_ok() && of("src").check_files().is_ok() && of("data").check_files().is_ok());
    }
}
