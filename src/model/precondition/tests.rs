//! Laws of preconditionings.

use super::*;
use crate::loss::{Batch, Reduction, denoising_score_matching};
use crate::testing::{SUB_VP, VE, VP, chained, exact, gaussian, largest, sdes};

/// F(x, c) = x · c, so that what goes in can be read from what comes out.
struct Product;
impl Network for Product {
    fn forward(&self, x: &Tensor, told: &Told, _dropout: Option<&Dropout>) -> Tensor {
        let noise = told.noise;
        x * noise.view([-1, 1])
    }
}

fn score(sde: &dyn Sde, precondition: &Precondition, to_unit: (f64, f64), x: f64, t: f64) -> f64 {
    let parametrisation = &precondition.under(sde).unwrap();
    let model = Preconditioned { sde, network: &Product, parametrisation, to_unit, kind: Kind::Double, dropout: None };
    model.score(&At::whole(&Tensor::from_slice(&[x]).view([1, 1]), &[t])).double_value(&[0, 0])
}

#[test]
fn reference_parametrisation_is_the_papers() {
    let truth = -0.7 * 999.0 * 0.3 / VP.sigma(0.3);
    assert!((score(&VP, &Precondition::Reference {}, (1.0, 0.0), 0.7, 0.3) - truth).abs() < 1e-10);
    let truth = (2.0 * 0.7 - 1.0) * VE.sigma(0.3).ln() / VE.sigma(0.3);
    assert!((score(&VE, &Precondition::Reference {}, (2.0, -1.0), 0.7, 0.3) - truth).abs() < 1e-10);
}

#[test]
fn plain_says_what_reference_chooses() {
    let plain = |label, output| Precondition::Plain { label, output };
    let cases: [(&dyn Sde, Precondition); 3] = [
        (&VP, plain(Label::Time, Output::Noise)),
        (&SUB_VP, plain(Label::Time, Output::Noise)),
        (&VE, plain(Label::LogSigma, Output::ScaledScore)),
    ];
    for (sde, plain) in &cases {
        let (got, truth) = (score(*sde, plain, (2.0, -1.0), 0.7, 0.3), score(*sde, &Precondition::Reference {}, (2.0, -1.0), 0.7, 0.3));
        assert!((got - truth).abs() < 1e-12 * truth.abs(), "{plain:?}: {got} is not {truth}");
    }
    assert!((score(&VE, &plain(Label::Sigma, Output::Score), (1.0, 0.0), 0.7, 0.3) - 0.7 * VE.sigma(0.3)).abs() < 1e-15);
    assert!((score(&VE, &plain(Label::T, Output::Score), (1.0, 0.0), 0.7, 0.3) - 0.7 * 0.3).abs() < 1e-15);
    let quarter = 0.25 * VE.sigma(0.3).ln();
    assert!((score(&VE, &plain(Label::QuarterLogSigma, Output::Score), (1.0, 0.0), 0.7, 0.3) - 0.7 * quarter).abs() < 1e-12);
    assert!((score(&VE, &plain(Label::LogTime, Output::Score), (1.0, 0.0), 0.7, 0.3) - 0.7 * 299.7f64.ln()).abs() < 1e-12);
}

#[test]
fn discrete_time_near_its_limit_is_continuous_time() {
    let levels = 100_000;
    let label = |label: f64| label / (levels - 1) as f64;
    let got = score(&VP, &Precondition::Discrete { levels, output: None, variance: None }, (1.0, 0.0), 0.7, 0.3);
    assert!((label(got) + 0.7 * 0.3 / VP.sigma(0.3)).abs() < 1e-3, "{got}");
    let got = score(&VE, &Precondition::Discrete { levels, output: None, variance: None }, (1.0, 0.0), 0.7, 0.3);
    assert!((label(got) - 0.7 * 0.7 / VE.sigma(0.3)).abs() < 1e-2, "{got}");
    let fault = Precondition::Discrete { levels, output: None, variance: None }.under(&SUB_VP).unwrap_err();
    assert_eq!(fault.key, "discrete.levels");
}

