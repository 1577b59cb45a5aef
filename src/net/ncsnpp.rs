//! NCSN++ and DDPM++: the networks of Song et al. 2021, app. C and H, with every choice of that family.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::block::BlockKind;
use super::embedding::EmbeddingSpec;
use super::resample::FilterSpec;
use crate::error::Fault;

/// `[network.ncsnpp]`: a U-Net for images, DDPM++ and NCSN++ of Song et al. 2021.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Channels of the first level, 4 to 8192; also the size of the noise embedding. The reference uses 128.
    pub channels: usize,
    /// Channels of each level as multiples of `channels`, 1 to 256, for 1 to 16 levels; each level has half the size of the one before.
    pub multipliers: Vec<usize>,
    /// Residual blocks in each level on the way down, 1 to 1000; one more on the way up.
    pub blocks: usize,
    /// Image sizes at which attention follows the blocks, each one of a level.
    pub attention: Vec<usize>,
    /// After which blocks of such a size on the way up, `last` or `each`; left out, `last`.
    #[serde(default, skip_serializing_if = "UpAttention::is_last")]
    pub up_attention: UpAttention,
    /// Probability that a feature is dropped in training, in [0, 1).
    pub dropout: f64,
    pub block: BlockKind,
    pub resample: FilterSpec,
    /// Whether the resampling layers between `ddpm` blocks have a convolution.
    pub resample_with_convolution: bool,
    pub progressive_output: ProgressiveOutput,
    pub progressive_input: ProgressiveInput,
    /// How `input-skip` joins the image to the features.
    pub combine: Combine,
    pub embedding: EmbeddingSpec,
    /// Whether the network sees its noise label at all.
    pub conditional: bool,
    /// Whether each sum of a residual branch and its shortcut is divided by √2.
    pub skip_rescale: bool,
    /// Scale of the last layer of each residual branch at the start, at least 0; 0 makes every block start as its shortcut.
    pub init_scale: f64,
}

/// Which blocks of a level attention follows on the way up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UpAttention {
    /// The last one, as in Song et al. 2021.
    #[default]
    Last,
    /// Each one, as in the networks of Ho et al. 2020.
    Each,
}

impl UpAttention {
    pub(super) fn is_last(&self) -> bool {
        *self == UpAttention::Last
    }
}

/// How the levels on the way up build the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProgressiveOutput {
    /// By the last level alone.
    None,
    /// As a sum of images, one from each level, the coarser ones upsampled. Karras et al. 2020.
    OutputSkip,
    /// As a residual network over the levels, with learned upsampling.
    Residual,
}

/// How the levels on the way down see the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProgressiveInput {
    /// Through the first level alone.
    None,
    /// Downsampled, at every level.
    InputSkip,
    /// As a residual network over the levels, with learned downsampling.
    Residual,
}

/// How two feature maps become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Combine {
    Sum,
    Cat,
}

/// The channels of one level.
pub(super) struct Stage {
    /// Channels inside.
    pub width: i64,
    /// Channels that enter each block on the way down.
    pub down: Vec<i64>,
    /// Channels that enter each block on the way up: those from below and those kept on the way down.
    pub up: Vec<i64>,
    /// Image width.
    pub size: usize,
}

/// Levels of a network.
const MOST_LEVELS: usize = 16;

impl Spec {
    /// Whether this network can serve images [channels, height, width].
    pub fn check(&self, shape: [usize; 3]) -> Result<(), Fault> {
        self.check_with(shape, groups)
    }

