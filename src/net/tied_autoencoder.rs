//! The denoising autoencoder with tied weights (Vincent 2011, "A connection between score matching and denoising autoencoders", sec. 4).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Dropout, Network, Told};
use crate::error::Fault;
use crate::optim::{Builder, Init};

/// `[network.tied-autoencoder]`: one hidden layer, for one level of noise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Units of the hidden layer, 1 to 1,000,000.
    pub hidden: usize,
}

impl Spec {
    pub fn check(&self) -> Result<(), Fault> {
        Fault::unless_in("hidden", self.hidden, 1..=1_000_000, "a few times the dimension of the data")
    }
}

/// F(x) = Wᵀ sigmoid(W x + b) + c for x of any shape with D numbers, W [hidden, D] (Vincent 2011, eq. 4); it is told of no noise level.
///
/// As a prediction of the data under VE at one σ, its score (F - x) / σ² is the gradient of
/// (⟨c, x⟩ - ½ ‖x‖² + Σ_j softplus(⟨W_j, x⟩ + b_j)) / σ² (eq. 15), and denoising score matching is the autoencoder's own loss.
pub struct TiedAutoencoder {
    weight: Tensor,
    hidden_bias: Tensor,
    bias: Tensor,
}

impl TiedAutoencoder {
    /// `spec` must have passed its check. W starts uniform with the variance of Glorot & Bengio 2010, eq. 16.
    pub fn new(spec: &Spec, dimension: usize, builder: &Builder) -> TiedAutoencoder {
        let (hidden, dimension) = (spec.hidden as i64, dimension as i64);
        let bound = (6.0 / (hidden + dimension) as f64).sqrt();
        TiedAutoencoder {
            weight: builder.parameter("W", &[hidden, dimension], Init::Uniform(bound)),
            hidden_bias: builder.parameter("b", &[hidden], Init::Constant(0.0)),
            bias: builder.parameter("c", &[dimension], Init::Constant(0.0)),
        }
    }
}

impl Network for TiedAutoencoder {
    fn forward(&self, x: &Tensor, _told: &Told, _dropout: Option<&Dropout>) -> Tensor {
        let hidden = x.flatten(1, -1).linear(&self.weight, Some(&self.hidden_bias)).sigmoid();
        (hidden.matmul(&self.weight) + &self.bias).view_as(x)
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, no_grad};

    use super::*;
    use crate::loss::{Batch, Reduction, denoising_score_matching};
    use crate::model::{At, Label, Model, Output, Parametrisation, Preconditioned};
    use crate::sde::Sde;
    use crate::tensor::to_vec;
    use crate::testing::{VE, largest, normal};

    #[test]
    fn its_score_is_a_gradient_and_its_denoising_loss_the_autoencoders() {
        tch::set_num_threads(1);
        let builder = Builder::new(1, Kind::Double, Device::Cpu);
        let network = TiedAutoencoder::new(&Spec { hidden: 7 }, 3, &builder);
        let parameters = builder.finish();
        no_grad(|| parameters.flat().shallow_clone().copy_(&normal(1, &parameters.flat().size())));
        let (t, parametrisation) = (0.4, Parametrisation::Plain(Label::Sigma, Output::Data));
        let model = Preconditioned {
            sde: &VE,
            network: &network,
            parametrisation: &parametrisation,
            to_unit: (1.0, 0.0),
            kind: Kind::Double,
            dropout: None,
        };
        let sigma = VE.sigma(t);
        let x = normal(2, &[5, 3]).set_requires_grad(true);
        let units = x.linear(&network.weight, Some(&network.hidden_bias));
        let minus_energy = (x.matmul(&network.bias) - x.square().sum_dim_intlist(1i64, false, None::<Kind>) * 0.5
            + units.softplus().sum_dim_intlist(1i64, false, None::<Kind>))
            / sigma.powi(2);
        let gradient = Tensor::run_backward(&[minus_energy.sum(Kind::Double)], &[&x], true, false).remove(0);
        let apart = (model.score(&At::whole(&x, &[t; 5])) - gradient) * sigma.powi(2);
        assert!(largest(&apart) < 1e-12, "{apart}");

        let (x0, z) = (normal(3, &[5, 3]), normal(4, &[5, 3]));
        let w = [sigma.powi(2); 5];
        let losses = denoising_score_matching(&model, Reduction::HalfSum, &Batch { x0: &x0, t: &[t; 5], z: &z, w: &w });
        let reconstruction = network.forward(&(&x0 + &z * sigma), &Told::noise(&Tensor::from_slice(&[0.0])), None);
        let own = (reconstruction - &x0).square().sum_dim_intlist(1i64, false, None::<Kind>) * 0.5;
        assert!(largest(&(&losses - &own)) < 1e-9, "{:?} are not {:?}", to_vec(&losses), to_vec(&own));
        assert_eq!(parameters.gradient(&losses.mean(None)).count_nonzero(None).int64_value(&[]) as usize, parameters.count());
    }

    #[test]
    fn images_are_their_numbers() {
        tch::set_num_threads(1);
        let builder = Builder::new(1, Kind::Double, Device::Cpu);
        let network = TiedAutoencoder::new(&Spec { hidden: 5 }, 12, &builder);
        let (x, noise) = (normal(1, &[2, 3, 2, 2]), Tensor::from_slice(&[0.0]));
        let flat = network.forward(&x.flatten(1, -1), &Told::noise(&noise), None);
        assert!(largest(&(network.forward(&x, &Told::noise(&noise), None).flatten(1, -1) - flat)) < 1e-12);
    }
}
