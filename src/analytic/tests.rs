//! What is measured, against closed forms.

use std::sync::Arc;

use serde_json::json;
use tch::Device;

use super::*;
use crate::bound::{Decoder, DecoderLaw, Vlb};
use crate::data::{Data, Split};
use crate::law::GaussianMixture;
use crate::sde::{Transition, Variance};
use crate::testing::{chained, exact, gaussian, levels, mean_and_error, mixture, normal, points};

const SPEC: AnalyticVariance = AnalyticVariance { levels: 30, examples: 4000, batch: 500 };

/// A training set of a law.
fn dataset(law: &GaussianMixture) -> Arc<dyn Dataset> {
    let data: Data =
        serde_json::from_value(json!({ "gaussian-mixture": { "train": 4000, "test": 1, "scale": 1.0, "mixture": law } })).unwrap();
    data.open(Split::Train, 1).unwrap()
}

fn measured(model: &dyn Model, law: &GaussianMixture, spec: &AnalyticVariance) -> MeanSquares {
    let subject = Subject {
        model,
        dataset: dataset(law),
        conditions: None,
        scale: Scale::Vectors { scale: 1.0 },
        flip: false,
        latent: None,
        device: Device::Cpu,
    };
    measure(spec, 7, subject, &mut Journal::nowhere(), &Terminal::new(true)).unwrap()
}

/// For x_0 ~ N(μ, s²), ẑ = σ (x - α μ) / (α² s² + σ²), so that E (z - ẑ)² = 1 - E ẑ² = α² s² / (α² s² + σ²); and the reverse process's own
/// step from t to s has the variance (1 / v_s + α_ts² / β)^-1 of x_s given x_t.
#[test]
fn on_a_gaussian_the_variance_is_that_of_the_reverse_process() {
    tch::set_num_threads(1);
    let (mean, std) = (0.5, 0.7);
    let law = gaussian(2, mean, std);
    for (name, sde) in chained() {
        let exact = exact(sde, &law);
        let squares = measured(&exact, &law, &SPEC);
        let chain = sde.chain(SPEC.levels).unwrap();
        let spread = |level: &Level| (level.alpha * std).powi(2) + level.sigma.powi(2);
        for (level, [log_snr, square]) in chain.levels().iter().zip(squares.levels()) {
            let truth = (level.alpha * std).powi(2) / spread(level);
            assert!(
                (square - truth).abs() < if truth > 1e-5 { 0.08 * truth } else { 1e-5 } && *log_snr == level.log_snr(),
                "{name}: {square} is not {truth}"
            );
        }
        let model = crate::model::Measured { model: Box::new(exact), squares: &squares };
        for pair in chain.levels().windows(2) {
            let step = Transition::new(pair[1], pair[0]);
            let truth = 1.0 / (1.0 / spread(&pair[0]) + step.shrinkage().powi(2) / step.beta);
            let formula = step.variance(Variance::Analytic, (pair[1].alpha * std).powi(2) / spread(&pair[1]));
            assert!((formula / truth - 1.0).abs() < 1e-9, "{name}: {formula} is not {truth}");
            let got = model.variance(&step, Variance::Analytic);
            assert!((got / truth - 1.0).abs() < 0.08, "{name}: measured {got} is not {truth}");
        }
    }
}

/// With the exact score of a mixture: the bound falls with the number of levels and towards the entropy, and the analytic variance has the
/// lowest at each.
#[test]
fn bounds_of_few_levels_are_ordered() {
    tch::set_num_threads(1);
    const N: usize = 2000;
    let (law, x0) = (mixture(), points(&mixture(), 2, N));
    for (name, sde) in chained() {
        let t_min = sde.time_of_log_snr(6.0);
        let squares = measured(&exact(sde, &law), &law, &AnalyticVariance { levels: 100, ..SPEC });
        let model = crate::model::Measured { model: Box::new(exact(sde, &law)), squares: &squares };
        let bound = |n: usize, variance| {
            let levels = levels(sde, t_min, n);
            let decoder = Decoder { model: &model, level: levels[0], law: DecoderLaw::Tweedie };
            let vlb = Vlb { model: &model, levels, variance, decoder };
            vlb.terms(&x0, &mut |i| normal(i as u64, &[N as i64, 2])).sum_dim_intlist(1i64, false, Kind::Double)
        };
        let density = law.factored();
        let surprise: Vec<f64> = to_vec(&x0).chunks(2).map(|x| -density.log_density(x)).collect();
        let surprise = Tensor::from_slice(&surprise);
        let mut before = None;
        for n in [10, 20, 50] {
            let [beta, beta_tilde, analytic] = [Variance::Beta, Variance::BetaTilde, Variance::Analytic].map(|variance| bound(n, variance));
            println!(
                "{name}, {n} levels: β {:?}, β̃ {:?}, analytic {:?}",
                mean_and_error(&beta),
                mean_and_error(&beta_tilde),
                mean_and_error(&analytic)
            );
            for (other, of) in [(&beta, "β"), (&beta_tilde, "β̃")] {
                let (gain, error) = mean_and_error(&(other - &analytic));
                assert!(gain > 4.0 * error, "{name}, {n} levels: the analytic variance is {gain} ± {error} below {of}");
            }
            let (gap, error) = mean_and_error(&(&analytic - &surprise));
            assert!(gap > -4.0 * error, "{name}, {n} levels: {gap} ± {error} above the entropy");
            if let Some(before) = before.replace(analytic.copy()) {
                let (fall, error) = mean_and_error(&(before - &analytic));
                assert!(fall > error, "{name}: {n} levels are lower by {fall} ± {error}");
            }
        }
    }
}

#[test]
fn a_killed_measurement_goes_on_to_the_same_bits() {
    tch::set_num_threads(1);
    let (law, sde) = (mixture(), chained()[0].1);
    let spec = AnalyticVariance { levels: 25, examples: 250, batch: 100 };
    let exact = exact(sde, &law);
    let subject = |model| Subject {
        model,
        dataset: dataset(&law),
        conditions: None,
        scale: Scale::Vectors { scale: 1.0 },
        flip: false,
        latent: None,
        device: Device::Cpu,
    };
    let home = tempfile::tempdir().unwrap();
    let run = Run::open(home.path()).unwrap();
    let journal = || Journal::<Measured>::open(run.folder(), "a.journal", &json!(spec)).unwrap();
    let whole = measure(&spec, 7, subject(&exact), &mut journal(), &Terminal::new(true)).unwrap();
    let path = run.folder().at("a.journal");
    let bytes = std::fs::read(&path).unwrap();
    let ends = crate::testing::frame_ends(&bytes);
    std::fs::write(&path, &bytes[..ends[1] + 3]).unwrap();
    assert_eq!(measure(&spec, 7, subject(&exact), &mut journal(), &Terminal::new(true)).unwrap(), whole);
    let never = crate::testing::never_asked(sde);
    assert_eq!(measure(&spec, 7, subject(&never), &mut journal(), &Terminal::new(true)).unwrap(), whole);
}
