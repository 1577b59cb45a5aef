//! Examples of the data and what is measured of them, by which draws are judged where nobody knows the posterior.

use tch::{Device, Kind, Tensor};

use super::{Judge, Verdict};
use crate::measurement::{Measurement, Operator};
use crate::metric::{Estimate, Uniformity};
use crate::rng::{self, Law, Purpose};
use crate::tensor::to_vec;

/// N examples x* with y = A x* + σ n. They are draws of p(x | y) for an unknown law of the data, so that an interval of each number that holds a
/// share of the draws of the posterior holds that share of the x*.
pub struct Examples {
    /// x* [N, D], f64.
    truth: Tensor,
    /// y [N, M].
    y: Tensor,
    /// The numbers of an example that A does not see; all of them where it sees all.
    hidden: Vec<i64>,
}

impl Examples {
    /// Of x* [N, ...] in model space, and the operator and noise of `measurement`; the noise is a function of `seed`.
    pub fn new(truth: &Tensor, measurement: &Measurement, seed: u64) -> Examples {
        let Measurement { operator, sigma, .. } = measurement;
        let rows = 0..truth.size()[0] as u64;
        let noise = rng::rows(Law::Gaussian, seed, Purpose::Measurement, rows, 0, &[operator.rows()], truth.device());
        let y = operator.apply(truth) + noise.to_kind(Kind::Double) * *sigma;
        Examples { y, hidden: hidden(&**operator, truth), truth: truth.flatten(1, -1).to_device(Device::Cpu) }
    }

    /// Of N ranks among L draws [N, H] each: how often the central region of a share holds the truth.
    fn coverage(ranks: &Tensor, draws: i64, level: f64) -> Estimate {
        let off = (ranks * 2.0 - draws as f64).abs();
        let held = off.lt(level * (draws + 1) as f64).to_kind(Kind::Double);
        Estimate::of_mean(&to_vec(&held.mean_dim(1i64, false, Kind::Double)))
    }
}

/// Where AᵀA v is 0 for a v without zeros.
fn hidden(operator: &dyn Operator, of: &Tensor) -> Vec<i64> {
    let d = of.numel() as i64 / of.size()[0];
    let v = (Tensor::arange(d, (Kind::Double, of.device())) + 1.0).sqrt().view(&[&[1], &of.size()[1..]].concat()[..]);
    let seen = to_vec(&operator.adjoint(&operator.apply(&v)));
    let hidden: Vec<i64> = (0..d).filter(|&i| seen[i as usize] == 0.0).collect();
    if hidden.is_empty() { (0..d).collect() } else { hidden }
}

impl Judge for Examples {
    fn y(&self) -> &Tensor {
        &self.y
    }

    fn control(&self) -> Option<Tensor> {
        None
    }

    /// Ranks are those of the mean of the hidden numbers.
    fn judge(&self, x: &Tensor) -> Verdict {
        let hidden = Tensor::from_slice(&self.hidden);
        let of_hidden = |x: &Tensor, axis: i64| x.to_kind(Kind::Double).to_device(Device::Cpu).index_select(axis, &hidden);
        let (x, truth) = (of_hidden(x, 2), of_hidden(&self.truth, 1));
        let draws = x.size()[1];
        let below = |x: &Tensor, truth: &Tensor| x.lt_tensor(truth).to_kind(Kind::Double).sum_dim_intlist(1i64, false, None::<Kind>);
        let ranks = below(&x, &truth.unsqueeze(1));
        let mean = |x: &Tensor| x.mean_dim(-1i64, false, Kind::Double);
        let of_mean = to_vec(&below(&mean(&x), &mean(&truth).unsqueeze(1))).into_iter().map(|rank| rank as usize).collect();
        Verdict {
            coverage: super::LEVELS.map(|level| Examples::coverage(&ranks, draws, level)),
            energy: None,
            classifier: None,
            ranks: Uniformity::of(&[of_mean], draws as usize),
        }
    }
}
