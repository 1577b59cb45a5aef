//! From a network F(x, c_noise) to a score: what goes in, what comes out.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::ScoreModel;
use crate::error::Fault;
use crate::net::Network;
use crate::sde::Sde;
use crate::tensor::{column, column_of};

/// `[precondition.*]`: how a network's output becomes a score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Precondition {
    /// The reference's parametrisation (Song et al. 2021): VP and sub-VP use score = -F(x, 999 t) / σ, VE uses F(x, ln σ) / σ. Data that do
    /// not lie in [-1, 1] are mapped there on the way in.
    Reference {},
    /// EDM's (Karras et al. 2022, arXiv 2206.00364, table 1) through (α, σ), for any SDE. With v = σ² + α² σ_data²:
    /// score = -x / v + (α σ_data / (σ √v)) F(x / √v, ¼ ln(σ / α)).
    Edm {
        /// The standard deviation of the data in model space.
        sigma_data: f64,
    },
}

impl Precondition {
    pub fn check(&self) -> Result<(), Fault> {
        match self {
            Precondition::Edm { sigma_data } if !(*sigma_data > 0.0 && sigma_data.is_finite()) => Err(Fault::new(
                "edm.sigma_data",
                format!("sigma_data is {sigma_data}"),
                "give the standard deviation of the data in model space; EDM uses 0.5 for images in [-1, 1]",
            )),
            _ => Ok(()),
        }
    }
}

/// A network with its preconditioning under one SDE.
pub struct NetworkScore<'a> {
    pub sde: &'a dyn Sde,
    pub network: &'a dyn Network,
    pub precondition: &'a Precondition,
    /// (scale, shift) of the map from the data's model range to [-1, 1]; (1, 0) for vectors.
    pub to_unit: (f64, f64),
    /// The kind the network computes in.
    pub kind: Kind,
    /// Dropout on?
    pub train: bool,
}

impl ScoreModel for NetworkScore<'_> {
    fn score(&self, x: &Tensor, t: &[f64]) -> Tensor {
        let state_kind = x.kind();
        let x = x.to_kind(self.kind);
        let sde = self.sde;
        let noise = |label: &dyn Fn(f64) -> f64| column(&x, t.iter().map(|&t| label(t))).view(-1);
        let score = match self.precondition {
            Precondition::Reference {} => {
                let (scale, shift) = self.to_unit;
                let input = if self.to_unit == (1.0, 0.0) { x.shallow_clone() } else { &x * scale + shift };
                let output = self.network.forward(&input, &noise(&|t| sde.reference_parametrisation(t).0), self.train);
                output * column_of(&x, t, |t| sde.reference_parametrisation(t).1)
            }
            Precondition::Edm { sigma_data } => {
                let variance = |t: f64| sde.sigma(t).powi(2) + (sde.alpha(t) * sigma_data).powi(2);
                let input = &x * column_of(&x, t, |t| variance(t).sqrt().recip());
                let output = self.network.forward(&input, &noise(&|t| -0.125 * sde.log_snr(t)), self.train);
                let gain = column_of(&x, t, |t| sde.alpha(t) * sigma_data / (sde.sigma(t) * variance(t).sqrt()));
                output * gain - &x * column_of(&x, t, |t| variance(t).recip())
            }
        };
        score.to_kind(state_kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sde::{Ve, Vp};

    /// F(x, c) = x · c, so that what goes in can be read from what comes out.
    struct Product;
    impl Network for Product {
        fn forward(&self, x: &Tensor, noise: &Tensor, _train: bool) -> Tensor {
            x * noise.view([-1, 1])
        }
    }

    fn score(sde: &dyn Sde, precondition: &Precondition, to_unit: (f64, f64), x: f64, t: f64) -> f64 {
        let model = NetworkScore { sde, network: &Product, precondition, to_unit, kind: Kind::Double, train: false };
        model.score(&Tensor::from_slice(&[x]).view([1, 1]), &[t]).double_value(&[0, 0])
    }

    #[test]
    fn reference_parametrisation_is_the_papers() {
        let vp = Vp { beta_min: 0.1, beta_max: 20.0 };
        let truth = -0.7 * 999.0 * 0.3 / vp.sigma(0.3);
        assert!((score(&vp, &Precondition::Reference {}, (1.0, 0.0), 0.7, 0.3) - truth).abs() < 1e-10);
        let ve = Ve { sigma_min: 0.01, sigma_max: 50.0 };
        let truth = (2.0 * 0.7 - 1.0) * ve.sigma(0.3).ln() / ve.sigma(0.3);
        assert!((score(&ve, &Precondition::Reference {}, (2.0, -1.0), 0.7, 0.3) - truth).abs() < 1e-10);
    }

    #[test]
    fn edm_is_the_denoiser_of_the_paper() {
        let (sigma_data, x, t) = (0.5, 0.7, 0.4);
        for sde in [&Vp { beta_min: 0.1, beta_max: 20.0 } as &dyn Sde, &Ve { sigma_min: 0.01, sigma_max: 50.0 }] {
            let (alpha, s) = (sde.alpha(t), sde.sigma(t) / sde.alpha(t));
            let total = s * s + sigma_data * sigma_data;
            let (c_skip, c_out, c_in, c_noise) =
                (sigma_data * sigma_data / total, s * sigma_data / total.sqrt(), 1.0 / total.sqrt(), s.ln() / 4.0);
            let denoised = c_skip * x / alpha + c_out * (c_in * x / alpha) * c_noise;
            let truth = (alpha * denoised - x) / sde.sigma(t).powi(2);
            let got = score(sde, &Precondition::Edm { sigma_data }, (1.0, 0.0), x, t);
            assert!((got - truth).abs() < 1e-9 * truth.abs(), "{got} is not {truth}");
        }
    }
}
