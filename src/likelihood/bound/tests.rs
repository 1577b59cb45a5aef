//! Bounds of whole data sets in worlds that are known.

use serde_json::json;
use statrs::function::erf::erfc;
use statrs::statistics::Statistics as _;
use tch::Device;

use super::*;
use crate::data::Dataset;
use crate::likelihood::tests::{self, Given, points};
use crate::likelihood::{Trace, likelihood};
use crate::model::Model;
use crate::run::Run;
use crate::sde::Ve;
use crate::solver::SolverSpec;
use crate::space::Scale;
use crate::testing::{VP, exact, gaussian, mixture, never_asked, sdes};

fn spec(count: usize, below_t_min: BelowTMin) -> Likelihood {
    let solver = SolverSpec::Rk4 { grid: TimeGrid::LogSnr { steps: 40 } };
    Likelihood { below_t_min, ..tests::spec(count, solver, Trace::Exact {}) }
}

fn subject<'a>(model: &'a dyn Model, dataset: &'a dyn Dataset, scale: Scale) -> Subject<'a> {
    Subject { model, dataset, scale, conditions: None, dequantiser: None, latent: None, seed: 4, device: Device::Cpu }
}

fn measure(bound: &BoundSpec, spec: &Likelihood, subject: &Subject) -> Bounds {
    bounds(bound, spec, subject, &mut Journal::nowhere(), &Terminal::new(true)).unwrap()
}

const ELBO: BoundSpec = BoundSpec::Elbo { form: Form::Denoising, draws: 32 };
const VLB: BoundSpec = BoundSpec::Vlb { levels: Levels::Grid(TimeGrid::LogSnr { steps: 30 }), variance: Variance::Beta, draws: 4 };
const IWAE: BoundSpec = BoundSpec::Iwae { levels: Levels::Grid(TimeGrid::LogSnr { steps: 30 }), variance: Variance::Beta, paths: 8 };

#[test]
fn over_the_data_bounds_are_in_their_order_above_the_exact_number() {
    tch::set_num_threads(1);
    let (mixture, n) = (mixture(), 250);
    let data = points(&mixture, n, 2);
    for (name, sde) in sdes() {
        let exact = exact(sde, &mixture);
        let subject = subject(&exact, &data, Scale::Vectors { scale: 1.0 });
        for below in [BelowTMin::Tweedie, BelowTMin::Jensen] {
            let spec = spec(n, below);
            let exact = likelihood(&spec, &subject, &mut Journal::nowhere(), &Terminal::new(true)).unwrap().nats();
            let difference = |high: &[f64], low: &[f64]| {
                let d: Vec<f64> = high.iter().zip(low).map(|(high, low)| high - low).collect();
                ((&d).mean(), (&d).std_dev() / (n as f64).sqrt())
            };
            let (elbo, vlb, iwae) = (measure(&ELBO, &spec, &subject), measure(&VLB, &spec, &subject), measure(&IWAE, &spec, &subject));
            let (gap, error) = difference(&elbo.nats, &exact);
            assert!(gap.abs() < 4.0 * error + 0.01 && error < 0.1, "{name} {below:?}: ELBO - exact = {gap} ± {error}");
            let (gap, error) = difference(&vlb.nats, &exact);
            assert!(gap > 4.0 * error, "{name} {below:?}: VLB - exact = {gap} ± {error}");
            let (gap, error) = difference(&iwae.nats, &exact);
            assert!(gap > -4.0 * error, "{name} {below:?}: IWAE - exact = {gap} ± {error}");
            let (gap, error) = difference(&iwae.one_path, &iwae.nats);
            assert!(gap > 4.0 * error, "{name} {below:?}: one path - eight = {gap} ± {error}");
            let (gap, error) = difference(&vlb.nats, &iwae.one_path);
            assert!(gap.abs() < 4.0 * error, "{name} {below:?}: VLB - one path = {gap} ± {error}");
            let terms: f64 = vlb.terms.iter().map(|term| term[0]).sum();
            assert!(vlb.terms.len() == 32 && (terms - (&vlb.nats).mean()).abs() < 1e-9, "the terms add up to the bound");
        }
    }
}

