//! This library's side of `scripts/bench`, which lets it and a twin in PyTorch take turns on the same work.
//!
//! `rounds serve` answers each line of its input with a line of JSON, and sleeps in between:
//!
//! ```text
//! threads N           LibTorch's threads from here on
//! prepare CASE FILE   makes the case, and writes its weights, its batch and what becomes of them to FILE
//! round WORK N        does the work with N repeats, steps or points: the seconds
//! memory              the largest memory of this process so far, bytes
//! ```
//!
//! Without `serve`, every work is done once on the smallest case.

#[path = "../src/allocator.rs"]
mod allocator;

use std::io::BufRead;
use std::path::Path;
use std::time::Instant;

use score_sde::divergence::Probes;
use score_sde::dynamics::{Dynamics, FlowWithLogDensity, squared_norm};
use score_sde::experiment::{Experiment, Loaded};
use score_sde::loss::{Batch, denoising_score_matching};
use score_sde::model::{At, Model, ScoreNetwork};
use score_sde::net::{Dropout, NetworkSpec};
use score_sde::optim::Losses;
use score_sde::rng::{self, Law, Purpose};
use score_sde::run::tensors;
use score_sde::sample::{DynamicsSpec, Sample};
use score_sde::session::{Machine, Session};
use score_sde::solver::{Adaptive, SolverSpec, TimeGrid};
use score_sde::tensor::{column_of, to_vec};
use score_sde::train::{Gradient, State, Train};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor, no_grad};

struct Case {
    name: &'static str,
    /// A file of `experiments/`.
    experiment: &'static str,
    shape: &'static [usize],
    batch: usize,
}

/// From the smallest.
const CASES: [Case; 4] = [
    Case { name: "mlp", experiment: "quickstart", shape: &[2], batch: 1024 },
    Case { name: "small", experiment: "vp_cifar", shape: &[1, 32, 32], batch: 32 },
    Case { name: "ddpmpp", experiment: "vp_cifar", shape: &[3, 32, 32], batch: 8 },
    Case { name: "ncsnpp", experiment: "ve_cifar", shape: &[3, 32, 32], batch: 8 },
];

const WORKS: [&str; 6] = ["forward", "step", "flow", "ode", "sde", "likelihood"];

/// Samples of the SDE.
const SAMPLES: usize = 1000;

/// Where the flow is asked for.
const MIDDLE: f64 = 0.5;

impl Case {
    fn load(&self) -> Loaded {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("experiments/{}.toml", self.experiment));
        let text = std::fs::read_to_string(&path).expect("an experiment of this checkout");
        let mut experiment: Experiment = toml::from_str(&text).expect("an experiment");
        if let ("small", Some(NetworkSpec::Ncsnpp(spec))) = (self.name, &mut experiment.network) {
            (spec.channels, spec.multipliers, spec.blocks, spec.attention) = (32, vec![1, 2, 2], 2, vec![8]);
        }
        let plan = experiment.plan().expect("an experiment that works");
        // No data are opened: a batch of noise takes as long.
        Loaded {
            experiment,
            plan,
            shape: self.shape.to_vec(),
            condition: 0,
            vae: None,
            origins: Default::default(),
            train: None,
            measured: None,
        }
    }
}

/// A case with its batch.
struct Prepared {
    experiment: Experiment,
    session: Session,
    /// [B, ...]
    x0: Tensor,
    z: Tensor,
    /// x_t at the times t `[B]`.
    x: Tensor,
    t: Vec<f64>,
    /// [1, B, D]
    probes: Tensor,
}

