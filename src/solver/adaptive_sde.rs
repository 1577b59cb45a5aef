//! Adaptive steps for the reverse SDE, one step size for each example: Jolicoeur-Martineau et al. 2021, "Gotta Go Fast When Generating Data
//! with Score-Based Models" (arXiv 2105.14080), algorithm 1, on Brownian paths that a rejected step does not change.
//!
//! Fresh noise after a rejection would favour the increments that are accepted: measured, variances grow by a tenth to three quarters. Here
//! a path, once looked at, stays: a shorter step finds its point by a Brownian bridge between those that are known (Rackauckas & Nie 2017).

use tch::Tensor;

use super::control::{Traveller, rms};
use super::sampler::{Noise, Solution, Statistics};
use super::trajectory::{Step, Watch};
use crate::dynamics::Dynamics;
use crate::error::Result;
use crate::model::At;
use crate::tensor::{column, column_of, indices, select};

/// The paper's h_init and, in h <- θ h error^(-r), θ and r.
const FIRST_STEP: f64 = 0.01;
const THETA: f64 = 0.9;
const R: f64 = 0.9;

/// One Brownian path for each example, known where it has been looked at.
pub(super) struct Paths {
    /// [slots, B, D].
    values: Tensor,
    /// Per example: the times at which its path is known, ascending, each with its slot. The first is where the example is.
    known: Vec<Vec<(f64, usize)>>,
}

impl Paths {
    /// Paths that are 0 at time `start`, for states x [B, D].
    pub fn new(x: &Tensor, start: f64) -> Paths {
        Paths { values: x.zeros_like().unsqueeze(0), known: vec![vec![(start, 0)]; x.size()[0] as usize] }
    }

    /// The rows of `values` in one slot for each example.
    fn rows(&self, slots: &[usize]) -> Tensor {
        let batch = self.known.len();
        let places: Vec<usize> = slots.iter().enumerate().map(|(i, slot)| slot * batch + i).collect();
        indices(&places, self.values.device())
    }

    fn read(&self, slots: &[usize]) -> Tensor {
        self.values.flatten(0, 1).index_select(0, &self.rows(slots))
    }

    /// The increments [B, D] from where the examples are to later times `to`, by a standard normal draw z [B, D] each: a bridge
    /// between the neighbours, a free path beyond the last one, or what is known there already.
    pub fn increments(&mut self, to: &[f64], z: &Tensor) -> Tensor {
        let (mut before, mut after, mut share, mut deviation) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut slots = Vec::new();
        for (known, &to) in self.known.iter_mut().zip(to) {
            let place = known.partition_point(|(at, _)| *at < to);
            let (a, slot_a) = known[place - 1];
            let (b, slot_b) = known.get(place).copied().unwrap_or((f64::INFINITY, slot_a));
            before.push(slot_a);
            after.push(slot_b);
            share.push((to - a) / (b - a));
            deviation.push((to - a).sqrt() * (1.0 - (to - a) / (b - a)).sqrt());
            let slot = if b == to {
                slot_b
            } else {
                let free = (0..known.len()).find(|slot| known.iter().all(|(_, used)| used != slot)).unwrap_or(known.len());
                known.insert(place, (to, free));
                free
            };
            slots.push(slot);
        }
        let (before, after) = (self.read(&before), self.read(&after));
        let points = &before + (after - &before) * column(z, share) + z * column(z, deviation);
        let more = slots.iter().max().map_or(0, |&slot| slot as i64 + 1 - self.values.size()[0]);
        if more > 0 {
            let room = self.values.get(0).zeros_like().unsqueeze(0).repeat([more, 1, 1]);
            self.values = Tensor::cat(&[&self.values, &room], 0);
        }
        let _ = self.values.flatten(0, 1).index_copy_(0, &self.rows(&slots), &points);
        let here: Vec<usize> = self.known.iter().map(|known| known[0].1).collect();
        points - self.read(&here)
    }

    /// Example i is at time `to` now: what lies before is forgotten.
    pub fn advance(&mut self, i: usize, to: f64) {
        self.known[i].retain(|(at, _)| *at >= to);
    }

    fn keep(&mut self, places: &[usize]) {
        self.values = self.values.index_select(1, &indices(places, self.values.device()));
        self.known = places.iter().map(|&i| std::mem::take(&mut self.known[i])).collect();
    }
}

/// A factor to ten binary places: a rounding error of the score must not move the times, for a bridge is not smooth at its ends.
fn coarse(factor: f64) -> f64 {
    (factor * 1024.0).round() / 1024.0
}

