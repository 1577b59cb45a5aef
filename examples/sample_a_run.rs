//! Loads a run, draws samples from it with a solver of one's own choice, and measures its likelihood:
//!
//! ```text
//! scripts/score-sde run experiments/quickstart.toml
//! cargo run --release --example sample_a_run -- runs/quickstart
//! ```

use std::path::PathBuf;

use score_sde::error::{Error, Result};
use score_sde::sample::{DynamicsSpec, Sample};
use score_sde::session::{Machine, Session};
use score_sde::solver::{SolverSpec, TimeGrid};

fn main() -> Result<()> {
    let path = std::env::args().nth(1).map_or(PathBuf::from("runs/quickstart"), PathBuf::from);
    let (session, run) = Session::open(&path, Machine::default())?;

    let solver = SolverSpec::DpmSolverPp { order: 2, grid: TimeGrid::LogSnr { steps: 20 } };
    let spec = Sample {
        count: 500,
        batch: 500,
        dynamics: DynamicsSpec::ProbabilityFlow,
        solver,
        t_min: 1e-3,
        denoise: true,
        trajectory: vec![],
        path: None,
        thresholding: None,
        given: None,
        guidance: None,
        measurement: None,
    };
    let samples = session.sample(&spec)?;
    println!("{:?} samples, {:.0} evaluations each", samples.x.size(), samples.statistics.mean_evaluations());

    let missing =
        Error::Usage { message: "the experiment has no [likelihood]".into(), help: "add one, as in experiments/quickstart.toml".into() };
    let spec = session.plan().likelihood.clone().ok_or(missing)?;
    println!("{}", session.likelihood(&spec, &run, &run, "example")?.headline());
    Ok(())
}
