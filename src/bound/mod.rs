//! Upper bounds on the negative log-likelihood of the model that runs the reverse process from its prior, all in nats per example.
//!
//! The encoder is the forward process from x_0, q(x_t | x_0) = N(α x_0, σ² I); the model draws x_1 ~ π, follows the reverse SDE with the
//! score s down to t_min, and decodes x_0 from what is there. With the chain rule for the two laws of whole paths
//!
//! ```text
//! -ln p(x_0) <= KL(q(x_1 | x_0) ‖ π) + ½ ∫_{t_min}^1 g² E‖s(x_t, t) + z/σ‖² dt + E[-ln p(x_0 | x_{t_min})]
//! ```
//!
//! (Song et al. 2021b, arXiv 2101.09258, theorem 3; Huang et al. 2021, arXiv 2106.02808; Kingma et al. 2021, arXiv 2107.00630). Since
//! (ln α²/σ²)' = -g²/σ² for every affine drift, the integral is ½ ∫ E‖z + σ s‖² dλ over the log-SNR λ, and a uniform λ is importance
//! sampling with p(t) ∝ g²/σ² in closed form for any SDE.
//!
//! [`Elbo`] is the bound in continuous time, [`Vlb`] the one of a chain of levels with its terms L_0 … L_N ([`ChainLoss`] has it as a
//! loss), [`tightened`] the bound of k paths, [`Decoder`] the way from t_min to 0, which an exact log-density at t_min needs as well. The
//! bounds are for the law of the reverse SDE. The probability flow has the same law where s is a score ∇ ln p_t exactly; for a network the
//! two differ a little.
//!
//! The same bound over any latent variables is [`Encoder::terms`], for hierarchies whose encoder is learnt or a chain
//! ([`LinearGaussian`]) whose noise is.
//!
//! [`reverse_entropy_bounds`] is another bound, of the entropy of a single step.
//!
//! Noise and times come in as arguments; each function returns one unbiased draw, which the caller averages.

mod decoder;
mod elbo;
mod entropy;
mod hierarchy;
mod iwae;
mod level;
mod linear_gaussian;
mod training;
mod vlb;

pub use decoder::{Bins, Decoder, DecoderLaw};
pub use elbo::{Elbo, Start};
pub use entropy::{analytic_entropy, reverse_entropy, reverse_entropy_bounds};
pub use hierarchy::{Encoder, StepsDown, Terms, log_weight};
pub use iwae::tightened;
pub use level::noised;
pub use linear_gaussian::LinearGaussian;
pub use training::ChainLoss;
pub use vlb::Vlb;
