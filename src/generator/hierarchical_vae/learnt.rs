//! A hierarchy with a learnt encoder.

use std::f64::consts::{FRAC_1_SQRT_2, LN_2};
use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::Drawing;
use crate::bound::{Encoder, StepsDown};
use crate::error::Fault;
use crate::generator::vae::decoder::{Decoder, DecoderSpec};
use crate::law::Normal;
use crate::net::Held;
use crate::net::perceptron::Perceptron;
use crate::optim::Builder;
use crate::space::Scale;

/// `[hierarchical_vae.learnt]`: Gaussian steps up q(z_1 | x), q(z_l | z_{l-1}), and Gaussian steps down p(z_l | z_{l+1}), each with a
/// network of its own. One level is `[vae]`. Rezende et al. 2014.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// L, 1 to 100.
    pub levels: usize,
    /// Latent variables of a level, 1 to 65536.
    pub latent: usize,
    /// Features of the hidden layers of every step, 1 to 65536.
    pub width: usize,
    /// Hidden layers of every step, 0 to 100; 0 makes all steps affine.
    pub depth: usize,
    pub decoder: DecoderSpec,
}

impl Spec {
    pub fn check(&self, scale: Scale) -> Result<(), Fault> {
        Fault::unless_in("levels", self.levels, 1..=100, "2 or 3 are usual")?;
        Fault::unless_in("latent", self.latent, 1..=65536, "2 serve two dimensions")?;
        Fault::unless_in("width", self.width, 1..=65536, "128 serves two dimensions")?;
        Fault::unless_in("depth", self.depth, 0..=100, "2 serves two dimensions")?;
        self.decoder.check(scale)
    }

    pub(super) fn held(&self, dimension: usize) -> Held {
        let &Spec { levels, latent, width, depth, .. } = self;
        let ends = Perceptron::held([dimension, width, 2 * latent], depth) + Perceptron::held([latent, width, dimension], depth);
        let step = Perceptron::held([latent, width, 2 * latent], depth);
        let numbers = (16 * levels * latent + 6 * dimension) as f64;
        // Without a graph a hidden layer's input and output are there at once, of one step.
        Held { with_graph: ends + 2.0 * (levels - 1) as f64 * step + numbers, without_graph: 2.0 * width as f64 + numbers }
    }
}

/// The hierarchy for data of `shape`.
pub fn new(spec: &Spec, shape: &[usize], scale: Scale, builder: &Builder) -> (Up, Down) {
    let [d, latent, width] = [shape.iter().product(), spec.latent, spec.width].map(|n| n as i64);
    let network = |inputs, outputs, last, builder: &Builder| Perceptron::new([inputs, width, outputs], spec.depth, last, builder);
    let steps = |name: &str| {
        let step = |l| Step(network(latent, 2 * latent, 0.0, &builder.part(name).part(l)));
        (1..spec.levels).map(step).collect::<Vec<_>>()
    };
    let up = Up { first: network(d, 2 * latent, 1.0, &builder.part("encoder")), steps: steps("up") };
    let mean = network(latent, d, 1.0, &builder.part("decoder"));
    let mean = Box::new(move |z: &Tensor| mean.forward(z));
    (up, Down { steps: steps("down"), decoder: Decoder::new(spec.decoder, mean, shape, scale, builder) })
}

/// μ and ω of a network's output [..., 2 n].
fn normal(output: &Tensor) -> Normal {
    let mut halves = output.chunk(2, -1).into_iter();
    let mut next = || halves.next().expect("two halves");
    Normal { mean: next(), log_variance: next() }
}

/// N(z/√2 + m(z), ½ diag e^s(z)) from one level to the next, with m and s nearly 0 in a fresh network: steps up and steps down then leave
/// N(0, I) as it is and are each other's reverse, so that a hierarchy of any height begins as good as a VAE.
struct Step(Perceptron);

impl Step {
    fn law(&self, z: &Tensor) -> Normal {
        let Normal { mean, log_variance } = normal(&self.0.forward(z));
        Normal { mean: mean + z * FRAC_1_SQRT_2, log_variance: log_variance - LN_2 }
    }
}

/// q.
pub struct Up {
    /// x -> μ and ω of z_1.
    first: Perceptron,
    /// z_{l-1} -> z_l for l from 2.
    steps: Vec<Step>,
}

impl Encoder for Up {
    fn path(&self, x: &Tensor, noise: &Tensor) -> (Tensor, Normal) {
        let first = normal(&self.first.forward(&x.flatten(1, -1)));
        let mut z = vec![first.draw(&noise.get(0))];
        let mut laws = vec![first];
        for (step, noise) in self.steps.iter().zip(noise.unbind(0).into_iter().skip(1)) {
            let law = step.law(&z[z.len() - 1]);
            z.push(law.draw(&noise));
            laws.push(law);
        }
        (Tensor::stack(&z, 0), stacked(&laws))
    }
}

/// Laws [B, n] of several levels as [levels, B, n].
fn stacked(laws: &[Normal]) -> Normal {
    let all = |of: fn(&Normal) -> &Tensor| Tensor::stack(&laws.iter().map(of).collect::<Vec<_>>(), 0);
    Normal { mean: all(|law| &law.mean), log_variance: all(|law| &law.log_variance) }
}

/// p.
pub struct Down {
    /// z_{l+1} -> z_l for l from 1.
    steps: Vec<Step>,
    decoder: Decoder,
}

impl StepsDown for Down {
    fn laws(&self, levels: Range<i64>, above: &Tensor) -> Normal {
        let steps = &self.steps[levels.start as usize - 1..levels.end as usize - 1];
        stacked(&steps.iter().zip(above.unbind(0)).map(|(step, above)| step.law(&above)).collect::<Vec<_>>())
    }

    fn log_likelihood(&self, x: &Tensor, z: &Tensor) -> Tensor {
        self.decoder.log_likelihood(x, z)
    }
}

impl Drawing for Down {
    fn draw(&self, z: &Tensor, noise: &Tensor) -> Tensor {
        self.decoder.draw(z, noise)
    }
}