impl Prepared {
    fn new(case: &Case) -> Prepared {
        let loaded = case.load();
        let threads = Some(tch::get_num_threads());
        let session = Session::new(&loaded, Machine { threads, ..Machine::default() });
        let (seed, batch) = (loaded.plan.seed, case.batch as u64);
        let shape: Vec<i64> = case.shape.iter().map(|&n| n as i64).collect();
        let draw = |law, purpose, shape: &[i64]| rng::rows(law, seed, purpose, 0..batch, 0, shape, Device::Cpu);
        let (x0, z) = (draw(Law::Gaussian, Purpose::Data, &shape), draw(Law::Gaussian, Purpose::Noise, &shape));
        let probes = draw(Law::Rademacher, Purpose::Probe, &[shape.iter().product()]).unsqueeze(0);
        let t: Vec<f64> = rng::uniform_rows(seed, Purpose::Time, 0..batch, 0).into_iter().map(|u| 0.01 + 0.99 * u).collect();
        let of = |f: &dyn Fn(f64) -> f64| column_of(&x0, &t, f);
        let sde = loaded.experiment.sde.as_ref().expect("every case has a process").get();
        let x = &x0 * of(&|t| sde.alpha(t)) + &z * of(&|t| sde.sigma(t));
        let prepared = Prepared { experiment: loaded.experiment, session, x0, z, x, t, probes };
        // New networks end their branches near zero: nothing would be compared there.
        let flat = prepared.network().parameters.flat();
        let noise = rng::normal(seed, Purpose::Init, u64::MAX, &flat.size(), Device::Cpu) * 0.03;
        no_grad(|| drop(flat.shallow_clone().g_add_(&noise)));
        prepared
    }

    fn network(&self) -> &ScoreNetwork {
        self.session.network().expect("every case has a network")
    }

    fn model(&self) -> Box<dyn Model + '_> {
        self.session.model().expect("every case has a score")
    }

    fn train(&self) -> &Train {
        self.experiment.train.as_ref().expect("every case trains")
    }

    fn losses(&self, model: &dyn Model) -> Tensor {
        let batch = Batch { x0: &self.x0, t: &self.t, z: &self.z, w: &vec![1.0; self.t.len()] };
        denoising_score_matching(model, self.train().reduction.expect("it trains a score"), &batch)
    }

    fn flow<'a>(&self, model: &'a dyn Model, probes: &Tensor) -> FlowWithLogDensity<'a> {
        let shape = self.session.shape().iter().map(|&n| n as i64).collect();
        FlowWithLogDensity::new(model, shape, Probes::Random(probes.shallow_clone()))
    }

    /// What the twin needs, and what it must find.
    fn write(&self, file: &str) -> Value {
        let model = self.model();
        let loss = self.losses(&*model).mean(Kind::Double);
        let gradient_norm = self.network().parameters.gradient(&loss).square().sum(Kind::Double).sqrt();
        let score = no_grad(|| model.score(&At::whole(&self.x, &self.t)));
        let flow = self.flow(&*model, &self.probes);
        let slope = flow.drift(&At::whole(&flow.start(&self.x), &vec![MIDDLE; self.t.len()]));
        let t = Tensor::from_slice(&self.t);
        let own = [
            ("x0", &self.x0),
            ("z", &self.z),
            ("x", &self.x),
            ("t", &t),
            ("probes", &self.probes),
            ("score", &score),
            ("loss", &loss),
            ("gradient_norm", &gradient_norm),
            ("flow", &slope),
        ];
        let weights = self.network().parameters.named().map(|(name, tensor, _)| (format!("model.{name}"), tensor));
        let named: Vec<(String, &Tensor)> = own.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).chain(weights).collect();
        let experiment = serde_json::to_string(&self.experiment).expect("an experiment is JSON");
        match std::fs::write(file, tensors::encode(&named, &[("experiment", experiment)])) {
            Ok(()) => json!({ "parameters": self.network().parameters.count() }),
            Err(e) => json!({ "error": format!("can't write {file}: {e}") }),
        }
    }

    fn round(&self, work: &str, n: usize) -> Value {
        match work {
            "forward" => self.forward(n),
            "step" => self.step(n),
            "flow" => self.flow_at(n),
            "ode" => self.sample(DynamicsSpec::ProbabilityFlow, self.t.len(), n),
            "sde" => self.sample(DynamicsSpec::ReverseSde, SAMPLES, n),
            "likelihood" => self.likelihood(n),
            _ => json!({ "error": format!("there is no work {work}; give one of {}", WORKS.join(", ")) }),
        }
    }

    /// The score of the batch, n times.
    fn forward(&self, n: usize) -> Value {
        let model = self.model();
        repeated(n, || drop(no_grad(|| model.score(&At::whole(&self.x, &self.t)))))
    }

    /// n steps of training from the end of the warm-up, with moments of zero.
    fn step(&self, n: usize) -> Value {
        let (network, train) = (self.network(), self.train());
        let mut state = State { step: train.warmup, ..State::new(train, &network.parameters) };
        let model = self.model();
        repeated(n, || {
            let first = state.step * self.t.len() as u64;
            let dropout = Dropout::new(self.experiment.seed, first..first + self.t.len() as u64);
            let of_examples = self.losses(&network.in_training(model.sde(), &dropout));
            let losses = Losses { of_examples, t: None, parts: Vec::new() };
            state.update(train, &Gradient::of(&network.parameters, losses, 1.0)).expect("finite losses");
        })
    }

    /// The right-hand side of the likelihood in f32, n times. Training is over then, as in every likelihood.
    fn flow_at(&self, n: usize) -> Value {
        self.network().parameters.freeze();
        let model = self.model();
        let flow = self.flow(&*model, &self.probes);
        let (start, t) = (flow.start(&self.x), vec![MIDDLE; self.t.len()]);
        repeated(n, || drop(flow.drift(&At::whole(&start, &t))))
    }

    /// `count` samples with n steps of Euler's.
    fn sample(&self, dynamics: DynamicsSpec, count: usize, steps: usize) -> Value {
        let solver = SolverSpec::Euler { grid: TimeGrid::Uniform { steps } };
        let own = self.experiment.sample.clone().expect("every case samples");
        let spec = Sample { count, batch: count, dynamics, solver, denoise: false, ..own };
        timed(|| drop(self.session.sample(&spec).expect("finite samples")))
    }

    /// The densities of the first n points, in f64 but for the network.
    fn likelihood(&self, n: usize) -> Value {
        self.network().parameters.freeze();
        let model = self.model();
        let sde = model.sde();
        let first = |x: &Tensor, axis| x.narrow(axis, 0, n as i64).to_kind(Kind::Double);
        let (x, flow) = (first(&self.x0, 0), self.flow(&*model, &first(&self.probes, 1)));
        let solver = SolverSpec::Rk45(Adaptive::new(1e-5, 1e-5)).general().expect("a solver of flows");
        let span = (self.experiment.likelihood.as_ref().expect("every case has a likelihood").t_min, 1.0);
        let begun = Instant::now();
        let (end, cost) = solver.solve(&flow, sde, &flow.start(&x), span, &mut |_| {}).expect("a finite solution");
        let (end, change) = flow.split(&end);
        let d = self.session.shape().iter().product();
        let nats = squared_norm(&end).into_iter().zip(to_vec(&change)).map(|(square, change)| change - sde.prior_log_density(square, d));
        let nats = nats.sum::<f64>() / n as f64;
        json!({ "seconds": begun.elapsed().as_secs_f64(), "nats": nats, "evaluations": cost.mean_evaluations() })
    }
}

