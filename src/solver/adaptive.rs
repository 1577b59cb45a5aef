//! Adaptive Runge-Kutta: one loop, whether each example has its own time, step and error, or the whole batch shares them.

use tch::Tensor;

use super::Statistics;
use super::control::{Adaptive, Control, Law, Traveller, rms};
use super::fixed::{between, combine};
use super::tableau::Tableau;
use super::trajectory::{Step, Watch, select};
use crate::dynamics::Dynamics;
use crate::error::Result;
use crate::tensor::column;

/// The dynamics on states [G, n] of G groups, each of `size` examples that share their time.
struct Grouped<'a> {
    dynamics: &'a mut dyn Dynamics,
    /// The shape of one example.
    shape: Vec<i64>,
    size: usize,
}

impl Grouped<'_> {
    /// [G, n] -> [G · size, ...].
    fn examples(&self, x: &Tensor) -> Tensor {
        x.reshape([&[-1], self.shape.as_slice()].concat())
    }

    fn slope(&self, x: &Tensor, t: &[f64]) -> Tensor {
        let times: Vec<f64> = t.iter().flat_map(|&t| std::iter::repeat_n(t, self.size)).collect();
        self.dynamics.drift(&self.examples(x), &times).reshape_as(x)
    }
}

/// Solves from `span.0` to `span.1` with an embedded pair whose last stage is the next first one. Step control as in Hairer, Nørsett &
/// Wanner 1993, sec. II.4.
///
/// Groups of examples travel together: of one example each, or all of them in one.
pub(super) fn solve(
    tableau: &Tableau,
    dynamics: &mut dyn Dynamics,
    x: &Tensor,
    (start, end): (f64, f64),
    adaptive: Adaptive,
    watch: &mut Watch,
) -> Result<(Tensor, Statistics)> {
    let _no_grad = tch::no_grad_guard();
    let shape = x.size();
    let groups = if adaptive.control == Control::BatchCoupled { 1 } else { shape[0] as usize };
    let dynamics = Grouped { dynamics, shape: shape[1..].to_vec(), size: shape[0] as usize / groups };
    let (size, stages) = (dynamics.size, tableau.b.len());
    let law = Law::new(adaptive.control, tableau.order);

    let result = x.reshape([groups as i64, -1]).copy();
    let mut x = result.copy();
    let mut statistics = Statistics { evaluations: vec![2; groups], accepted: vec![0; groups], rejected: vec![0; groups] };
    let mut slope = dynamics.slope(&x, &vec![start; groups]);
    let steps = first_steps(tableau, &x, &slope, (start, end), adaptive, |x, t| dynamics.slope(x, t));
    let mut travellers: Vec<Traveller> = steps.into_iter().enumerate().map(|(row, step)| Traveller::new(row, start, step)).collect();

    while !travellers.is_empty() {
        let from: Vec<f64> = travellers.iter().map(|e| e.t).collect();
        let to = travellers.iter().map(|e| e.aim(end)).collect::<Result<Vec<f64>>>()?;
        let h = column(&x, from.iter().zip(&to).map(|(t, t_new)| t_new - t));
        // k holds the stages and, last, the slope at the new point.
        let k = Tensor::empty([&[stages as i64 + 1], x.size().as_slice()].concat(), (x.kind(), x.device()));
        k.select(0, 0).copy_(&slope);
        for i in 1..stages {
            let t: Vec<f64> =
                from.iter().zip(&to).map(|(t, t_new)| if tableau.c[i] == 1.0 { *t_new } else { t + tableau.c[i] * (t_new - t) }).collect();
            let stage = x.addcmul(&h, &combine(tableau.a[i], &k));
            k.select(0, i as i64).copy_(&dynamics.slope(&stage, &t));
        }
        let x_new = x.addcmul(&h, &combine(tableau.b, &k));
        let last = dynamics.slope(&x_new, &to);
        k.select(0, stages as i64).copy_(&last);
        let scale = adaptive.scale(&x.abs().maximum(&x_new.abs()));
        let errors = rms(&(combine(tableau.error, &k) * &h), &scale);

        let mut accepted = Vec::with_capacity(travellers.len());
        for ((group, error), t_new) in travellers.iter_mut().zip(errors).zip(&to) {
            let accept = group.judge(law, error, *t_new);
            statistics.evaluations[group.row] += stages as u32;
            let count = if accept { &mut statistics.accepted } else { &mut statistics.rejected };
            count[group.row] += 1;
            accepted.push(accept);
        }
        let gone: f64 = travellers.iter().map(|e| (e.t - start) / (end - start)).sum();
        let share = (gone + (groups - travellers.len()) as f64) / groups as f64;
        // Places count examples, `size` for each group.
        let places: Vec<usize> = (0..accepted.len() * size).filter(|place| accepted[place / size]).collect();
        let of_examples = |of_groups: &[f64]| places.iter().map(|place| of_groups[place / size]).collect();
        watch(&Step {
            rows: places.iter().map(|place| travellers[place / size].row * size + place % size).collect(),
            from: of_examples(&from),
            to: of_examples(&to),
            share,
            between: true,
            state: &|which, times| {
                let places: Vec<usize> = which.iter().map(|&i| places[i]).collect();
                let shares: Vec<f64> =
                    places.iter().zip(times).map(|(p, t)| (t - from[p / size]) / (to[p / size] - from[p / size])).collect();
                let lengths = column(&x, places.iter().map(|p| to[p / size] - from[p / size]));
                let k = k.view([stages as i64 + 1, (accepted.len() * size) as i64, -1]);
                let x = x.view([(accepted.len() * size) as i64, -1]);
                dynamics.examples(&between(tableau, &x, &k, &places, &lengths, &shares))
            },
        });
        if accepted.iter().all(|&a| a) {
            (x, slope) = (x_new, last);
        } else {
            let mask = Tensor::from_slice(&accepted).to_device(x.device()).unsqueeze(1);
            (x, slope) = (x_new.where_self(&mask, &x), last.where_self(&mask, &slope));
        }

        if travellers.iter().any(|e| e.t == end) {
            let rows: Vec<i64> = travellers.iter().map(|e| e.row as i64).collect();
            let _ = result.shallow_clone().index_copy_(0, &Tensor::from_slice(&rows).to_device(x.device()), &x);
            let going: Vec<usize> = (0..travellers.len()).filter(|&i| travellers[i].t != end).collect();
            travellers.retain(|e| e.t != end);
            (x, slope) = (select(&x, &going), select(&slope, &going));
            if !going.is_empty() {
                let rows: Vec<i64> = going.iter().map(|&row| row as i64).collect();
                dynamics.dynamics.keep(&Tensor::from_slice(&rows).to_device(x.device()));
            }
        }
    }
    let per_example = |counts: Vec<u32>| counts.into_iter().flat_map(|n| std::iter::repeat_n(n, size)).collect();
    let Statistics { evaluations, accepted, rejected } = statistics;
    let statistics = Statistics { evaluations: per_example(evaluations), accepted: per_example(accepted), rejected: per_example(rejected) };
    Ok((result.view(shape.as_slice()), statistics))
}

