//! Noise labels as vectors of sines and cosines.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::error::Fault;
use crate::optim::{Builder, Init};

/// How a network sees its noise label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum EmbeddingSpec {
    /// Sines and cosines of fixed, geometrically spaced frequencies from 1 to 1e-4 per unit of the label: for labels that count steps,
    /// 0 to about 1000. Vaswani et al. 2017, sec. 3.5, as in Ho et al. 2020.
    Positional,
    /// Sines and cosines of random frequencies W ~ N(0, scale²) that are never trained: for labels of order 1, such as ln σ. Tancik et al.
    /// 2020. A small scale makes the network smooth in the label, which adaptive solvers reward with longer steps.
    Fourier {
        /// In inverse units of the label, above 0; the reference uses 16 with the label ln σ.
        scale: f64,
    },
}

impl EmbeddingSpec {
    pub fn check(&self) -> Result<(), Fault> {
        match self {
            EmbeddingSpec::Fourier { scale } if !(scale.is_finite() && *scale > 0.0) => Err(Fault::new(
                "embedding.fourier.scale",
                format!("the standard deviation of the Fourier frequencies is {scale}"),
                "give a positive number; the reference uses 16 with the label ln σ",
            )),
            _ => Ok(()),
        }
    }
}

/// φ: label `[B]` -> [B, width].
pub enum Embedding {
    Positional { frequencies: Tensor, odd: bool },
    Fourier { frequencies: Tensor },
}

impl Embedding {
    /// `size` is the width of a positional embedding and the number of frequencies of a Fourier embedding, whose width is twice that. The
    /// Fourier frequencies are `W` of the builder's part `name`.
    pub fn new(spec: &EmbeddingSpec, size: i64, builder: &Builder) -> Embedding {
        match spec {
            EmbeddingSpec::Positional => {
                let half = size / 2;
                let step = 1e4f64.ln() / (half - 1) as f64;
                let frequencies: Vec<f64> = (0..half).map(|j| (-step * j as f64).exp()).collect();
                let (kind, device) = builder.options();
                Embedding::Positional { frequencies: Tensor::from_slice(&frequencies).to_kind(kind).to_device(device), odd: size % 2 == 1 }
            }
            EmbeddingSpec::Fourier { scale } => Embedding::Fourier { frequencies: builder.frozen("W", &[size], Init::Normal(*scale)) },
        }
    }

    /// Numbers per label.
    pub fn width(&self) -> i64 {
        match self {
            Embedding::Positional { frequencies, odd } => 2 * frequencies.size()[0] + *odd as i64,
            Embedding::Fourier { frequencies } => 2 * frequencies.size()[0],
        }
    }

    /// [sin(ω label), cos(ω label)], ω the frequencies (2π W for Fourier); an odd positional width ends with a zero.
    pub fn forward(&self, label: &Tensor) -> Tensor {
        let angle = match self {
            Embedding::Positional { frequencies, .. } => label.outer(frequencies),
            Embedding::Fourier { frequencies } => label.outer(frequencies) * std::f64::consts::TAU,
        };
        let waves = Tensor::cat(&[angle.sin(), angle.cos()], 1);
        if matches!(self, Embedding::Positional { odd: true, .. }) { waves.constant_pad_nd([0, 1]) } else { waves }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    fn embed(spec: &EmbeddingSpec, size: i64, label: f64) -> Vec<f64> {
        tch::set_num_threads(1);
        let builder = Builder::new(1, Kind::Double, Device::Cpu);
        let embedding = Embedding::new(spec, size, &builder);
        let waves = embedding.forward(&Tensor::from_slice(&[label]));
        assert_eq!(waves.size(), [1, embedding.width()]);
        Vec::try_from(waves.view(-1)).unwrap()
    }

    #[test]
    fn positional_frequencies_run_from_one_to_a_ten_thousandth() {
        let (label, waves) = (37.0, embed(&EmbeddingSpec::Positional, 7, 37.0));
        let truth: Vec<f64> = [1.0, 1e-2, 1e-4].iter().flat_map(|w: &f64| [(w * label).sin(), (w * label).cos()]).collect();
        for (j, wave) in [0, 3, 1, 4, 2, 5].into_iter().zip(truth) {
            assert!((waves[j] - wave).abs() < 1e-14, "wave {j} is {}, not {wave}", waves[j]);
        }
        assert_eq!(waves[6], 0.0);
    }

    #[test]
    fn fourier_waves_have_the_asked_spread() {
        // E cos(2π W l) = exp(-(2π scale l)² / 2) for W ~ N(0, scale²)
        let (scale, label) = (4.0, 0.04);
        let waves = embed(&EmbeddingSpec::Fourier { scale }, 20_000, label);
        let mean = waves[20_000..].iter().sum::<f64>() / 20_000.0;
        let truth = (-(std::f64::consts::TAU * scale * label).powi(2) / 2.0).exp();
        assert!((mean - truth).abs() < 0.02, "{mean} is not {truth}");
    }

    #[test]
    fn a_scale_that_is_not_positive_is_refused() {
        for scale in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(EmbeddingSpec::Fourier { scale }.check().unwrap_err().key, "embedding.fourier.scale");
        }
        assert!(EmbeddingSpec::Fourier { scale: 16.0 }.check().is_ok());
    }
}