#[test]
fn reported_errors_are_the_spread_of_repeats() {
    tch::set_num_threads(1);
    let (mixture, n) = (mixture(), 600);
    let exact = exact(&VP, &mixture);
    // one point, whose repeats differ in their random numbers alone
    let data = Given { shape: vec![2], values: vec![vec![0.3, -0.2]; n] };
    let subject = subject(&exact, &data, Scale::Vectors { scale: 1.0 });
    let spec = spec(n, BelowTMin::Tweedie);
    for bound in [ELBO, BoundSpec::Elbo { form: Form::Sliced, draws: 8 }, VLB, IWAE] {
        let measured = measure(&bound, &spec, &subject);
        let reported = measured.errors.iter().map(|error| error.unwrap().powi(2)).mean().sqrt();
        let ratio = reported / (&measured.nats).std_dev();
        assert!((0.8..1.25).contains(&ratio), "{bound:?}: the reported error is {ratio} of the spread");
    }
}

#[test]
fn a_bound_depends_on_its_example_alone_and_is_made_once() {
    tch::set_num_threads(1);
    let (mixture, n) = (mixture(), 5);
    let exact = exact(&VP, &mixture);
    let data = Given { shape: vec![2], values: (0..n).map(|i| vec![0.3, i as f32]).collect() };
    let scale = Scale::Vectors { scale: 2.0 };
    let home = tempfile::tempdir().unwrap();
    let run = Run::open(home.path()).unwrap();
    for (i, bound) in [ELBO, VLB, IWAE].iter().enumerate() {
        let spec = spec(n, BelowTMin::Tweedie);
        let together = measure(bound, &spec, &subject(&exact, &data, scale));
        let in_batches = Likelihood { batch: 2, ..spec.clone() };
        let journal = || Journal::open(run.folder(), &format!("{i}.journal"), &json!(bound)).unwrap();
        let first = bounds(bound, &in_batches, &subject(&exact, &data, scale), &mut journal(), &Terminal::new(true)).unwrap();
        let again = bounds(bound, &in_batches, &subject(&never_asked(&VP), &data, scale), &mut journal(), &Terminal::new(true)).unwrap();
        assert!(together.nats.iter().zip(&first.nats).all(|(a, b)| (a - b).abs() < 1e-9), "{:?} {:?}", together.nats, first.nats);
        assert_eq!((&first.nats, &first.errors, &first.terms), (&again.nats, &again.errors, &again.terms));
    }
}

#[test]
fn the_probability_of_a_pixel_is_bounded_and_nearly_met_without_dequantisation() {
    tch::set_num_threads(1);
    let (mean, std) = (100.3, 6.0);
    let phi = |x: f64| 0.5 * erfc(-x / std::f64::consts::SQRT_2);
    let mass = |i: f64| phi((i + 0.5 - mean) / std) - phi((i - 0.5 - mean) / std);
    // pixels stand at lo + (hi - lo) i / 255, and their bins reach half a step further
    let scale = Scale::Pixels { range: [0.0, 1.0], dequantise: false };
    let world = gaussian(1, mean / 255.0, std / 255.0);
    // σ_min near half a bin.
    let sde = Ve { sigma_min: 0.4 / 255.0, sigma_max: 5.0 };
    let exact = exact(&sde, &world);
    let pixels = Given { shape: vec![1], values: (0..256).map(|i| vec![i as f32]).collect() };
    let subject = subject(&exact, &pixels, scale);
    let spec = spec(256, BelowTMin::Discrete);
    let entropy: f64 = (0..256).map(|i| mass(i as f64)).filter(|&p| p > 0.0).map(|p| -p * p.ln()).sum();
    let over_the_data = |values: &mut dyn Iterator<Item = f64>| values.enumerate().map(|(i, value)| mass(i as f64) * value).sum::<f64>();
    let flow = likelihood(&spec, &subject, &mut Journal::nowhere(), &Terminal::new(true)).unwrap().nats();
    let gap = over_the_data(&mut flow.into_iter()) - entropy;
    assert!((-0.05..0.25).contains(&gap), "the flow is {gap} nats above the entropy");
    let elbo = measure(&BoundSpec::Elbo { form: Form::Denoising, draws: 400 }, &spec, &subject);
    let gap = over_the_data(&mut elbo.nats.iter().copied()) - entropy;
    let variance: f64 = elbo.errors.iter().enumerate().map(|(i, error)| (mass(i as f64) * error.unwrap()).powi(2)).sum();
    let error = variance.sqrt();
    assert!(error < 0.1 && gap > -4.0 * error && gap < 0.25 + 4.0 * error, "the ELBO is {gap} ± {error} nats above the entropy");
}
