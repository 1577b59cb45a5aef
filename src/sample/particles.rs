//! Samples by particles.

use std::ops::Range;

use tch::Tensor;

use super::{Drawn, Sample, Start, f32s};
use crate::dynamics::Reverse;
use crate::error::Result;
use crate::guidance::Particles;
use crate::law::noise_rows;
use crate::rng::{self, Law, Purpose};

/// Draws these samples, each of the particles that its own numbers lead.
pub(super) fn solve(
    spec: &Sample,
    seed: u64,
    (particles, condition): (&Particles, Option<&Tensor>),
    start: &Start,
    rows: Range<u64>,
    watch: &mut dyn FnMut(f64),
) -> Result<Drawn> {
    let sde = particles.model().sde();
    let (shape, device) = ([&[particles.count() as i64], &start.shape()[..]].concat(), start.device());
    let x = noise_rows(sde.noise(), seed, Purpose::Prior, rows.clone(), 0, &shape, device) * sde.prior_std();
    let mut noise =
        |draw: usize| rng::rows(Law::Gaussian, seed, Purpose::Brownian, rows.clone(), draw as u64, &shape, device).flatten(0, 1);
    let mut uniform = |draw: usize| rng::uniform_rows(seed, Purpose::Resampling, rows.clone(), draw as u64);
    let reverse = Reverse { model: particles.model(), eta: spec.dynamics.eta() };
    let (times, steps) = spec.solver.gaussian_steps(&reverse, spec.t_min)?;
    let (x, statistics) =
        particles.solve((&times, &steps), (spec.denoise, condition), &x.flatten(0, 1), &mut noise, &mut uniform, watch)?;
    Ok(Drawn { x: f32s(&x), statistics, states: Vec::new(), times: Vec::new() })
}
