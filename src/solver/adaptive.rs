//! Adaptive Runge-Kutta: one loop, whether each example has its own time, step and error, or the whole batch shares them.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeSet;

use tch::Tensor;

use super::control::{Adaptive, Control, Controller, Traveller, rms};
use super::fixed::{between, combine};
use super::sampler::{Solution, Statistics};
use super::tableau::Tableau;
use super::trajectory::{Step, Watch};
use crate::dynamics::Dynamics;
use crate::error::Result;
use crate::model::At;
use crate::tensor::{column, indices, select};

/// The dynamics on states [G, n] of G groups, each of `size` examples that share their time.
struct Grouped<'a> {
    dynamics: &'a dyn Dynamics,
    /// The shape of one example.
    shape: Vec<i64>,
    size: usize,
    /// The examples of the groups that are on their way; `None` while all are.
    rows: Option<Vec<usize>>,
}

impl Grouped<'_> {
    /// [G, n] -> [G · size, ...].
    fn examples(&self, x: &Tensor) -> Tensor {
        x.reshape([&[-1], self.shape.as_slice()].concat())
    }

    fn slope(&self, x: &Tensor, t: &[f64]) -> Tensor {
        let times: Vec<f64> = t.iter().flat_map(|&t| std::iter::repeat_n(t, self.size)).collect();
        self.dynamics.drift(&At { rows: self.rows.as_deref(), ..At::whole(&self.examples(x), &times) }).reshape_as(x)
    }
}

/// One step of every group that is on its way, not yet accepted.
struct Attempt<'a> {
    tableau: &'a Tableau,
    from: Vec<f64>,
    to: Vec<f64>,
    /// [G, n].
    x: Tensor,
    x_new: Tensor,
    /// The lengths, [G, 1].
    h: Tensor,
    /// The stages and, last, the slope at the new point: [s + 1, G, n].
    k: Tensor,
    /// The same with the stages that only the interpolant needs.
    extended: OnceCell<Tensor>,
    /// The groups that asked for these.
    asked: RefCell<BTreeSet<usize>>,
}

