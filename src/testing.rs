//! Worlds in which everything is known, for unit tests, `tests/` and `benches/` alone: processes, a mixture, scores that misbehave on
//! purpose, and normal draws. There is one of each, so that what one test measured holds in the next; a test that needs other constants
//! says why.

use std::cell::RefCell;
use std::sync::LazyLock;

use tch::{Device, Kind, Tensor};

use crate::law::GaussianMixture;
use crate::model::{At, ExactScore, Model, Prediction};
use crate::rng::{self, Purpose};
use crate::sde::{Chain, Cosine, Edm, Expression, Formula as FormulaPath, Level, Linear, Sde, SubVp, Table, Ve, Vp};
use crate::tensor::{column_of, to_vec};

/// The reference's constants for CIFAR-10.
pub const VP: Vp = Vp { beta_min: 0.1, beta_max: 20.0 };
pub const SUB_VP: SubVp = SubVp { beta_min: 0.1, beta_max: 20.0 };
pub const VE: Ve = Ve { sigma_min: 0.01, sigma_max: 50.0 };

/// The paper's s, on its way until α(1) is 0.008.
pub const COSINE: Cosine = Cosine { s: 0.008, end: 0.995 };

pub const LINEAR: Linear = Linear {};

/// Several times the spread of [`mixture`], and little enough that equal steps in t resolve it.
pub const EDM: Edm = Edm { sigma_max: 8.0 };

/// Half a turn from the data to the noise, with no signal left at its end.
static FORMULA: LazyLock<FormulaPath> = LazyLock::new(|| {
    let formula = |text: &str| Expression::parse(text).expect("a formula");
    FormulaPath { alpha: formula("cos(pi*t/2)"), sigma: formula("sin(pi*t/2)") }
});

/// Like no other, with some signal left. Its knots, where its slopes have kinks, are no times that tests look at.
static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let t: Vec<f64> = (0..=30).map(|i| (f64::from(i) / 30.0).powf(1.1)).collect();
    let of = |f: fn(&f64) -> f64| t.iter().map(f).collect();
    Table::new(t.clone(), of(|t| 1.0 - 0.99 * t * t), of(|t| t * (1.8 - 0.6 * t)))
});

/// Every process with normal noise, with its name in an experiment.
pub fn sdes() -> [(&'static str, &'static dyn Sde); 8] {
    let [vp, ve, cosine, linear, edm, table, formula] = chained();
    [vp, ("sub-vp", &SUB_VP), ve, cosine, linear, edm, table, formula]
}

/// Those that are limits of chains.
pub fn chained() -> [(&'static str, &'static dyn Sde); 7] {
    [("vp", &VP), ("ve", &VE), ("cosine", &COSINE), ("linear", &LINEAR), ("edm", &EDM), ("table", &*TABLE), ("formula", &*FORMULA)]
}

/// Two correlated Gaussians of unequal weight in the plane. Nothing about it is symmetric, so that a sign, a weight or an axis that is
/// lost shows.
pub fn mixture() -> GaussianMixture {
    GaussianMixture {
        weights: vec![1.0, 2.0],
        means: vec![vec![-1.0, 0.5], vec![1.0, 0.0]],
        covariances: vec![vec![vec![0.3, 0.2], vec![0.2, 0.3]], vec![vec![0.2, -0.1], vec![-0.1, 0.4]]],
    }
}

/// One component of a mixture.
pub fn component(law: &GaussianMixture, k: usize) -> GaussianMixture {
    GaussianMixture { weights: vec![1.0], means: vec![law.means[k].clone()], covariances: vec![law.covariances[k].clone()] }
}

/// N(μ, std² I) in D dimensions, all of whose means are `mean`.
pub fn gaussian(d: usize, mean: f64, std: f64) -> GaussianMixture {
    let row = |i: usize| (0..d).map(|j| if i == j { std * std } else { 0.0 }).collect();
    GaussianMixture { weights: vec![1.0], means: vec![vec![mean; d]], covariances: vec![(0..d).map(row).collect()] }
}