    pub(super) fn check_with(&self, [_, height, width]: [usize; 3], groups: fn(i64) -> i64) -> Result<(), Fault> {
        Fault::unless_in("channels", self.channels, 4..=8192, "a multiple of 32, such as 128")?;
        Fault::unless_in("blocks", self.blocks, 1..=1000, "the reference uses 4 or 8")?;
        if !(1..=MOST_LEVELS).contains(&self.multipliers.len()) {
            let message = format!("there are {} multipliers", self.multipliers.len());
            return Err(Fault::new("multipliers", message, format!("give one for each level, 1 to {MOST_LEVELS}, such as [1, 2, 2, 2]")));
        }
        let in_range = |&multiplier: &usize| Fault::unless_in("multipliers", multiplier, 1..=256, "the reference uses [1, 2, 2, 2]");
        self.multipliers.iter().try_for_each(in_range)?;
        let halvings = self.multipliers.len() - 1;
        if [height, width].iter().any(|size| size.trailing_zeros() < halvings as u32) {
            return Err(Fault::new(
                "multipliers",
                format!("{} levels halve the image {halvings} times, but {height}x{width} can't be halved so often", halvings + 1),
                "give fewer multipliers, or pad the images",
            ));
        }
        let sizes: Vec<usize> = (0..=halvings).map(|level| width >> level).collect();
        if let Some(size) = self.attention.iter().find(|size| !sizes.contains(size)) {
            return Err(Fault::new("attention", format!("no level has size {size}"), format!("the sizes of the levels are {sizes:?}")));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Fault::new("dropout", format!("dropout is {}", self.dropout), "give a probability, 0 or more and below 1"));
        }
        if !(self.init_scale.is_finite() && self.init_scale >= 0.0) {
            return Err(Fault::new("init_scale", format!("init_scale is {}", self.init_scale), "give 0 (the reference's choice) or more"));
        }
        self.resample.check()?;
        self.embedding.check()?;
        let mut normalised = self.levels(width).into_iter().flat_map(|level| level.down.into_iter().chain(level.up).chain([level.width]));
        if let Some(channels) = normalised.find(|&channels| channels % groups(channels) != 0) {
            return Err(Fault::new(
                "channels",
                format!("{channels} channels, which one of the blocks has, can't be normalised in {} equal groups", groups(channels)),
                "choose channels, and multipliers, so that every level has a multiple of 32",
            ));
        }
        Ok(())
    }

    /// The channels of each level, from fine to coarse, for images of this width.
    pub(super) fn levels(&self, size: usize) -> Vec<Stage> {
        let mut channels = self.channels as i64;
        let mut kept = vec![channels];
        let last = self.multipliers.len() - 1;
        let mut levels = Vec::new();
        for (i, &multiplier) in self.multipliers.iter().enumerate() {
            let width = (self.channels * multiplier) as i64;
            let mut down = Vec::new();
            for _ in 0..self.blocks {
                down.push(std::mem::replace(&mut channels, width));
                kept.push(channels);
            }
            if i < last {
                if self.progressive_input == ProgressiveInput::InputSkip && self.combine == Combine::Cat {
                    channels *= 2;
                }
                kept.push(channels);
            }
            levels.push(Stage { width, down, up: Vec::new(), size: size >> i });
        }
        for level in levels.iter_mut().rev() {
            for _ in 0..=self.blocks {
                let skip = kept.pop().expect("as many blocks up as tensors kept on the way down");
                level.up.push(std::mem::replace(&mut channels, level.width) + skip);
            }
        }
        levels
    }
}

/// Groups of the normalisation: 32, or fewer so that each has at least 4 channels.
pub(super) fn groups(channels: i64) -> i64 {
    (channels / 4).min(32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Interface, NetworkSpec};

    const VE_CIFAR: &str = r#"
        channels = 128
        multipliers = [1, 2, 2, 2]
        blocks = 4
        attention = [16]
        dropout = 0.1
        block = "biggan"
        resample = { fir = [1, 3, 3, 1] }
        resample_with_convolution = true
        progressive_output = "none"
        progressive_input = "residual"
        combine = "sum"
        embedding = { fourier = { scale = 16.0 } }
        conditional = true
        skip_rescale = true
        init_scale = 0.0
    "#;

    fn spec() -> Spec {
        toml::from_str(VE_CIFAR).unwrap()
    }

    #[test]
    fn reads_the_experiment_file_and_writes_it_back() {
        let spec = spec();
        assert_eq!(spec.resample, FilterSpec::Fir(vec![1.0, 3.0, 3.0, 1.0]));
        assert_eq!(toml::from_str::<Spec>(&toml::to_string(&spec).unwrap()).unwrap(), spec);
        let named = Spec { resample: FilterSpec::Naive, embedding: EmbeddingSpec::Positional, ..spec };
        let text = toml::to_string(&named).unwrap();
        assert!(text.contains("resample = \"naive\"") && text.contains("embedding = \"positional\""), "{text}");
        assert_eq!(toml::from_str::<Spec>(&text).unwrap(), named);
    }

    #[test]
    fn has_the_published_number_of_parameters() {
        assert_eq!(NetworkSpec::Ncsnpp(spec()).parameter_count(&Interface::plain(&[3, 32, 32])), 62_758_787);
    }

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        let good = spec();
        assert_eq!(good.check([3, 32, 32]), Ok(()));
        assert_eq!(good.check([1, 16, 32]), Ok(()));
        let cases: [(&str, [usize; 3], Spec); 11] = [
            ("channels", [3, 32, 32], Spec { channels: 0, ..good.clone() }),
            ("channels", [3, 32, 32], Spec { channels: 144, ..good.clone() }),
            ("multipliers", [3, 32, 32], Spec { multipliers: vec![], ..good.clone() }),
            ("multipliers", [3, 32, 32], Spec { multipliers: vec![1, 0], ..good.clone() }),
            ("multipliers", [3, 28, 28], good.clone()),
            ("blocks", [3, 32, 32], Spec { blocks: 0, ..good.clone() }),
            ("attention", [3, 32, 32], Spec { attention: vec![16, 12], ..good.clone() }),
            ("dropout", [3, 32, 32], Spec { dropout: 1.0, ..good.clone() }),
            ("init_scale", [3, 32, 32], Spec { init_scale: -1.0, ..good.clone() }),
            ("resample.fir", [3, 32, 32], Spec { resample: FilterSpec::Fir(vec![1.0]), ..good.clone() }),
            ("embedding.fourier.scale", [3, 32, 32], Spec { embedding: EmbeddingSpec::Fourier { scale: 0.0 }, ..good.clone() }),
        ];
        for (key, shape, spec) in cases {
            assert_eq!(spec.check(shape).unwrap_err().key, key, "{spec:?}");
        }
        assert_eq!(NetworkSpec::Ncsnpp(good).check(&[2]).unwrap_err().key, "ncsnpp");
    }
}
