//! Score-based generative modelling through stochastic differential equations (Song et al. 2021, arXiv 2011.13456), on LibTorch.
//!
//! A researcher edits one TOML file and types `score-sde run experiments/quickstart.toml`: a score network s(x, t) ≈ ∇ₓ ln p_t(x) is
//! trained, samples are drawn, the likelihood is measured with an error bar, and all of it lands in one run folder.
//!
//! # The path of a batch
//!
//! ```text
//! experiments/x.toml   experiment::load        parsed and checked, with its data, before any work
//!                      run::Run                runs/x/: resolved experiment, lock, checkpoints, curves
//! train::train         data::Batches           x0 [B, ...], assembled ahead of the step
//!                      rng, loss::TimeLaw      t [B] ~ U(t_min, 1) or another law, z ~ N(0, I)
//!                      loss                    λ(t) ‖s(α x0 + σ z, t) + z/σ‖², with score::NetworkScore around a net::Network
//!                      optim                   flat gradient -> clip -> Adam -> EMA
//!                      run::checkpoint         temporary name, fsync, rename
//! sample::sample       dynamics, solver        x_T ~ prior -> reverse SDE or probability flow -> last denoise -> pixels
//! dequantisation::…    bound, net::coupling    u | pixels, trained with the score fixed where it is asked for
//! likelihood::…        trace, dynamics, solver (x, 0) -> flow with its change of log-density -> prior -> nats, bits/dim ± error
//!                      bound                   the same examples bounded: continuous time, a chain term by term, k paths
//! ```
//!
//! # Conventions
//!
//! Time t runs from 0 (data) to 1 (prior). Schedules are f64 functions of t ([`sde::Sde`]), tensors have the batch first, and every
//! example has its own time. *Data units* are pixel values 0..=255 or the vectors of a file; *model space* is what the network sees;
//! [`data::Scale`] maps one to the other and knows the determinant. Likelihoods are negative log-likelihoods, in nats or bits/dim.
//!
//! Every random number is a function of (seed, purpose, index) ([`rng`]): an interrupted and resumed run ends with the same bits as an
//! unbroken one, and sample i does not depend on its batch, unless a solver is told to couple it ([`solver::Control`],
//! [`solver::Norms`]).
//!
//! # The map
//!
//! From the outside in, and in a row from left to right; a module uses those that come later, which a test holds (`tests/map.rs`).
//!
//! | modules | what |
//! | --- | --- |
//! | [`cli`] | one file for each verb |
//! | [`experiment`] | the experiment file, checked |
//! | [`parity`] | golden cases of the reference through all of the below |
//! | [`lab`] | solvers compared: what each costs and how far off it is |
//! | [`likelihood`], [`dequantisation`], [`sample`], [`train`] | what a run does: one loop each |
//! | [`run`] | the run folder |
//! | [`plot`], [`metric`] | pictures; distances between laws |
//! | [`data`] | data sets and batches |
//! | [`pth`] | PyTorch's checkpoints, read without running them |
//! | [`bound`], [`solver`], [`loss`], [`dynamics`], [`divergence`] | the mathematics, on tensors; no I/O, no random numbers |
//! | [`testing`] | worlds in which everything is known, for tests and benches |
//! | [`model`] | scores: exact, of a network, decorated |
//! | [`net`], [`optim`] | networks, layers; parameters, Adam, EMA |
//! | [`law`], [`space`], [`sde`] | Gaussian mixtures; data units and model space; the forward processes, on f64 |
//! | [`tensor`], [`rng`], [`progress`], [`error`] | helpers, randomness, what a person sees, the one error type |

pub mod bound;
pub mod cli;
pub mod data;
pub mod dequantisation;
pub mod divergence;
pub mod dynamics;
pub mod error;
pub mod experiment;
pub mod lab;
pub mod law;
pub mod likelihood;
pub mod loss;
pub mod metric;
pub mod model;
pub mod net;
pub mod optim;
pub mod parity;
pub mod plot;
pub mod progress;
pub mod pth;
pub mod rng;
pub mod run;
pub mod sample;
pub mod sde;
pub mod solver;
pub mod space;
pub mod tensor;
#[doc(hidden)]
pub mod testing;
pub mod train;
