//! A process and a network of one's own: trained, sampled, and measured, in one file.
//!
//! ```text
//! cargo run --release --example own_process_and_network
//! ```

use score_sde::data::{Batches, Data, Split, examples};
use score_sde::divergence::Probes;
use score_sde::dynamics::{FlowWithLogDensity, Reverse, squared_norm};
use score_sde::metric::Energy;
use score_sde::model::{Label, Output, Precondition, ScoreNetwork};
use score_sde::net::{Dropout, Network, Told};
use score_sde::optim::{Builder, Init, Shown, Trained};
use score_sde::rng::{Purpose, normal};
use score_sde::sde::{Level, Sde, Slope};
use score_sde::solver::{Adaptive, Problem, SolverSpec};
use score_sde::tensor::to_vec;
use score_sde::train::{Gradient, ScoreTraining, State, Train};
use tch::{Device, Kind, Tensor};

/// α = 1 - t², σ = t: its levels and slopes are all that a process needs.
struct Parabola;

impl Sde for Parabola {
    fn level(&self, t: f64) -> Level {
        Level { t, alpha: 1.0 - t * t, sigma: t }
    }
    fn slope(&self, t: f64) -> Slope {
        Slope { alpha: -2.0 * t, sigma: 1.0 }
    }
}

/// Three layers of 128 features, each told ln σ.
struct Layers(Vec<[Tensor; 3]>);

impl Layers {
    fn new(builder: &Builder) -> Layers {
        let layer = |(i, [inputs, outputs]): (usize, [i64; 2])| {
            let (part, bound) = (builder.part(i), Init::Uniform((3.0 / inputs as f64).sqrt()));
            [("weight", vec![outputs, inputs], bound), ("bias", vec![outputs], Init::Constant(0.0)), ("noise", vec![outputs], bound)]
                .map(|(name, shape, init)| part.parameter(name, &shape, init))
        };
        Layers([[2, 128], [128, 128], [128, 128], [128, 2]].into_iter().enumerate().map(layer).collect())
    }
}

impl Network for Layers {
    fn forward(&self, x: &Tensor, told: &Told, _dropout: Option<&Dropout>) -> Tensor {
        let noise = told.noise.unsqueeze(1);
        let last = self.0.len() - 1;
        self.0.iter().enumerate().fold(x.shallow_clone(), |x, (i, [weight, bias, of_noise])| {
            let y = x.linear(weight, Some(bias)) + &noise * of_noise;
            if i < last { y.silu() } else { y }
        })
    }
}

const SEED: u64 = 1;

/// As in an experiment file.
const DATA: &str = "[two-moons]\ntrain = 20000\ntest = 2000\nnoise = 0.1\nscale = 1.0";
const TRAIN: &str = r#"
steps = 2000
batch = 256
lr = 2e-3
warmup = 100
clip = 1.0
betas = [0.9, 0.999]
eps = 1e-8
weight_decay = 0.0
ema = 0.99
objective = "denoising"
weighting = "variance"
reduction = "mean"
time = "uniform"
importance = true
stratified = true
t_min = 1e-3
checkpoint_every = 1000
"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tch::set_num_threads(1);
    let (data, spec): (Data, Train) = (toml::from_str(DATA)?, toml::from_str(TRAIN)?);
    let sde = Parabola;
    sde.check().map_err(|fault| fault.message)?;
    let parametrisation = Precondition::Plain { label: Label::LogSigma, output: Output::V }.under(&sde).map_err(|fault| fault.message)?;
    let network = ScoreNetwork::of(Kind::Float, parametrisation, data.scale(), SEED, Device::Cpu, |builder| Box::new(Layers::new(builder)));
    println!("{} parameters; the process has a signal up to t = {:.4}", network.parameters.count(), sde.horizon());

    let matching = spec.score_matching().map_err(|fault| fault.message)?;
    let training = ScoreTraining::new(&matching, SEED, &sde, &network, (data.scale(), None)).map_err(|fault| fault.message)?;
    let mut batches = Batches::start(data.open(Split::Train, SEED)?, data.scale(), false, SEED, spec.batch, 0);
    let mut state = State::new(&spec, &network.parameters);
    while state.step < spec.steps {
        let (x0, examples) = batches.shown()?;
        let positions = state.step * spec.batch as u64..(state.step + 1) * spec.batch as u64;
        let losses = training.losses(&Shown::whole(x0, positions, &examples), &state.history);
        let update = state.update(&spec, &Gradient::of(&network.parameters, losses, 1.0))?;
        if state.step.is_multiple_of(500) {
            println!("step {}: loss {:.4}", state.step, update.loss);
        }
    }
    state.take_average();

    let model = &network.model(&sde);
    let start = normal(SEED, Purpose::Prior, 0, &[2000, 2], Device::Cpu) * sde.prior_std();
    let problem = Problem { x: &start, span: (1.0, 1e-3), denoise: true };
    let solver = SolverSpec::Rk45(Adaptive::new(1e-4, 1e-4));
    let (x, statistics) =
        solver.sample(&Reverse { model, eta: 0.0 }, &problem, &mut |_| unreachable!("a flow has no noise"), &mut |_| {})?;
    let test = examples(&*data.open(Split::Test, SEED)?, 0..2000)?;
    let distance = Energy::new(&test).distance(&x);
    println!(
        "samples: {:.0} evaluations each, energy distance {:.4} ± {:.4}",
        statistics.mean_evaluations(),
        distance.value,
        distance.half_width
    );

    let flow = FlowWithLogDensity::new(model, vec![2], Probes::Exact);
    let solver = solver.general().map_err(|fault| fault.message)?;
    let (end, _) = solver.solve(&flow, &sde, &flow.start(&test.to_kind(Kind::Double)), (1e-3, sde.horizon()), &mut |_| {})?;
    let (x, change) = flow.split(&end);
    let prior = squared_norm(&x).into_iter().map(|square| sde.prior_log_density(square, 2));
    let nats: Vec<f64> = prior.zip(to_vec(&change)).map(|(prior, change)| change - prior).collect();
    println!("likelihood: {:.3} nats on {} test examples", nats.iter().sum::<f64>() / nats.len() as f64, nats.len());
    Ok(())
}