#[test]
fn edm_is_the_denoiser_of_the_paper() {
    let (sigma_data, x, t) = (0.5, 0.7, 0.4);
    for (_, sde) in chained() {
        let (alpha, s) = (sde.alpha(t), sde.sigma(t) / sde.alpha(t));
        let total = s * s + sigma_data * sigma_data;
        let (c_skip, c_out, c_in, c_noise) =
            (sigma_data * sigma_data / total, s * sigma_data / total.sqrt(), 1.0 / total.sqrt(), s.ln() / 4.0);
        let denoised = c_skip * x / alpha + c_out * (c_in * x / alpha) * c_noise;
        let truth = (alpha * denoised - x) / sde.sigma(t).powi(2);
        let got = score(sde, &Precondition::Edm { sigma_data }, (1.0, 0.0), x, t);
        assert!((got - truth).abs() < 1e-9 * truth.abs(), "{got} is not {truth}");
    }
}

#[test]
fn labels_are_the_references() {
    let chain = VP.chain(1000).unwrap();
    let (label, gain) = discrete_parametrisation(&chain, 0.37);
    assert!((label - 369.63).abs() < 1e-10 && gain == -1.0 / chain.levels()[369].sigma);
    let chain = VE.chain(1000).unwrap();
    for (t, truth) in [(1.0, (0.0, 0.02)), (0.0, (999.0, 100.0))] {
        let (label, gain) = discrete_parametrisation(&chain, t);
        assert!(label == truth.0 && (gain - truth.1).abs() < 1e-10, "({label}, {gain}) is not {truth:?}");
    }
}

/// F = w x + b.
struct Line(Tensor);

impl Network for Line {
    fn forward(&self, x: &Tensor, _told: &Told, _dropout: Option<&Dropout>) -> Tensor {
        x * self.0.get(0) + self.0.get(1)
    }
}

/// Whatever F means, the best line at one time is the exact score of the Gaussian that has the data's moments.
#[test]
fn every_output_has_the_same_minimiser() {
    tch::set_num_threads(1);
    let (mean, std) = (0.4, 0.7);
    // x_0 and z have the moments of N(mean, std²) and N(0, 1), and are not correlated.
    let column = |values: [f64; 4]| Tensor::from_slice(&values).view([4, 1]);
    let (x0, z) = (column([std, std, -std, -std]) + mean, column([1.0, -1.0, 1.0, -1.0]));
    let outputs = [Output::Noise, Output::Score, Output::ScaledScore, Output::Data, Output::V];
    let plain = |output| Precondition::Plain { label: Label::Sigma, output };
    let discrete = |output| Precondition::Discrete { levels: 50, output, variance: None };
    for (name, sde) in sdes() {
        let mut all: Vec<Precondition> = outputs.into_iter().chain([Output::Velocity]).map(plain).collect();
        if sde.chain(50).is_ok() {
            all.extend(outputs.into_iter().chain([Output::Mean]).map(Some).chain([None]).map(discrete));
        }
        for (precondition, t) in all.iter().flat_map(|precondition| [1.0 / 49.0, 15.0 / 49.0, sde.horizon()].map(|t| (precondition, t))) {
            let (network, dropout) = (Line(Tensor::zeros(2, (Kind::Double, x0.device())).set_requires_grad(true)), None);
            let parametrisation = &precondition.under(sde).unwrap();
            let model = Preconditioned { sde, network: &network, parametrisation, to_unit: (1.0, 0.0), kind: Kind::Double, dropout };
            let set = |w: f64, b: f64| tch::no_grad(|| network.0.shallow_clone().copy_(&Tensor::from_slice(&[w, b])));
            let gradient = |w: f64, b: f64| {
                set(w, b);
                let loss = denoising_score_matching(&model, Reduction::Mean, &Batch { x0: &x0, t: &[t; 4], z: &z, w: &[1.0; 4] });
                let gradient = Tensor::run_backward(&[loss.mean(None)], &[&network.0], false, false).remove(0);
                [0, 1].map(|i| gradient.double_value(&[i]))
            };
            // The loss is a parabola in (w, b).
            let ([g, k], [gw, kw], [gb, kb]) = (gradient(0.0, 0.0), gradient(1.0, 0.0), gradient(0.0, 1.0));
            let (a, c, d) = (gw - g, gb - g, kb - k);
            assert!((kw - k - c).abs() < 1e-6 * c.abs(), "{name}, {precondition:?}: no parabola");
            set((c * k - d * g) / (a * d - c * c), (c * g - a * k) / (a * d - c * c));
            let level = model.level(t);
            let x = &x0 * level.alpha + &z * level.sigma;
            let got = model.noise(&At::whole(&x, &[t; 4]));
            let truth = (&x - level.alpha * mean) * (level.sigma / ((level.alpha * std).powi(2) + level.sigma.powi(2)));
            let apart = largest(&(got - truth));
            assert!(apart < 1e-6, "{name}, {precondition:?} at t = {t}: the best line is {apart} from the exact noise");
            if model.chain().is_none() {
                let exact = exact(sde, &gaussian(1, mean, std));
                assert!(largest(&(model.score(&At::whole(&x, &[t; 4])) - exact.score(&At::whole(&x, &[t; 4])))) * level.sigma < 1e-6);
            }
        }
    }
}