/// Solves from `start` to `end`; two evaluations and one draw an attempt. Attempt n of every example uses draw n, so that its path does not
/// depend on its batch mates.
///
/// x' is Euler-Maruyama's step, x'' that of the stochastic Heun method with the same increment, which is what goes on (the paper's
/// extrapolation). The step is accepted if the root mean square of (x' - x'') / max(atol, rtol max(|x'|, |x'_before|)) is at most 1. A
/// step grows and shrinks by no more than the factors of the other adaptive solvers.
pub(super) fn solve(
    dynamics: &dyn Dynamics,
    x: &Tensor,
    (start, end): (f64, f64),
    (rtol, atol): (f64, f64),
    noise: &mut Noise,
    watch: &mut Watch,
) -> Result<Solution> {
    let _no_grad = tch::no_grad_guard();
    let shape = x.size();
    let batch = shape[0] as usize;
    let examples = |x: &Tensor| x.reshape([&[-1], &shape[1..]].concat());
    let mut result = x.flatten(1, -1).copy();
    let mut x = result.copy();
    let mut euler_before = x.copy();
    // A path's time runs forwards, whatever the solver's does.
    let direction = (end - start).signum();
    let mut paths = Paths::new(&x, direction * start);
    let mut statistics = Statistics { evaluations: vec![0; batch], accepted: vec![0; batch], rejected: vec![0; batch] };
    let mut travellers: Vec<Traveller> = (0..batch).map(|row| Traveller::new(row, start, FIRST_STEP)).collect();

    for attempt in 0.. {
        let active: Vec<usize> = travellers.iter().map(|e| e.row).collect();
        let z = select(&noise(attempt).flatten(1, -1), &active).to_kind(x.kind());
        let from: Vec<f64> = travellers.iter().map(|e| e.t).collect();
        let to = travellers.iter().map(|e| e.aim(end)).collect::<Result<Vec<f64>>>()?;
        let path_times: Vec<f64> = to.iter().map(|t| direction * t).collect();
        let path = paths.increments(&path_times, &z);
        let h = column(&x, from.iter().zip(&to).map(|(t, t_new)| t_new - t));
        let move_by = |state: &Tensor, t: &[f64]| {
            let drift = dynamics.drift(&At { rows: Some(&active), ..At::whole(&examples(state), t) }).flatten(1, -1);
            drift * &h + &path * column_of(&x, t, |t| dynamics.diffusion(t))
        };
        let first = move_by(&x, &from);
        let euler = &x + &first;
        let heun = &x + (first + move_by(&euler, &to)) * 0.5;
        let scale = (euler.abs().maximum(&euler_before.abs()) * rtol).clamp_min(atol);
        let errors = rms(&(&euler - &heun), &scale);

        let mut accepted = Vec::with_capacity(active.len());
        for (i, (example, error)) in travellers.iter_mut().zip(errors).enumerate() {
            let accept = example.settle(error <= 1.0, coarse(THETA * error.powf(-R)), to[i]);
            statistics.evaluations[example.row] += 2;
            if accept {
                statistics.accepted[example.row] += 1;
                paths.advance(i, path_times[i]);
            } else {
                statistics.rejected[example.row] += 1;
            }
            accepted.push(accept);
        }
        let places: Vec<usize> = (0..accepted.len()).filter(|&i| accepted[i]).collect();
        let mask = Tensor::from_slice(&accepted).to_device(x.device()).unsqueeze(1);
        (x, euler_before) = (heun.where_self(&mask, &x), euler.where_self(&mask, &euler_before));
        let way: f64 = travellers.iter().map(|e| (e.t - start) / (end - start)).sum();
        watch(&Step {
            rows: places.iter().map(|&i| active[i]).collect(),
            from: places.iter().map(|&i| from[i]).collect(),
            to: places.iter().map(|&i| to[i]).collect(),
            share: (way + (batch - travellers.len()) as f64) / batch as f64,
            between: false,
            state: &|which, _| examples(&select(&x, &which.iter().map(|&i| places[i]).collect::<Vec<_>>())),
        });

        if travellers.iter().any(|e| e.t == end) {
            let _ = result.index_copy_(0, &indices(&active, x.device()), &x);
            let going: Vec<usize> = (0..travellers.len()).filter(|&i| travellers[i].t != end).collect();
            if going.is_empty() {
                break;
            }
            travellers.retain(|e| e.t != end);
            paths.keep(&going);
            (x, euler_before) = (select(&x, &going), select(&euler_before, &going));
        }
    }
    Ok((result.view(shape.as_slice()), statistics))
}