impl<'a> Attempt<'a> {
    fn new(tableau: &'a Tableau, dynamics: &Grouped, x: &Tensor, slope: &Tensor, from: Vec<f64>, to: Vec<f64>) -> Attempt<'a> {
        let stages = tableau.b.len();
        let h = column(x, from.iter().zip(&to).map(|(t, t_new)| t_new - t));
        let k = Tensor::empty([&[stages as i64 + 1], x.size().as_slice()].concat(), (x.kind(), x.device()));
        k.select(0, 0).copy_(slope);
        for i in 1..stages {
            let stage = x.addcmul(&h, &combine(tableau.a[i], &k));
            k.select(0, i as i64).copy_(&dynamics.slope(&stage, &at_share(&from, &to, tableau.c[i])));
        }
        let x_new = x.addcmul(&h, &combine(tableau.b, &k));
        k.select(0, stages as i64).copy_(&dynamics.slope(&x_new, &to));
        Attempt { tableau, from, to, x: x.shallow_clone(), x_new, h, k, extended: OnceCell::new(), asked: RefCell::default() }
    }

    /// Per group: the root mean square of the error in units of the tolerance.
    ///
    /// With two embedded methods it is e² / √(e² + 0.01 e_low²), which is of a higher order than both (Hairer, Nørsett & Wanner 1993, sec.
    /// II.10).
    fn errors(&self, adaptive: Adaptive) -> Vec<f64> {
        let scale = adaptive.scale(&self.x.abs().maximum(&self.x_new.abs()));
        let of = |weights: &[f64]| rms(&(combine(weights, &self.k) * &self.h), &scale);
        let errors = of(self.tableau.error);
        if self.tableau.error_low.is_empty() {
            return errors;
        }
        let join = |(e, low): (f64, f64)| if e == 0.0 { 0.0 } else { e * e / (e * e + 0.01 * low * low).sqrt() };
        errors.into_iter().zip(of(self.tableau.error_low)).map(join).collect()
    }

    /// The states of examples at times of this step. An example's place counts all of those on their way.
    fn states(&self, dynamics: &Grouped, places: &[usize], times: &[f64]) -> Tensor {
        let size = dynamics.size;
        let examples = (self.from.len() * size) as i64;
        if places.iter().zip(times).all(|(place, t)| *t == self.to[place / size]) {
            return dynamics.examples(&select(&self.x_new.view([examples, -1]), places));
        }
        let k = self.extended.get_or_init(|| self.extra_stages(dynamics));
        self.asked.borrow_mut().extend(places.iter().map(|place| place / size));
        let (from, to): (Vec<f64>, Vec<f64>) = places.iter().map(|place| (self.from[place / size], self.to[place / size])).unzip();
        let h = column(&self.x, from.iter().zip(&to).map(|(t, t_new)| t_new - t));
        let shares: Vec<f64> = times.iter().zip(from).zip(to).map(|((t, from), to)| (t - from) / (to - from)).collect();
        let k = k.view([k.size()[0], examples, -1]);
        dynamics.examples(&between(self.tableau, &self.x.view([examples, -1]), &k, places, &h, &shares))
    }

    fn extra_stages(&self, dynamics: &Grouped) -> Tensor {
        let mut k = self.k.shallow_clone();
        for (a, &c) in self.tableau.extra.iter().zip(self.tableau.extra_c) {
            let stage = self.x.addcmul(&self.h, &combine(a, &k));
            k = Tensor::cat(&[&k, &dynamics.slope(&stage, &at_share(&self.from, &self.to, c)).unsqueeze(0)], 0);
        }
        k
    }
}

/// The times at a share of each way; a whole one ends where the way ends, not one rounding beside it.
fn at_share(from: &[f64], to: &[f64], share: f64) -> Vec<f64> {
    from.iter().zip(to).map(|(from, to)| if share == 1.0 { *to } else { from + share * (to - from) }).collect()
}

/// Solves from `start` to `end` with an embedded pair whose last stage is the next first one. Step control as in Hairer, Nørsett & Wanner
/// 1993, sec. II.4.
///
/// Groups of examples travel together: of one example each, or all of them in one.
pub(super) fn solve(
    tableau: &Tableau,
    dynamics: &dyn Dynamics,
    x: &Tensor,
    (start, end): (f64, f64),
    adaptive: Adaptive,
    watch: &mut Watch,
) -> Result<Solution> {
    let _no_grad = tch::no_grad_guard();
    let shape = x.size();
    let groups = if adaptive.control == Control::BatchCoupled { 1 } else { shape[0] as usize };
    let mut dynamics = Grouped { dynamics, shape: shape[1..].to_vec(), size: shape[0] as usize / groups, rows: None };
    let (size, stages) = (dynamics.size, tableau.b.len());
    let controller = Controller::new(adaptive.control, tableau.order);

    let result = x.reshape([groups as i64, -1]).copy();
    let mut x = result.copy();
    let mut statistics = Statistics { evaluations: vec![2; groups], accepted: vec![0; groups], rejected: vec![0; groups] };
    let mut slope = dynamics.slope(&x, &vec![start; groups]);
    let steps = first_steps(tableau, &x, &slope, (start, end), adaptive, |x, t| dynamics.slope(x, t));
    let mut travellers: Vec<Traveller> = steps.into_iter().enumerate().map(|(row, step)| Traveller::new(row, start, step)).collect();

    while !travellers.is_empty() {
        let from = travellers.iter().map(|e| e.t).collect();
        let to = travellers.iter().map(|e| e.aim(end)).collect::<Result<Vec<f64>>>()?;
        let attempt = Attempt::new(tableau, &dynamics, &x, &slope, from, to);
        let judge = |((group, error), t_new): ((&mut Traveller, f64), &f64)| group.judge(controller, error, *t_new);
        let accepted: Vec<bool> = travellers.iter_mut().zip(attempt.errors(adaptive)).zip(&attempt.to).map(judge).collect();

        let way: f64 = travellers.iter().map(|e| (e.t - start) / (end - start)).sum();
        let places: Vec<usize> = (0..accepted.len() * size).filter(|place| accepted[place / size]).collect();
        watch(&Step {
            rows: places.iter().map(|place| travellers[place / size].row * size + place % size).collect(),
            from: places.iter().map(|place| attempt.from[place / size]).collect(),
            to: places.iter().map(|place| attempt.to[place / size]).collect(),
            share: (way + (groups - travellers.len()) as f64) / groups as f64,
            between: true,
            state: &|which, times| attempt.states(&dynamics, &which.iter().map(|&i| places[i]).collect::<Vec<_>>(), times),
        });
        for (i, (group, accepted)) in travellers.iter().zip(&accepted).enumerate() {
            let cost = stages + if attempt.asked.borrow().contains(&i) { tableau.extra.len() } else { 0 };
            statistics.evaluations[group.row] += cost as u32;
            let count = if *accepted { &mut statistics.accepted } else { &mut statistics.rejected };
            count[group.row] += 1;
        }

        let last = attempt.k.select(0, stages as i64);
        if !accepted.contains(&false) {
            (x, slope) = (attempt.x_new, last);
        } else {
            let mask = Tensor::from_slice(&accepted).to_device(x.device()).unsqueeze(1);
            (x, slope) = (attempt.x_new.where_self(&mask, &x), last.where_self(&mask, &slope));
        }
        if travellers.iter().any(|e| e.t == end) {
            let rows: Vec<usize> = travellers.iter().map(|e| e.row).collect();
            let _ = result.shallow_clone().index_copy_(0, &indices(&rows, x.device()), &x);
            let going: Vec<usize> = (0..travellers.len()).filter(|&i| travellers[i].t != end).collect();
            travellers.retain(|e| e.t != end);
            (x, slope) = (select(&x, &going), select(&slope, &going));
            dynamics.rows = Some(travellers.iter().flat_map(|e| e.row * size..(e.row + 1) * size).collect());
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
