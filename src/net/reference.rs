//! Networks from configuration trees of the reference implementation (Song et al. 2021), which name and nest the same choices otherwise.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::NetworkSpec;
use super::embedding::EmbeddingSpec;
use super::ncsnpp::UpAttention;
use super::resample::FilterSpec;
use super::{ddpm, ncsnpp};
use crate::error::Fault;

/// What a configuration tree says of its network; everything else in the tree is passed over.
#[derive(Clone, Debug)]
pub struct Reference {
    pub network: NetworkSpec,
    /// [C, H, W]
    pub shape: [usize; 3],
    /// Whether the network sees the logarithm of its label, as one with Fourier features does.
    pub log_label: bool,
    /// Whether the output is divided by σ, the label with Fourier features and the label's level of noise without.
    pub scale_by_sigma: bool,
    /// Whether images lie in [-1, 1]; if not, in [0, 1].
    pub centered: bool,
}

impl Reference {
    /// Reads `config`. A fault's key is the place in the tree; its help, the choices there are.
    pub fn new(config: &Value) -> Result<Reference, Fault> {
        let tree: Tree = serde_json::from_value(config.clone()).map_err(|e| {
            Fault::new("config", e.to_string(), "a configuration of the reference's ddpm or ncsnpp networks has `data` and `model`")
        })?;
        let Tree { data, model } = tree;
        let (common, network, fourier) = match &model {
            Model::Ddpm(common) => (common, NetworkSpec::Ddpm(common.ddpm(&data)), false),
            Model::Ncsnpp(own) => (&own.common, NetworkSpec::Ncsnpp(own.ncsnpp(&data)?), own.fourier()?),
        };
        common.check()?;
        let shape = [data.num_channels, data.image_size, data.image_size];
        network.check(&shape).map_err(|fault| fault.within("config"))?;
        Ok(Reference { network, shape, log_label: fourier, scale_by_sigma: common.scale_by_sigma, centered: data.centered })
    }
}

#[derive(Deserialize)]
struct Tree {
    data: Data,
    model: Model,
}

#[derive(Deserialize)]
struct Data {
    image_size: usize,
    num_channels: usize,
    #[serde(default)]
    centered: bool,
}

#[derive(Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
enum Model {
    Ddpm(Common),
    Ncsnpp(Ncsnpp),
}

/// The keys that both networks read.
#[derive(Deserialize)]
struct Common {
    nf: usize,
    ch_mult: Vec<usize>,
    num_res_blocks: usize,
    attn_resolutions: Vec<usize>,
    dropout: f64,
    resamp_with_conv: bool,
    conditional: bool,
    #[serde(default)]
    scale_by_sigma: bool,
    nonlinearity: Option<String>,
}

/// The keys of NCSN++ and DDPM++.
#[derive(Deserialize)]
struct Ncsnpp {
    #[serde(flatten)]
    common: Common,
    #[serde(deserialize_with = "word")]
    resblock_type: super::block::BlockKind,
    #[serde(deserialize_with = "word")]
    progressive: ncsnpp::ProgressiveOutput,
    #[serde(deserialize_with = "word")]
    progressive_input: ncsnpp::ProgressiveInput,
    #[serde(deserialize_with = "word")]
    progressive_combine: ncsnpp::Combine,
    embedding_type: String,
    /// Only where the embedding is Fourier's.
    fourier_scale: Option<f64>,
    fir: bool,
    fir_kernel: Vec<f64>,
    skip_rescale: bool,
    init_scale: f64,
}

/// `output_skip` or `BigGAN` for what is `output-skip` and `biggan` here.
fn word<'de, T: DeserializeOwned, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let word = String::deserialize(deserializer)?.to_lowercase().replace('_', "-");
    serde_json::from_value(Value::String(word)).map_err(D::Error::custom)
}

impl Common {
    /// What the reference has and the networks here have not.
    fn check(&self) -> Result<(), Fault> {
        match &self.nonlinearity {
            Some(other) if !other.eq_ignore_ascii_case("swish") => {
                Err(Fault::new("config.model.nonlinearity", format!("the nonlinearity is {other}"), "networks here have `swish`"))
            }
            _ => Ok(()),
        }
    }

    /// Sizes at which there is attention; those that no level has never matter to the reference.
    fn attention(&self, data: &Data) -> Vec<usize> {
        let has = |size: &usize| (0..self.ch_mult.len()).any(|level| data.image_size >> level == *size);
        self.attn_resolutions.iter().copied().filter(has).collect()
    }

