//! What makes features of examples, as an experiment and the command line name it.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

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
        /// What `torch.jit.save` wrote, relative to the working directory. x is f32 and in data units, pixels from 0 to 255, [B, C, H, W]: what
        /// it is resized to and divided by is part of the module.
        file: PathBuf,
    },
}

impl FeatureSpec {
    /// Reads no file. A fault's key is relative to the table of the features.
    pub fn check(&self) -> Result<(), Fault> {
        match self {
            FeatureSpec::Torchscript { file } if file.as_os_str().is_empty() => {
                Err(Fault::new("torchscript.file", "file is empty", "give a path, relative to the working directory"))
            }
            _ => Ok(()),
        }
    }
}

/// As the command line names it: `data`, or a TorchScript file.
impl FromStr for FeatureSpec {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<FeatureSpec, Infallible> {
        Ok(match name {
            "data" => FeatureSpec::Data {},
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
        for (word, table) in [("data", "[features.data]"), ("x.pt", "[features.torchscript]\nfile = \"x.pt\"")] {
            assert_eq!(FeatureSpec::from_str(word).unwrap(), toml::from_str::<Evaluate>(table).unwrap().features, "{word}");
        }
        assert_eq!(FeatureSpec::from_str("").unwrap().check().unwrap_err().key, "torchscript.file");
    }
}
