//! The hierarchy whose encoder only adds noise: the diffusion model of Sohl-Dickstein et al. 2015 (arXiv 1503.03585).

use std::f64::consts::PI;
use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::Drawing;
use crate::bound::{Encoder, LinearGaussian, StepsDown, Terms};
use crate::error::Fault;
use crate::law::Normal;
use crate::net::Held;
use crate::net::perceptron::Perceptron;
use crate::optim::{Builder, Init};

/// `[hierarchical_vae.diffusion]`: latent variables of the data's own size, z_l = √(1 - β_l) z_{l-1} + √β_l ε with z_0 = x, and steps down
/// with a learnt mean and a learnt diagonal variance. Sohl-Dickstein et al. 2015.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// L, 2 to 1000. An example of training takes L - 1 evaluations of the network.
    pub levels: usize,
    /// Features of the hidden layers of the network of the steps down, 1 to 65536.
    pub width: usize,
    /// Its hidden layers, 1 to 100.
    pub depth: usize,
    pub beta: Beta,
}

/// β_1, …, β_L.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Beta {
    /// β_1, in [1e-10, 1): √β_1 is the noise in a sample, in units of model space.
    pub first: f64,
    /// β_L, from `first` to below 1, at the start; those between grow by equal factors.
    pub last: f64,
    /// Whether all but β_1 are trained on the bound with the steps down. It would have β_1 go to 0 where the data have an infinite density.
    pub learnt: bool,
}

impl Beta {
    fn check(&self) -> Result<(), Fault> {
        let Beta { first, last, .. } = *self;
        if !(1e-10..1.0).contains(&first) {
            let help = "give a number from 1e-10, which the digits of f32 can tell, to below 1, such as 1e-3";
            return Err(Fault::new("first", format!("β_1 is {first}"), help));
        }
        if !(first..1.0).contains(&last) {
            return Err(Fault::new(
                "last",
                format!("β_L is {last}"),
                format!("give a number from first = {first} to below 1, such as 0.5"),
            ));
        }
        Ok(())
    }
}

impl Spec {
    pub fn check(&self) -> Result<(), Fault> {
        Fault::unless_in("levels", self.levels, 2..=1000, "40 serve two dimensions")?;
        Fault::unless_in("width", self.width, 1..=65536, "128 serves two dimensions")?;
        Fault::unless_in("depth", self.depth, 1..=100, "3 serve two dimensions")?;
        self.beta.check().map_err(|fault| fault.within("beta"))
    }

    pub(super) fn held(&self, dimension: usize) -> Held {
        let levels = self.levels as f64;
        let pass = |depth| Perceptron::held([dimension + WAVES, self.width, 2 * dimension], depth) + 16.0 * dimension as f64;
        // Without a graph a hidden layer's input and output are there at once.
        Held { with_graph: levels * pass(self.depth), without_graph: levels * pass(1) }
    }
}

/// Numbers by which the network sees its level.
const WAVES: usize = 16;

/// The hierarchy for data of `shape`.
pub fn new(spec: &Spec, shape: &[usize], builder: &Builder) -> (Chain, Down) {
    let (d, levels) = (shape.iter().product::<usize>(), spec.levels);
    let network = Perceptron::new([d + WAVES, spec.width, 2 * d].map(|n| n as i64), spec.depth, 0.0, &builder.part("down"));
    let (Beta { first, last, learnt }, (kind, device)) = (&spec.beta, builder.options());
    let beta = |l: usize| first * (last / first).powf(l as f64 / (levels - 1) as f64);
    let log_odds: Vec<f64> = (0..levels).map(|l| (beta(l) / (1.0 - beta(l))).ln()).collect();
    let learnt = learnt.then(|| builder.parameter("log_odds", &[levels as i64 - 1], Init::Constant(0.0)));
    let chain = Chain { log_odds: Tensor::from_slice(&log_odds).to_device(device), learnt };
    let wave = |l: usize, j: usize| (PI * (j + 1) as f64 * (l as f64 + 0.5) / levels as f64).cos();
    let waves: Vec<f64> = (1..levels).flat_map(|l| (0..WAVES).map(move |j| wave(l, j))).collect();
    let waves = Tensor::from_slice(&waves).view([-1, 1, WAVES as i64]).to_kind(kind).to_device(device);
    let of_batch = std::iter::once(-1).chain(shape.iter().map(|&n| n as i64)).collect();
    (chain.shallow_clone(), Down { chain, network, waves, shape: of_batch })
}

