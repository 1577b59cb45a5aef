//! Times the networks of experiments in turns: F and vᵀ ∂F/∂x, the median of each, and its ratio to the first one's.
//!
//! ```text
//! cargo run --release --example time_networks -- BATCH ROUNDS EXPERIMENT.toml...
//! ```

use std::path::Path;
use std::time::Instant;

use score_sde::error::{Error, Result};
use score_sde::experiment;
use score_sde::model::ScoreNetwork;
use score_sde::net::Told;
use score_sde::session::{Machine, Session};
use tch::{Device, Kind, Tensor, no_grad};

/// Milliseconds of F, and of F with its product.
fn times(model: &ScoreNetwork, x: &Tensor, label: &Tensor) -> [f64; 2] {
    let told = Told::noise(label);
    let begun = Instant::now();
    let v = no_grad(|| model.network.forward(x, &told, None));
    let forward = begun.elapsed();
    let begun = Instant::now();
    let x = x.detach().set_requires_grad(true);
    let along = (model.network.forward(&x, &told, None) * v).sum(None::<Kind>);
    Tensor::run_backward(&[along], &[&x], false, false);
    [forward, begun.elapsed()].map(|time| time.as_secs_f64() * 1e3)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage = || Error::Usage { message: "that can't be read".into(), help: "time_networks BATCH ROUNDS EXPERIMENT.toml...".into() };
    let [batch, rounds, files @ ..] = &arguments[..] else { return Err(usage()) };
    let (batch, rounds): (i64, usize) = (batch.parse().map_err(|_| usage())?, rounds.parse().map_err(|_| usage())?);
    let machine = Machine { threads: Some(1), ..Machine::default() };
    let session = |file: &String| Ok(Session::new(&experiment::load(Path::new(file), &[])?, machine));
    let sessions: Vec<Session> = files.iter().map(session).collect::<Result<_>>()?;
    let models: Vec<&ScoreNetwork> = sessions.iter().filter_map(Session::network).collect();
    models.iter().for_each(|model| model.parameters.freeze());

    let shape = |session: &Session| [batch].into_iter().chain(session.model_shape().iter().map(|n| *n as i64)).collect::<Vec<_>>();
    let x = Tensor::randn(sessions.first().map(shape).ok_or_else(usage)?, (Kind::Float, Device::Cpu));
    let label = Tensor::full([batch], 0.5, (Kind::Float, Device::Cpu));
    let round = || models.iter().map(|model| times(model, &x, &label)).collect::<Vec<_>>();
    // The first one warms up.
    let all: Vec<Vec<[f64; 2]>> = (0..=rounds).map(|_| round()).skip(1).collect();
    for (i, file) in files.iter().enumerate() {
        let of = |what: usize| median(all.iter().map(|round| round[i][what]).collect());
        let ratio = |what: usize| median(all.iter().map(|round| round[i][what] / round[0][what]).collect());
        println!("{file}: F {:.2} ms, {:.2} of the first; with the product {:.2} ms, {:.2}", of(0), ratio(0), of(1), ratio(1));
    }
    Ok(())
}
