//! Samples follow the law of the data, solver by solver.

use super::*;
use crate::metric::{Energy, kolmogorov_smirnov};
use crate::sde::Level;
use crate::testing::large;

/// Every solver with its η, as far as it serves a process.
fn cases(name: &str, sde: &dyn Sde) -> Vec<(SolverSpec, f64)> {
    let log_snr = |steps| TimeGrid::LogSnr { steps };
    let karras = |steps| TimeGrid::Karras { steps, rho: 7.0 };
    let mut cases = vec![
        (SolverSpec::Euler { grid: uniform(400) }, 1.0),
        (SolverSpec::Euler { grid: uniform(400) }, 0.5),
        (SolverSpec::Heun { grid: log_snr(60) }, 1.0),
        (SolverSpec::Heun { grid: log_snr(80) }, 1.3),
        (SolverSpec::Midpoint { grid: log_snr(60) }, 1.0),
        (SolverSpec::Sra { grid: log_snr(60) }, 1.0),
        (SolverSpec::AdaptiveSde { rtol: 0.2, atol: 0.02 }, 1.0),
        (SolverSpec::Edm(Churn { s_churn: 20.0, s_min: 0.05, s_max: 50.0, s_noise: 1.0, grid: karras(40) }), 0.0),
        (SolverSpec::DpmSolverPp { order: 1, grid: log_snr(150) }, 1.0),
        (SolverSpec::DpmSolverPp { order: 2, grid: log_snr(50) }, 1.0),
        (SolverSpec::DpmSolverPp { order: 3, grid: log_snr(50) }, 0.5),
        (SolverSpec::DpmSolver { order: 2, grid: log_snr(60) }, 1.0),
        (SolverSpec::DpmSolverPpSingle { order: 3, grid: log_snr(30) }, 1.0),
        (SolverSpec::DpmSolverPpSingle { order: 2, grid: log_snr(40) }, 0.5),
        (SolverSpec::Deis { order: 2, variable: DeisVariable::NoiseToSignal, grid: log_snr(100) }, 1.0),
        (SolverSpec::DpmSolver { order: 3, grid: log_snr(10) }, 0.0),
        (SolverSpec::DpmSolverPpSingle { order: 3, grid: log_snr(10) }, 0.0),
        (SolverSpec::Deis { order: 3, variable: DeisVariable::Time, grid: log_snr(20) }, 0.0),
        (SolverSpec::Heun { grid: TimeGrid::Karras { steps: 30, rho: 7.0 } }, 0.0),
        (SolverSpec::Euler { grid: log_snr(300) }, 0.0),
        (SolverSpec::Rk4 { grid: log_snr(30) }, 0.0),
        (SolverSpec::Rk23(Adaptive::new(1e-3, 1e-3)), 0.0),
        (SolverSpec::Rk45(Adaptive::new(1e-4, 1e-4)), 0.0),
        (SolverSpec::Tsit5(Adaptive::new(1e-4, 1e-4)), 0.0),
        (SolverSpec::Tsit5(Adaptive { control: Control::Pi, ..Adaptive::new(1e-4, 1e-4) }), 0.0),
        (SolverSpec::Dop853(Adaptive::new(1e-4, 1e-4)), 0.0),
        (SolverSpec::DpmSolverPp { order: 1, grid: log_snr(150) }, 0.0),
        (SolverSpec::DpmSolverPp { order: 2, grid: log_snr(20) }, 0.0),
        (SolverSpec::DpmSolverPp { order: 3, grid: log_snr(20) }, 0.0),
        (SolverSpec::UniPc { order: 2, variant: UniPcVariant::Bh1, grid: log_snr(20) }, 0.0),
        (SolverSpec::UniPc { order: 3, variant: UniPcVariant::Bh2, grid: log_snr(20) }, 0.0),
    ];
    cases.extend(song::cases(name, sde));
    cases
}

/// Points of a solver: their largest Kolmogorov-Smirnov distance from the law of the data, and their energy distance in thousandths.
type Distances = (f64, f64);

/// With n samples the Kolmogorov-Smirnov distance of each marginal stays below 1.95 / √n, the 0.1 % point, and the energy distance below
/// 0.006, which a shift of both components by 0.1 in each coordinate exceeds.
const SAMPLES: i64 = 4000;
const LARGEST: Distances = (0.031, 6.0);
/// How far a number may be from the one of the page: rounding, of another processor, too, may turn a step of an adaptive solver.
const NEAR: Distances = (0.0021, 0.31);