/// q.
pub struct Chain {
    /// ln β_l / (1 - β_l) at the start, `[L]`, f64.
    log_odds: Tensor,
    /// What is added to them for l from 2, `[L - 1]`.
    learnt: Option<Tensor>,
}

impl Chain {
    /// With a graph for what is learnt.
    fn steps(&self) -> LinearGaussian {
        match &self.learnt {
            None => LinearGaussian::preserving(&self.log_odds),
            Some(learnt) => LinearGaussian::preserving(&(&self.log_odds + learnt.to_kind(Kind::Double).constant_pad_nd([1, 0]))),
        }
    }

    fn shallow_clone(&self) -> Chain {
        Chain { log_odds: self.log_odds.shallow_clone(), learnt: self.learnt.as_ref().map(Tensor::shallow_clone) }
    }
}

impl Encoder for Chain {
    fn path(&self, x: &Tensor, noise: &Tensor) -> (Tensor, Normal) {
        self.steps().path(x, noise)
    }

    fn terms(&self, down: &dyn StepsDown, x: &Tensor, noise: &Tensor) -> Terms {
        self.steps().terms(down, x, noise)
    }
}

/// p(z_l | z_{l+1}) has the mean of q(z_l | z_{l+1}, x) with x̂ = α z - σ v for x, and the variances β e^s, with β, α, σ of the level
/// l + 1, z = z_{l+1}, and v, s of a network that sees z and l: v stands for α ε - σ x (Salimans & Ho 2022, arXiv 2202.00512). A fresh
/// network's v and s are nearly 0; then it is N(√(1 - β) z, β I), which leaves N(0, I) as it is.
///
/// The last step p(x | z_1) = q(z_1 | x) N(x; 0, I) / N(z_1; 0, I) is the same without a network, N(√(1 - β_1) z_1, β_1 I): a β_1 that is
/// small and not learnt keeps it near the data (appendix B.2).
pub struct Down {
    chain: Chain,
    network: Perceptron,
    /// cos π j (l + ½) / L for l from 1 and j from 1, [L - 1, 1, j].
    waves: Tensor,
    /// Of a batch of data, [-1, ...].
    shape: Vec<i64>,
}

impl Down {
    /// p(x | z_1) [B, D].
    fn last(&self, z: &Tensor) -> Normal {
        let [shrinkage, beta, ..] = self.chain.steps().numbers(1..2, z).map(|number| number.view(1));
        Normal::new(z * shrinkage.exp(), &beta)
    }
}

impl StepsDown for Down {
    fn laws(&self, levels: Range<i64>, above: &Tensor) -> Normal {
        let chain = self.chain.steps();
        let [_, beta, alpha, variance] = chain.numbers(levels.start + 1..levels.end + 1, above);
        let waves = self.waves.narrow(0, levels.start - 1, levels.end - levels.start).expand([-1, above.size()[1], -1], false);
        let said = self.network.forward(&Tensor::cat(&[above, &waves], -1)).chunk(2, -1);
        let data = alpha.exp() * above - (variance * 0.5).exp() * &said[0];
        Normal::new(chain.posteriors(levels, &data, above).mean, &(&said[1] + beta))
    }

    fn log_likelihood(&self, x: &Tensor, z: &Tensor) -> Tensor {
        self.last(z).log_density(&x.flatten(1, -1))
    }
}

impl Drawing for Down {
    fn draw(&self, z: &Tensor, noise: &Tensor) -> Tensor {
        self.last(z).draw(noise).view(self.shape.as_slice())
    }
}
