//! Models of x given a measurement y = A x + σ_y n: the score of x_t given y is that of x_t and a term for y,
//! ∇ ln p_t(x | y) = s(x, t) + ∇ ln p(y | x_t).
//!
//! What p(y | x_t) is nobody knows but for Gaussians and mixtures of them. Each [`Method`] takes x_0 given x_t for a Gaussian around the
//! denoised state x̂ = D(x, t), so that p(y | x_t) ≈ N(y; A x̂, σ_y² I + A V Aᵀ), and
//!
//! ```text
//! ∇ ln p(y | x_t) ≈ (∂x̂/∂x)ᵀ Aᵀ (σ_y² I + A V Aᵀ)⁻¹ (y - A x̂).
//! ```
//!
//! They differ in V. [`Replacement`] has no such term: it puts what is known of x into the states of a predictor-corrector walk. [`Particles`]
//! take such a term for a proposal, and weights make up for what is wrong with it. x̂ and all products with its Jacobian come from one forward
//! pass.
//!
//! [`Contrast`] is for what a model is told already, or for what it does badly: it goes away from a model that is told less, or is worse;
//! [`Classified`] goes where a classifier sees the class; [`Product`] is of a law times a factor.

mod classified;
mod conjugate_gradients;
mod contrast;
mod observation;
mod particles;
mod posterior;
mod product;
mod pseudo_inverse;
mod replacement;
mod spec;
mod table;
mod term;
mod way;

pub use classified::{Classified, LogProbabilities};
pub use contrast::Contrast;
pub use observation::Observed;
pub use particles::{Particles, Uniform};
pub use posterior::Posterior;
pub use product::{Factor, Product};
pub use replacement::Replacement;
pub use spec::{Method, Observation, Spec};
pub use table::{Autoguidance, Guidance, Strength};
pub use way::Way;

#[cfg(test)]
mod tests;