const PAGE: &str = "src/solver/laws.md";
const HEAD: &str = "Samples of a two-dimensional mixture of two correlated Gaussians by its exact score, 4000 for each setting: the larger Kolmogorov-Smirnov\n\
    distance of the two marginals (the 0.1 % point is 0.031), and the energy distance to the mixture in thousandths, an unbiased estimate that\n\
    scatters by about one around 0 for the law itself; ε of annealed Langevin is 0.2 (σ/α)² at t_min. `cargo test --lib law_of_the_data` computes\n\
    the table, of the last four columns every fourth line, holds it below 0.031 and 6, and compares it with this page; with `SCORE_SDE_LARGE=1` all\n\
    of it, and with `SCORE_SDE_WRITE=1` it writes the page anew.\n\n\
    | solver | η | VP | sub-VP | VE | cosine | linear | EDM | table | formula |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";

/// Rows of the page: solver and η as written there, and the distances under each process of [`sdes()`].
type Rows = Vec<(String, [Option<Distances>; 8])>;

#[test]
fn samples_follow_the_law_of_the_data() {
    let write = std::env::var_os("SCORE_SDE_WRITE").is_some();
    let looked_at = move |process: usize, line: usize| large() || write || process < 4 || line % 4 == process % 4;
    let of_process = move |(process, (name, sde)): (usize, (&'static str, &'static dyn Sde))| {
        tch::set_num_threads(1);
        let measured = |(line, (solver, eta)): (usize, &(SolverSpec, f64))| {
            let distances = looked_at(process, line).then(|| measured(name, sde, solver, *eta));
            (label(solver, *eta), distances)
        };
        cases(name, sde).iter().enumerate().map(measured).collect::<Vec<_>>()
    };
    let columns = std::thread::scope(|scope| {
        let threads: Vec<_> = sdes().into_iter().enumerate().map(|process| scope.spawn(move || of_process(process))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a law of samples")).collect::<Vec<_>>()
    });
    let mut skipped = Vec::new();
    let mut rows = Rows::new();
    for (process, column) in columns.into_iter().enumerate() {
        for (label, distances) in column {
            if !rows.iter().any(|row| row.0 == label) {
                rows.push((label.clone(), [None; 8]));
            }
            rows.iter_mut().filter(|row| row.0 == label).for_each(|row| row.1[process] = distances);
            if distances.is_none() {
                skipped.push((label, process));
            }
        }
    }
    if write {
        std::fs::write(PAGE, written(&rows)).unwrap();
    }
    let page = std::fs::read_to_string(PAGE).unwrap();
    let cure = "SCORE_SDE_WRITE=1 cargo test --lib law_of_the_data writes it anew";
    assert!(page.starts_with(HEAD) && page.lines().count() == HEAD.lines().count() + rows.len(), "{PAGE} is out of date: {cure}");
    for ((label, distances), line) in rows.iter().zip(page.lines().skip(HEAD.lines().count())) {
        let stated = line.strip_prefix(label.as_str()).unwrap_or_else(|| panic!("{PAGE}: {line} is not {label}: {cure}"));
        for (process, (stated, measured)) in stated.trim_matches(['|', ' ']).split(" | ").zip(distances).enumerate() {
            if skipped.contains(&(label.clone(), process)) {
                continue;
            }
            let stated: Option<Vec<f64>> = (stated != "-").then(|| stated.split(", ").map(|number| number.parse().unwrap()).collect());
            let near = match (&stated, measured) {
                (Some(stated), Some(measured)) => (stated[0] - measured.0).abs() < NEAR.0 && (stated[1] - measured.1).abs() < NEAR.1,
                (stated, measured) => stated.is_none() && measured.is_none(),
            };
            assert!(near, "{PAGE}: {label} has {stated:?} there, and {measured:?} was measured: {cure}");
        }
    }
}

fn written(rows: &Rows) -> String {
    let number =
        |distances: &Option<Distances>| distances.map_or("-".to_owned(), |(marginal, energy)| format!("{marginal:.3}, {energy:+.1}"));
    let line =
        |(label, distances): &(String, [Option<Distances>; 8])| format!("{label} {} |\n", distances.each_ref().map(number).join(" | "));
    HEAD.to_owned() + &rows.iter().map(line).collect::<String>()
}

/// The first two cells of a row.
fn label(solver: &SolverSpec, eta: f64) -> String {
    let mut settings = toml::Value::try_from(solver).unwrap();
    if let Some(langevin) = settings.get_mut("annealed-langevin").and_then(toml::Value::as_table_mut) {
        langevin.remove("epsilon");
    }
    let (name, value) = settings.as_table().and_then(|table| table.iter().next()).unwrap();
    format!("| `{name} = {value}` | {eta} |")
}

fn measured(name: &str, sde: &dyn Sde, solver: &SolverSpec, eta: f64) -> Distances {
    solver.check(sde, eta, 1e-3, None).unwrap();
    let (marginal, energy) = solved(sde, solver, eta, (&prior(sde, &[SAMPLES, 2]), 1.0));
    let case = format!("{} {name} | {marginal:.4}, {energy:+.2} |", label(solver, eta));
    println!("{case}");
    assert!(marginal < LARGEST.0 && energy < LARGEST.1, "{case}");
    (marginal, energy)
}

/// Of what becomes of states at t.
fn solved(sde: &dyn Sde, solver: &SolverSpec, eta: f64, (x, t): (&Tensor, f64)) -> Distances {
    let exact = exact(sde, &mixture());
    let mut noise = |draw: usize| normal(draw as u64, &[SAMPLES, 2]);
    let problem = Problem { x, span: (t, 1e-3), denoise: false };
    distances(&solver.sample(&Reverse { model: &exact, eta }, &problem, &mut noise, &mut |_| {}).unwrap().0)
}

/// SDEdit of the data themselves: whatever the time, noise that is put on is taken off. Solver by solver, each under one process.
#[test]
fn samples_that_begin_on_the_way_follow_the_law_too() {
    tch::set_num_threads(1);
    for (process, (name, sde)) in sdes().into_iter().enumerate() {
        let some = cases(name, sde).into_iter().skip(process).step_by(sdes().len());
        for ((solver, eta), t) in some.zip([0.7, 0.4, 0.15].into_iter().cycle()) {
            let Level { alpha, sigma, .. } = sde.level(t);
            let x = points(&mixture(), 6, SAMPLES as usize) * alpha + normal(1 << 20, &[SAMPLES, 2]) * sigma;
            let (marginal, energy) = solved(sde, &solver, eta, (&x, t));
            assert!(marginal < LARGEST.0 && energy < LARGEST.1, "{} {name}, t = {t}: {marginal}, {energy}", label(&solver, eta));
        }
    }
}

/// Of points from the mixture.
fn distances(x: &Tensor) -> Distances {
    thread_local! {
        static DATA: Energy = Energy::new(&points(&mixture(), 4, 2000));
    }
    let truth = mixture();
    (kolmogorov_smirnov(x, |axis, value| truth.marginal_cdf(axis, value, 1.0, 0.0)), 1e3 * DATA.with(|data| data.distance(x).value))
}

#[test]
fn the_distances_see_a_small_shift() {
    tch::set_num_threads(1);
    let x = points(&mixture(), 5, 4000);
    let (marginal, energy) = distances(&x);
    assert!(marginal < LARGEST.0 && energy < 0.5 * LARGEST.1, "{marginal}, {energy}");
    let (marginal, energy) = distances(&(x + 0.1));
    assert!(marginal > LARGEST.0 && energy > LARGEST.1, "{marginal}, {energy}");
}

/// The reference's sampler, 1000 predictions and 1000 corrections, is reached by 20 evaluations.
#[test]
fn twenty_evaluations_are_as_good_as_the_two_thousand_of_predictor_and_corrector() {
    tch::set_num_threads(1);
    let n = 4000;
    for (name, sde) in sdes() {
        let exact = exact(sde, &mixture());
        let x = prior(sde, &[n, 2]);
        let solve = |solver: &SolverSpec, eta| {
            let reverse = Reverse { model: &exact, eta };
            let problem = Problem { x: &x, span: (1.0, 1e-3), denoise: false };
            let mut noise = |draw: usize| normal(draw as u64, &[n, 2]);
            solver.sample(&reverse, &problem, &mut noise, &mut |_| {}).unwrap()
        };
        let corrector = Corrector::Langevin { steps: 1, snr: 0.16, norms: Norms::Batch, alpha: StepFactor::Chain };
        let reference = PredictorCorrector { steps: 1000, predictor: Predictor::ReverseDiffusion, corrector };
        let (slow, cost) = solve(&SolverSpec::PredictorCorrector(reference), 1.0);
        assert_eq!(cost.evaluations[0], 2000);
        let (fast, cost) = solve(&SolverSpec::DpmSolverPp { order: 3, grid: TimeGrid::LogSnr { steps: 20 } }, 0.0);
        assert_eq!(cost.evaluations[0], 20);
        let ((slow_marginal, slow_energy), (marginal, energy)) = (distances(&slow), distances(&fast));
        println!(
            "{name}: 2000 evaluations KS {slow_marginal:.4}, energy {slow_energy:.2}; 20 evaluations KS {marginal:.4}, energy {energy:.2}"
        );
        // What chance leaves of the distances of 4000 points of the very law.
        assert!(marginal < slow_marginal.max(1.36 / (n as f64).sqrt()), "{name}: {marginal} is not {slow_marginal}");
        assert!(energy < slow_energy.max(if name == "edm" { 1.5 } else { 1.0 }), "{name}: {energy} is not {slow_energy}");
    }
}
