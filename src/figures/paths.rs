//! Paths in time: the first number of an example on its way to the prior and back.

use tch::{Kind, Tensor};

use super::{flow_solver, flow_states, is_plain};
use crate::data::Split;
use crate::error::Result;
use crate::plot::chart::{Axis, Chart, Layer, Line, Sheet, Stroke};
use crate::rng::{self, Law, Purpose};
use crate::sample::Sample;
use crate::sde::{NoiseLaw, Sde};
use crate::session::Session;
use crate::tensor::to_vec;

const SIZE: (u32, u32) = (480, 320);
/// Paths, and states of each.
const PATHS: usize = 30;
const STATES: usize = 100;
/// Where they begin and end, near the data.
const EARLIEST: f64 = 1e-3;

/// Of a score of vectors: the process from the data, samples as `[sample]` draws them, and the flow from the data; none of others.
///
/// Error: the data can't be read, or a solution is not finite.
pub fn paths(session: &Session) -> Result<Option<Sheet>> {
    if !is_plain(session) {
        return Ok(None);
    }
    let model = &*session.model()?;
    let count = session.dataset(Split::Train)?.len().min(PATHS);
    let data = session.points(Split::Train, &(0..count).collect::<Vec<_>>(), count)?;
    let mut charts = Vec::new();
    if model.sde().noise() == NoiseLaw::Normal && model.sde().without_score().is_none() {
        let times = times(0.0, model.last_time());
        charts.push(chart("the process, from the data", &times, &forward(model.sde(), &data, &times, session.plan().seed)));
    }
    if let Some(spec) = &session.plan().sample {
        let times: Vec<f64> = times(spec.t_min, 1.0).into_iter().rev().collect();
        let spec = Sample { count, batch: count, trajectory: times.clone(), given: None, measurement: None, ..spec.clone() };
        if let Some(way) = session.sample(&spec)?.trajectory {
            charts.push(chart("samples, from the prior", &times, &way.states));
        }
    }
    let times = times(EARLIEST, flow_solver().last_start(model));
    charts.push(chart("the probability flow, from the data", &times, &flow_states(model, &data, &times)?));
    Ok(Some(Sheet { columns: charts.len(), charts, size: SIZE }))
}

fn times(first: f64, last: f64) -> Vec<f64> {
    (0..STATES).map(|i| first + (last - first) * i as f64 / (STATES - 1) as f64).map(|t| t.min(last)).collect()
}

/// x_t at each time, by the exact law of x_t given the one before: [T, N, D] of points x_0 [N, D].
fn forward(sde: &dyn Sde, data: &Tensor, times: &[f64], seed: u64) -> Tensor {
    let (mut x, mut states) = (data.shallow_clone(), Vec::new());
    let (mut alpha, mut sigma) = (1.0, 0.0);
    for (k, &t) in times.iter().enumerate() {
        let to = sde.level(t);
        let kept = to.alpha / alpha;
        let spread = (to.sigma.powi(2) - (kept * sigma).powi(2)).max(0.0).sqrt();
        let rows = 0..data.size()[0] as u64;
        let z = rng::rows(Law::Gaussian, seed, Purpose::Figure, rows, k as u64, &data.size()[1..], data.device());
        x = x * kept + z.to_kind(Kind::Double) * spread;
        states.push(x.shallow_clone());
        (alpha, sigma) = (to.alpha, to.sigma);
    }
    Tensor::stack(&states, 0)
}

/// The first number of each path, of states [T, N, D].
fn chart(title: &str, times: &[f64], states: &Tensor) -> Chart {
    let path = |i: i64| {
        let values = to_vec(&states.select(1, i).select(1, 0));
        Layer::Line(Line::plain(Stroke::Faint(i as usize), times.iter().zip(values).map(|(t, x)| [*t, x]).collect()))
    };
    let layers = (0..states.size()[1]).map(path).collect();
    Chart { title: title.into(), x: Axis::linear("t").between([0.0, 1.0]), y: Axis::linear("x₁"), layers, square: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sdes;

    /// However many steps it takes, x_t is α x_0 + σ z.
    #[test]
    fn the_process_has_its_marginals() {
        tch::set_num_threads(1);
        let data = Tensor::full([4000, 1], 1.5, (Kind::Double, tch::Device::Cpu));
        for (name, sde) in sdes().into_iter().filter(|(_, sde)| sde.noise() == NoiseLaw::Normal && sde.without_score().is_none()) {
            let times = [0.0, 0.1, 0.35, 0.7, sde.horizon()];
            let states = forward(sde, &data, &times, 1);
            for (k, &t) in times.iter().enumerate() {
                let x = states.get(k as i64);
                let (mean, std) = (x.mean(Kind::Double).double_value(&[]), x.std(true).double_value(&[]));
                let level = sde.level(t);
                let error = level.sigma / 4000f64.sqrt();
                assert!((mean - 1.5 * level.alpha).abs() < 4.0 * error + 1e-9, "{name} at {t}: mean {mean}");
                assert!((std - level.sigma).abs() < 4.0 * error + 1e-9, "{name} at {t}: std {std}");
            }
        }
    }
}