/// The first |h| of each group (Hairer, Nørsett & Wanner 1993, sec. II.4, "starting step size"); one evaluation.
fn first_steps(
    tableau: &Tableau,
    x: &Tensor,
    slope: &Tensor,
    span: (f64, f64),
    adaptive: Adaptive,
    slope_at: impl Fn(&Tensor, &[f64]) -> Tensor,
) -> Vec<f64> {
    let length = (span.1 - span.0).abs();
    let direction = (span.1 - span.0).signum();
    let scale = adaptive.scale(&x.abs());
    let (d0, d1) = (rms(x, &scale), rms(slope, &scale));
    let trial: Vec<f64> =
        d0.iter().zip(&d1).map(|(&d0, &d1)| if d0 < 1e-5 || d1 < 1e-5 { 1e-6 } else { 0.01 * d0 / d1 }.min(length)).collect();
    let h = column(x, trial.iter().map(|h| direction * h));
    let t: Vec<f64> = trial.iter().map(|h| span.0 + direction * h).collect();
    let change = rms(&(slope_at(&x.addcmul(&h, slope), &t) - slope), &scale);
    let power = 1.0 / f64::from(tableau.order + 1);
    let step = |((h0, d1), change): ((f64, f64), f64)| {
        let d2 = change / h0;
        let h1 = if d1 <= 1e-15 && d2 <= 1e-15 { (h0 * 1e-3).max(1e-6) } else { (0.01 / d1.max(d2)).powf(power) };
        (100.0 * h0).min(h1).min(length)
    };
    trial.into_iter().zip(d1).zip(change).map(step).collect()
}