/// Four times with a score, from early to the last one.
pub fn times(sde: &dyn Sde) -> [f64; 4] {
    [0.3, 0.45, 0.6, sde.horizon()]
}

/// n points of a law [n, D], f64.
pub fn points(law: &GaussianMixture, seed: u64, n: usize) -> Tensor {
    let factored = law.factored();
    let mut rng = rng::generator(seed, Purpose::Data, 0);
    let values: Vec<f64> = (0..n).flat_map(|_| factored.sample(&mut rng)).collect();
    Tensor::from_slice(&values).view([n as i64, -1])
}

/// The exact score of a law under a process.
pub fn exact<'a>(sde: &'a dyn Sde, law: &GaussianMixture) -> ExactScore<'a> {
    ExactScore::new(sde, law, Device::Cpu)
}

/// n levels with uniform log-SNR from `t_min` to the horizon.
pub fn levels(sde: &dyn Sde, t_min: f64, n: usize) -> Vec<Level> {
    let (first, last) = (sde.log_snr(t_min), sde.log_snr(sde.horizon()));
    (0..n).map(|i| sde.level(sde.time_of_log_snr(first + (last - first) * i as f64 / (n - 1) as f64))).collect()
}

/// Where the frames of a journal's bytes end: its beginning, and each whole record.
pub fn frame_ends(journal: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = 8;
    while let Some(length) = journal.get(at..at + 8) {
        at = at.saturating_add(16).saturating_add(u64::from_le_bytes(length.try_into().expect("eight bytes")) as usize);
        if at > journal.len() {
            break;
        }
        ends.push(at);
    }
    ends
}

/// Draw `draw` of z ~ N(0, I), f64.
pub fn normal(draw: u64, shape: &[i64]) -> Tensor {
    rng::normal(3, Purpose::Noise, draw, shape, Device::Cpu).to_kind(Kind::Double)
}

/// x_1 of the prior, f64.
pub fn prior(sde: &dyn Sde, shape: &[i64]) -> Tensor {
    rng::normal(3, Purpose::Prior, 0, shape, Device::Cpu).to_kind(Kind::Double) * sde.prior_std()
}

/// A solver's source of noise where there is none.
pub fn no_noise(_: usize) -> Tensor {
    unreachable!("there is no noise")
}

/// Whether the environment asks for the large laws, which take minutes: the whole of a table, or enough repeats for its last digit.
pub fn large() -> bool {
    std::env::var_os("SCORE_SDE_LARGE").is_some()
}

/// Mean and standard error of independent draws `[n]`.
pub fn mean_and_error(draws: &Tensor) -> (f64, f64) {
    let draws = to_vec(&draws.detach());
    let n = draws.len() as f64;
    let mean = draws.iter().sum::<f64>() / n;
    let squares: f64 = draws.iter().map(|x| (x - mean).powi(2)).sum();
    (mean, (squares / (n * (n - 1.0))).sqrt())
}

/// max |x|.
pub fn largest(x: &Tensor) -> f64 {
    x.abs().max().double_value(&[])
}

/// √ mean x².
pub fn root_mean_square(x: &Tensor) -> f64 {
    x.square().mean(Kind::Double).sqrt().double_value(&[])
}

/// A score that is written down: a function of x [B, ...] and a time per example.
pub struct Formula<'a, F: Fn(&Tensor, &[f64]) -> Tensor> {
    pub sde: &'a dyn Sde,
    /// In discrete time.
    pub chain: Option<Chain>,
    pub score: F,
}

impl<'a, F: Fn(&Tensor, &[f64]) -> Tensor> Formula<'a, F> {
    /// In continuous time.
    pub fn new(sde: &'a dyn Sde, score: F) -> Formula<'a, F> {
        Formula { sde, chain: None, score }
    }
}

impl<F: Fn(&Tensor, &[f64]) -> Tensor> Model for Formula<'_, F> {
    fn sde(&self) -> &dyn Sde {
        self.sde
    }

    fn predict(&self, at: &At) -> Prediction {
        let At { x, t, .. } = *at;
        Prediction::of_score((self.score)(x, t))
    }