/// The seconds of n repeats, after one that is not counted: after the other's turn nothing of ours is in the processor's caches, and the
/// first of all takes its memory from the system.
fn repeated(n: usize, mut work: impl FnMut()) -> Value {
    work();
    timed(|| (0..n).for_each(|_| work()))
}

fn timed(work: impl FnOnce()) -> Value {
    let begun = Instant::now();
    work();
    json!({ "seconds": begun.elapsed().as_secs_f64() })
}

/// Linux's `VmHWM`.
fn memory() -> Value {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    peak.map_or(json!({ "error": "the peak of memory is known on Linux alone" }), |kilobytes| json!({ "peak": kilobytes * 1024 }))
}

fn serve() {
    let mut prepared: Option<Prepared> = None;
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let answer = match (&line.split_whitespace().collect::<Vec<_>>()[..], &prepared) {
            (["threads", n], _) => {
                tch::set_num_threads(n.parse().expect("a number of threads"));
                json!({ "threads": tch::get_num_threads() })
            }
            (["prepare", name, file], _) => {
                // Two networks need not fit.
                drop(prepared.take());
                let case = CASES.iter().find(|case| case.name == *name).expect("a case of this list");
                prepared.insert(Prepared::new(case)).write(file)
            }
            (["round", work, n], Some(prepared)) => prepared.round(work, n.parse().expect("how often")),
            (["memory"], _) => memory(),
            _ => json!({ "error": format!("`{line}` can't be done; say threads N, prepare CASE FILE, then round WORK N, or memory") }),
        };
        println!("{answer}");
    }
}

fn main() {
    if std::env::args().any(|argument| argument == "serve") {
        return serve();
    }
    tch::set_num_threads(1);
    let prepared = Prepared::new(&CASES[0]);
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    println!("{}", prepared.write(&file.path().to_string_lossy()));
    for work in WORKS {
        println!("{work}: {}", prepared.round(work, 1));
    }
    println!("{}", memory());
}