#[test]
fn outputs_that_have_no_meaning_are_refused() {
    let key = |precondition: Precondition| precondition.under(&VP).unwrap_err().key;
    assert_eq!(key(Precondition::Discrete { levels: 100, output: Some(Output::Velocity), variance: None }), "discrete.output");
    assert_eq!(key(Precondition::Plain { label: Label::Time, output: Output::Mean }), "plain.output");
}

/// Samples follow the velocity, likelihoods the score: the flow is one, at times between levels, too.
#[test]
fn in_discrete_time_the_velocity_is_that_of_the_score() {
    tch::set_num_threads(1);
    let outputs = [None, Some(Output::Noise), Some(Output::ScaledScore), Some(Output::Data), Some(Output::V), Some(Output::Mean)];
    for (name, sde) in chained() {
        for output in outputs {
            let parametrisation = &Precondition::Discrete { levels: 100, output, variance: None }.under(sde).unwrap();
            let model = Preconditioned { sde, network: &Product, parametrisation, to_unit: (1.0, 0.0), kind: Kind::Double, dropout: None };
            let x = Tensor::from_slice(&[0.7, -0.2, 1.1, 0.3]).view([4, 1]);
            let t = [0.003, 0.1, 0.6174, 0.998];
            let at = At::whole(&x, &t);
            let of = |f: &dyn Fn(f64) -> f64| column_of(&x, &t, f);
            let truth = &x * of(&|t| sde.drift(t)) - model.score(&at) * of(&|t| 0.5 * sde.diffusion(t).powi(2));
            let velocity = model.velocity(&at);
            assert!(largest(&(&velocity - &truth)) < 1e-9 * largest(&truth), "{name}, {output:?}: {velocity} is not {truth}");
        }
    }
}

/// What the reference leaves unsaid, said.
#[test]
fn in_discrete_time_an_output_can_be_what_the_reference_has() {
    for (sde, same) in [(&VP as &dyn Sde, Output::Noise), (&VE, Output::ScaledScore)] {
        for t in [0.0, 0.037, 0.052, 0.5, 0.981, 1.0] {
            let of = |output| score(sde, &Precondition::Discrete { levels: 30, output, variance: None }, (1.0, 0.0), 0.7, t);
            assert!((of(None) / of(Some(same)) - 1.0).abs() < 1e-12 || of(None) == of(Some(same)), "{same:?} at {t}");
        }
    }
}

/// x · c and, for the variances, 3.
struct ProductAndVariance;

impl Network for ProductAndVariance {
    fn forward(&self, x: &Tensor, told: &Told, dropout: Option<&Dropout>) -> Tensor {
        Tensor::cat(&[Product.forward(x, told, dropout), x.full_like(3.0)], 1)
    }
}

#[test]
fn the_second_half_of_the_outputs_is_the_variances_and_leaves_the_score() {
    tch::set_num_threads(1);
    for (name, sde) in chained() {
        for output in [None, Some(Output::Data), Some(Output::Mean)] {
            let under = |variance| Precondition::Discrete { levels: 100, output, variance }.under(sde).unwrap();
            let (alone, both) = (under(None), under(Some(NetworkVariance::Learned)));
            assert_eq!([alone.outputs(), both.outputs()], [1, 2]);
            let model = |network, parametrisation| Preconditioned {
                sde,
                network,
                parametrisation,
                to_unit: (1.0, 0.0),
                kind: Kind::Double,
                dropout: None,
            };
            let x = Tensor::from_slice(&[0.7, -0.2, 1.1, 0.3]).view([2, 2]);
            let at = At::whole(&x, &[0.3, 0.7]);
            let said = model(&ProductAndVariance, &both).predict(&at);
            assert!(said.interpolation.is_some_and(|v| v.size() == [2, 2] && largest(&(v - 2.0)) == 0.0), "{name}: v is not ½ (1 + 3)");
            assert!(said.value.equal(&model(&Product, &alone).score(&at)), "{name}, {output:?}");
            assert!(model(&Product, &alone).predict(&at).interpolation.is_none());
        }
    }
}