    fn ddpm(&self, data: &Data) -> ddpm::Spec {
        ddpm::Spec {
            channels: self.nf,
            multipliers: self.ch_mult.clone(),
            blocks: self.num_res_blocks,
            attention: self.attention(data),
            up_attention: UpAttention::Last,
            dropout: self.dropout,
            resample_with_convolution: self.resamp_with_conv,
            conditional: self.conditional,
        }
    }
}

impl Ncsnpp {
    fn fourier(&self) -> Result<bool, Fault> {
        match self.embedding_type.to_lowercase().as_str() {
            "fourier" => Ok(true),
            "positional" => Ok(false),
            other => {
                Err(Fault::new("config.model.embedding_type", format!("the embedding is {other}"), "choose `fourier` or `positional`"))
            }
        }
    }

    fn ncsnpp(&self, data: &Data) -> Result<ncsnpp::Spec, Fault> {
        let embedding = match (self.fourier()?, self.fourier_scale) {
            (false, _) => EmbeddingSpec::Positional,
            (true, Some(scale)) => EmbeddingSpec::Fourier { scale },
            (true, None) => {
                return Err(Fault::new("config.model.fourier_scale", "Fourier features without a scale", "the reference's is 16"));
            }
        };
        let common = &self.common;
        Ok(ncsnpp::Spec {
            channels: common.nf,
            multipliers: common.ch_mult.clone(),
            blocks: common.num_res_blocks,
            attention: common.attention(data),
            up_attention: UpAttention::Last,
            dropout: common.dropout,
            block: self.resblock_type,
            resample: if self.fir { FilterSpec::Fir(self.fir_kernel.clone()) } else { FilterSpec::Naive },
            resample_with_convolution: common.resamp_with_conv,
            progressive_output: self.progressive,
            progressive_input: self.progressive_input,
            combine: self.progressive_combine,
            embedding,
            conditional: common.conditional,
            skip_rescale: self.skip_rescale,
            init_scale: self.init_scale,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ncsnpp_tree() -> Value {
        json!({
            "data": { "image_size": 32, "num_channels": 3, "centered": false, "dataset": "CIFAR10" },
            "model": {
                "name": "ncsnpp", "nf": 128, "ch_mult": [1, 2, 2, 2], "num_res_blocks": 4, "attn_resolutions": [16, 5], "dropout": 0.1,
                "resamp_with_conv": true, "conditional": true, "scale_by_sigma": true, "nonlinearity": "swish", "fir": true,
                "fir_kernel": [1, 3, 3, 1], "skip_rescale": true, "resblock_type": "BigGAN", "progressive": "output_skip",
                "progressive_input": "input_skip", "progressive_combine": "cat", "embedding_type": "fourier", "fourier_scale": 16,
                "init_scale": 0.0, "sigma_max": 50,
            },
        })
    }

    #[test]
    fn a_tree_becomes_a_network() {
        let reference = Reference::new(&ncsnpp_tree()).unwrap();
        assert_eq!(reference.shape, [3, 32, 32]);
        assert!(reference.log_label && reference.scale_by_sigma && !reference.centered);
        let NetworkSpec::Ncsnpp(spec) = reference.network else { panic!("not an ncsnpp") };
        assert_eq!((spec.channels, spec.blocks, spec.attention), (128, 4, vec![16]));
        assert_eq!((spec.progressive_output, spec.combine), (ncsnpp::ProgressiveOutput::OutputSkip, ncsnpp::Combine::Cat));
        assert_eq!(spec.embedding, EmbeddingSpec::Fourier { scale: 16.0 });

        let mut tree = ncsnpp_tree();
        tree["model"]["name"] = json!("ddpm");
        let reference = Reference::new(&tree).unwrap();
        assert!(matches!(reference.network, NetworkSpec::Ddpm(_)) && !reference.log_label);
    }

    #[test]
    fn trees_that_are_no_network_here_name_their_key() {
        let cases = [
            ("name", json!("ncsnv2"), "config", "ncsnv2"),
            ("nf", Value::Null, "config", "nf"),
            ("progressive", json!("both"), "config", "output-skip"),
            ("nonlinearity", json!("elu"), "config.model.nonlinearity", "elu"),
            ("embedding_type", json!("learned"), "config.model.embedding_type", "learned"),
            ("fourier_scale", Value::Null, "config.model.fourier_scale", "scale"),
            ("nf", json!(3), "config.ncsnpp.channels", "3"),
        ];
        for (key, value, place, word) in cases {
            let mut tree = ncsnpp_tree();
            match value {
                Value::Null => drop(tree["model"].as_object_mut().unwrap().remove(key)),
                value => tree["model"][key] = value,
            }
            let fault = Reference::new(&tree).unwrap_err();
            assert_eq!(fault.key, place, "{key}: {}", fault.message);
            assert!(fault.message.contains(word), "{key}: {}", fault.message);
        }
    }
}
