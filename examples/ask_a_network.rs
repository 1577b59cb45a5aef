//! Asks the network of an experiment or a run for F(x, label) and for vᵀ ∂F/∂x, in numbers that NumPy reads:
//!
//! ```text
//! cargo run --release --example ask_a_network -- EXPERIMENT.toml in.npz out.npz
//! ```
//!
//! `in.npz` holds x [B, ...], label `[B]`, v of F's shape, and condition [B, M] where the network is told one; `out.npz` gets y and vjp.

use std::collections::BTreeMap;
use std::path::Path;

use score_sde::error::{Error, Result};
use score_sde::experiment;
use score_sde::net::Told;
use score_sde::session::{Machine, Session};
use tch::Tensor;

fn main() -> Result<()> {
    let usage = |message: &str| Error::Usage { message: message.into(), help: "ask_a_network EXPERIMENT.toml|RUN in.npz out.npz".into() };
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [subject, inputs, outputs] = &arguments[..] else { return Err(usage("there are three arguments")) };
    let session = match Path::new(subject) {
        run if run.is_dir() => Session::open(run, Machine::default())?.0,
        file => Session::new(&experiment::load(file, &[])?, Machine::default()),
    };
    let network = session.network().ok_or_else(|| usage("the experiment has no network"))?;
    let inputs: BTreeMap<String, Tensor> = Tensor::read_npz(inputs).map_err(|e| usage(&e.to_string()))?.into_iter().collect();
    let given = |name: &str| inputs.get(name).map(|tensor| tensor.to_kind(network.kind()).to_device(session.device()));
    let needed = |name: &str| given(name).ok_or_else(|| usage(&format!("{name} is missing")));

    let x = needed("x")?.set_requires_grad(true);
    let y = network.network.forward(&x, &Told { noise: &needed("label")?, condition: given("condition").as_ref() }, None);
    let along = (&y * needed("v")?).sum(network.kind());
    let vjp = Tensor::run_backward(&[along], &[&x], false, false).remove(0);
    Tensor::write_npz(&[("y", &y.detach()), ("vjp", &vjp)], outputs).map_err(|e| usage(&e.to_string()))
}