    /// The score itself is finite without a signal, too.
    fn last_time(&self) -> f64 {
        1.0
    }

    fn chain(&self) -> Option<&Chain> {
        self.chain.as_ref()
    }
}

/// Zero, where only the process matters.
pub fn zero(sde: &dyn Sde) -> impl Model {
    Formula::new(sde, |x, _| x.zeros_like())
}

/// -x, the exact score of N(0, I) under VP.
pub fn standard(sde: &dyn Sde) -> impl Model {
    Formula::new(sde, |x, _| -x)
}

/// The same for every x [B, ...] and t.
pub fn constant(sde: &dyn Sde, score: Tensor) -> impl Model {
    Formula::new(sde, move |_, _| score.shallow_clone())
}

/// -x above a time, and no number at and below it.
pub fn broken_below(sde: &dyn Sde, time: f64) -> impl Model {
    Formula::new(sde, move |x, t| -x * column_of(x, t, |t| if t > time { 1.0 } else { f64::NAN }))
}

/// A model that is never asked.
pub fn never_asked(sde: &dyn Sde) -> impl Model {
    Formula::new(sde, |_, _| panic!("this score is not to be asked"))
}

/// A model of vectors, asked for images of as many pixels.
pub fn of_pixels<'a>(sde: &'a dyn Sde, model: &'a dyn Model) -> impl Model + 'a {
    Formula::new(sde, |x, t| model.score(&At::whole(&x.flatten(1, -1), t)).view_as(x))
}

/// A score in the plane times (1 + stretch), turned by an angle, plus shift / σ.
pub struct Bent<'a> {
    pub model: &'a dyn Model,
    pub stretch: f64,
    /// In radians.
    pub angle: f64,
    pub shift: f64,
}

impl Model for Bent<'_> {
    fn sde(&self) -> &dyn Sde {
        self.model.sde()
    }

    fn predict(&self, at: &At) -> Prediction {
        let (sin, cos) = self.angle.sin_cos();
        let turn = Tensor::from_slice(&[cos, sin, -sin, cos]).view([2, 2]);
        let shift = column_of(at.x, at.t, |t| self.shift / self.sde().sigma(t));
        Prediction::of_score(self.model.score(at).matmul(&turn) * (1.0 + self.stretch) + shift)
    }
}

/// A model that has learnt the variances β^v β̃^(1-v) of its steps down, v [B, ...] a function of x.
pub struct Interpolating<'a, F: Fn(&Tensor) -> Tensor> {
    pub model: &'a dyn Model,
    pub v: F,
}

impl<F: Fn(&Tensor) -> Tensor> Model for Interpolating<'_, F> {
    fn sde(&self) -> &dyn Sde {
        self.model.sde()
    }

    fn predict(&self, at: &At) -> Prediction {
        Prediction { interpolation: Some((self.v)(at.x)), ..self.model.predict(at) }
    }

    fn last_time(&self) -> f64 {
        self.model.last_time()
    }

    fn chain(&self) -> Option<&Chain> {
        self.model.chain()
    }
}

/// A model that remembers the time of each example it was asked for.
pub struct Counting<'a> {
    pub model: &'a dyn Model,
    asked: RefCell<Vec<f64>>,
}

impl<'a> Counting<'a> {
    pub fn new(model: &'a dyn Model) -> Counting<'a> {
        Counting { model, asked: RefCell::default() }
    }

    /// The times so far, in their order.
    pub fn times(&self) -> Vec<f64> {
        self.asked.borrow().clone()
    }

    /// How many examples so far.
    pub fn examples(&self) -> usize {
        self.asked.borrow().len()
    }
}

impl Model for Counting<'_> {
    fn sde(&self) -> &dyn Sde {
        self.model.sde()
    }

    fn predict(&self, at: &At) -> Prediction {
        let At { x, t, .. } = *at;
        self.asked.borrow_mut().extend(t);
        Prediction::of_score(self.model.score(&At::whole(x, t)))
    }

    fn chain(&self) -> Option<&Chain> {
        self.model.chain()
    }
}
