//! The schedules of an experiment.

use crate::experiment::{Family, Plan};
use crate::plot::chart::{Axis, Chart, Layer, Line, Sheet};

const SIZE: (u32, u32) = (480, 320);
const POINTS: usize = 200;

/// α, σ and g, the log-SNR, and of a score that is trained its weighting and the law of t; none without a process.
pub fn schedules(plan: &Plan) -> Option<Sheet> {
    let sde = plan.sde()?.get();
    let mut charts = vec![
        chart(
            "signal and noise",
            "",
            vec![line("α(t)", 0, &times(0.0, 1.0), |t| sde.alpha(t)), line("σ(t)", 1, &times(0.0, 1.0), |t| sde.sigma(t))],
        ),
        chart("diffusion", "g(t)", vec![plain(&times(0.0, 1.0), |t| sde.diffusion(t))]),
        chart("log-SNR", "ln α²/σ²", vec![plain(&times(0.0, 1.0), |t| sde.log_snr(t))]),
    ];
    if let Family::Score(learned) = &plan.family
        && let Some((matching, _)) = &learned.training
    {
        let inside = times(matching.t_min, sde.horizon());
        let weighting = |t: f64| matching.weighting.at(sde, t);
        charts.push(chart("weight of the score's error", "λ(t)", vec![plain(&inside, |t| weighting(t) * sde.sigma(t).powi(2))]));
        charts.push(chart("weight of the noise's error", "λ(t) / σ²(t)", vec![plain(&inside, weighting)]));
        let law = matching.time.law(sde, matching.weighting, matching.t_min);
        charts.push(chart("law of t in training", "p(t)", vec![plain(&inside, |t| law.density(t))]));
    }
    Some(Sheet { charts, columns: 3, size: SIZE })
}

/// More of them near both ends, where processes change fastest.
fn times(first: f64, last: f64) -> Vec<f64> {
    let share = |i: usize| 0.5 - 0.5 * (std::f64::consts::PI * i as f64 / (POINTS - 1) as f64).cos();
    (0..POINTS).map(|i| first + (last - first) * share(i)).collect()
}

fn line(name: &str, colour: usize, times: &[f64], f: impl Fn(f64) -> f64) -> Line {
    Line::named(name, colour, times.iter().map(|&t| [t, f(t)]).collect())
}

fn plain(times: &[f64], f: impl Fn(f64) -> f64) -> Line {
    Line { name: None, ..line("", 0, times, f) }
}

/// Numbers above 0 that differ by powers of ten lie along powers of ten.
fn chart(title: &str, y: &str, lines: Vec<Line>) -> Chart {
    let values = || lines.iter().flat_map(|line| line.points.iter().map(|point| point[1])).filter(|y| y.is_finite());
    let positive = values().filter(|y| *y > 0.0).fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), y| (low.min(y), high.max(y)));
    let wide = values().all(|y| y >= 0.0) && positive.1 > 100.0 * positive.0 && positive.1 > 10.0;
    let y = if wide { Axis::logarithmic(y) } else { Axis::linear(y) };
    let layers = lines.into_iter().map(Layer::Line).collect();
    Chart { title: title.into(), x: Axis::linear("t").between([0.0, 1.0]), y, layers, square: false }
}
