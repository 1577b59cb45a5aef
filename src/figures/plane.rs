//! A score of the plane: its density, its field, and the lines of its flow.

use tch::{Kind, Tensor, no_grad};

use super::{flow_solver, flow_states, is_plain};
use crate::data::Split;
use crate::divergence::Probes;
use crate::dynamics::{FlowWithLogDensity, squared_norm};
use crate::error::Result;
use crate::model::{At, Model};
use crate::plot::chart::{Axis, Chart, Heat, Layer, Line, Sheet, Stroke};
use crate::sample::first_two;
use crate::session::Session;
use crate::tensor::to_vec;

const SIZE: (u32, u32) = (480, 478);
/// Cells of a density on either axis, arrows, lines of the flow, states along each, and points of the data.
const CELLS: i64 = 72;
const ARROWS: i64 = 18;
const LINES: usize = 60;
const STATES: usize = 60;
const DATA: usize = 1000;
/// Where a density is measured, for a score that is not trained at 0.
const EARLIEST: f64 = 1e-3;
/// The log-SNRs of the fields that are shown.
const LEVELS: [f64; 2] = [3.0, 0.0];

/// Of a score of vectors in the plane: its density with examples of the data, its field at two levels of noise, and the flow's lines from the
/// prior to the data; none of others.
///
/// Error: the data can't be read, or a solution is not finite.
pub fn plane(session: &Session) -> Result<Option<Sheet>> {
    if !is_plain(session) || session.shape() != [2] || session.model_shape() != [2] {
        return Ok(None);
    }
    let model = &*session.model()?;
    let count = session.dataset(Split::Train)?.len().min(DATA);
    let data = session.points(Split::Train, &(0..count).collect::<Vec<_>>(), count)?;
    let square = Square::around(&data);
    let first = EARLIEST.max(model.sde().time_of_log_snr(14.0));
    let mut charts = vec![square.chart("density and data", vec![density(model, &square, first, &data)?, Layer::Dots(first_two(&data))])];
    for level in LEVELS {
        let t = model.sde().time_of_log_snr(level).clamp(first, model.last_time());
        let noisy = square.times(model.sde().level(t).alpha, model.sde().sigma(t));
        charts.push(
            noisy.chart(
                &format!("density and score at t = {t:.3}"),
                vec![density(model, &noisy, t, &data)?, field(model, &noisy, t, &data)],
            ),
        );
    }
    let lines = flow_lines(model, &data.narrow(0, 0, count.min(LINES) as i64), first)?;
    charts.push(square.chart("flow from t = 1 to 0", lines));
    Ok(Some(Sheet { charts, columns: 2, size: SIZE }))
}

/// A square of the plane.
struct Square {
    centre: [f64; 2],
    half: f64,
}

impl Square {
    /// Around points, with some room.
    fn around(x: &Tensor) -> Square {
        let of_axis = |axis: i64| {
            let x = x.select(1, axis);
            [x.min(), x.max()].map(|end| end.double_value(&[]))
        };
        let ends = [of_axis(0), of_axis(1)];
        let half = ends.iter().map(|[low, high]| 0.5 * (high - low)).fold(0.0, f64::max).max(1e-6) * 1.15;
        Square { centre: ends.map(|[low, high]| 0.5 * (low + high)), half }
    }

    /// Of what becomes of its points with the signal α and the noise σ.
    fn times(&self, alpha: f64, sigma: f64) -> Square {
        Square { centre: self.centre.map(|x| alpha * x), half: alpha * self.half + 2.5 * sigma }
    }

    fn ends(&self, axis: usize) -> [f64; 2] {
        [self.centre[axis] - self.half, self.centre[axis] + self.half]
    }

    /// The middles of n × n cells [n², 2], row by row from the lowest y.
    fn middles(&self, n: i64, like: &Tensor) -> Tensor {
        let steps = (Tensor::arange(n, (Kind::Double, like.device())) + 0.5) * (2.0 * self.half / n as f64);
        let along = |axis: usize| &steps + (self.centre[axis] - self.half);
        let x = along(0).unsqueeze(0).expand([n, n], false).reshape([-1]);
        let y = along(1).unsqueeze(1).expand([n, n], false).reshape([-1]);
        Tensor::stack(&[x, y], 1)
    }

    fn chart(&self, title: &str, layers: Vec<Layer>) -> Chart {
        let axis = |i: usize, name: &str| Axis::linear(name).between(self.ends(i));
        Chart { title: title.into(), x: axis(0, "x₁"), y: axis(1, "x₂"), layers, square: true }
    }
}

/// The density of x_t by the flow from t on.
fn density(model: &dyn Model, square: &Square, t: f64, like: &Tensor) -> Result<Layer> {
    let middles = square.middles(CELLS, like);
    let flow = FlowWithLogDensity::new(model, vec![2], Probes::Exact);
    let last = flow_solver().last_start(model);
    let (end, _) = flow_solver().solve(&flow, model.sde(), &flow.start(&middles), (t, last), &mut |_| {})?;
    let (x, change) = flow.split(&end);
    let log_p: Vec<f64> =
        squared_norm(&x).iter().zip(to_vec(&change)).map(|(norm, change)| model.sde().prior_log_density(*norm, 2) - change).collect();
    let most = log_p.iter().copied().filter(|x| x.is_finite()).fold(f64::NEG_INFINITY, f64::max);
    let values = log_p.iter().map(|log_p| (log_p - most).exp()).collect();
    Ok(Layer::Heat(Heat { values, columns: CELLS as usize, x: square.ends(0), y: square.ends(1) }))
}

/// Arrows along the score; the longest one fills its cell, and shorter ones are drawn longer than they are, by their square root.
fn field(model: &dyn Model, square: &Square, t: f64, like: &Tensor) -> Layer {
    let at = square.middles(ARROWS, like);
    let score = no_grad(|| model.score(&At::whole(&at, &vec![t; at.size()[0] as usize])));
    let (from, score) = (first_two(&at), first_two(&score.to_kind(Kind::Double)));
    let longest = score.iter().map(|[x, y]| x.hypot(*y)).filter(|x| x.is_finite()).fold(0.0, f64::max);
    let cell = 2.0 * square.half / ARROWS as f64;
    let arrow = |(&[x, y], &[dx, dy]): (&[f64; 2], &[f64; 2])| {
        let length = dx.hypot(dy);
        let scale = if length > 0.0 { 0.9 * cell * (length / longest).sqrt() / length } else { 0.0 };
        [[x, y], [x + scale * dx, y + scale * dy]]
    };
    Layer::Arrows(from.iter().zip(&score).map(arrow).collect())
}

/// The lines of the flow through points [N, 2] of the data, above where they end at t = 1.
fn flow_lines(model: &dyn Model, data: &Tensor, first: f64) -> Result<Vec<Layer>> {
    let last = flow_solver().last_start(model);
    let times: Vec<f64> =
        (0..STATES).map(|i| first + (last - first) * (i as f64 / (STATES - 1) as f64).powi(2)).map(|t| t.min(last)).collect();
    let states = flow_states(model, data, &times)?;
    let line = |i: i64| Layer::Line(Line::plain(Stroke::Thin, first_two(&states.select(1, i))));
    let lines = (0..data.size()[0]).map(line);
    Ok(lines.chain([Layer::Dots(first_two(data))]).collect())
}
