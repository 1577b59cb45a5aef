//! Forward pass, training step and gradient with respect to the input: a small U-Net, the reference's CIFAR-10 networks, and the network
//! for vectors. `cargo bench --bench network`

#[path = "../src/allocator.rs"]
mod allocator;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use score_sde::net::{Dropout, Interface, Network, NetworkSpec, Told};
use score_sde::optim::{Adam, Builder, Ema, Parameters, clip_by_norm};
use tch::{Device, Kind, Tensor, no_grad};

struct Case {
    name: &'static str,
    spec: &'static str,
    shape: &'static [usize],
    batch: i64,
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}, batch {}", self.name, self.batch)
    }
}

const CASES: [Case; 4] = [
    Case {
        name: "mlp",
        spec: "mlp = { width = 64, depth = 3, input = \"plain\", embedding = { fourier = { scale = 0.25 } } }",
        shape: &[2],
        batch: 1024,
    },
    Case {
        name: "small ncsnpp",
        spec: r#"[ncsnpp]
            channels = 32
            multipliers = [1, 2, 2]
            blocks = 1
            attention = []
            dropout = 0.1
            block = "biggan"
            resample = { fir = [1, 3, 3, 1] }
            resample_with_convolution = true
            progressive_output = "none"
            progressive_input = "residual"
            combine = "sum"
            embedding = { fourier = { scale = 16.0 } }
            conditional = true
            skip_rescale = true
            init_scale = 0.0"#,
        shape: &[1, 28, 28],
        batch: 16,
    },
    Case {
        name: "cifar ncsnpp",
        spec: r#"[ncsnpp]
            channels = 128
            multipliers = [1, 2, 2, 2]
            blocks = 4
            attention = [16]
            dropout = 0.1
            block = "biggan"
            resample = { fir = [1, 3, 3, 1] }
            resample_with_convolution = true
            progressive_output = "none"
            progressive_input = "residual"
            combine = "sum"
            embedding = { fourier = { scale = 16.0 } }
            conditional = true
            skip_rescale = true
            init_scale = 0.0"#,
        shape: &[3, 32, 32],
        batch: 4,
    },
    Case {
        name: "cifar ddpm",
        spec: r#"[ddpm]
            channels = 128
            multipliers = [1, 2, 2, 2]
            blocks = 2
            attention = [16]
            dropout = 0.1
            resample_with_convolution = true
            conditional = true"#,
        shape: &[3, 32, 32],
        batch: 4,
    },
];

struct Setup {
    network: Box<dyn Network>,
    parameters: Parameters,
    x: Tensor,
    noise: Tensor,
}

fn setup(case: &Case) -> Setup {
    let spec: NetworkSpec = toml::from_str(case.spec).expect("a network");
    spec.check(case.shape).expect("a network for this shape");
    let options = (Kind::Float, Device::Cpu);
    let builder = Builder::new(0, options.0, options.1);
    let network = spec.build(&Interface::plain(case.shape), &builder);
    let shape: Vec<i64> = [case.batch].into_iter().chain(case.shape.iter().map(|&n| n as i64)).collect();
    let (x, noise) = (Tensor::randn(shape.as_slice(), options), Tensor::randn([case.batch], options));
    Setup { network, parameters: builder.finish(), x, noise }
}

#[divan::bench(args = CASES)]
fn forward(bencher: Bencher, case: &Case) {
    let Setup { network, x, noise, .. } = setup(case);
    bencher.bench_local(|| no_grad(|| black_box(network.forward(&x, &Told::noise(&noise), None))));
}

#[divan::bench(args = CASES)]
fn training_step(bencher: Bencher, case: &Case) {
    let Setup { network, parameters, x, noise } = setup(case);
    bencher.bench_local(|| {
        let loss = network.forward(&x, &Told::noise(&noise), Some(&Dropout::new(0, 0..case.batch as u64))).square().mean(Kind::Float);
        black_box(parameters.gradient(&loss))
    });
}

#[divan::bench(args = CASES)]
fn input_gradient(bencher: Bencher, case: &Case) {
    let Setup { network, parameters, x, noise } = setup(case);
    parameters.freeze();
    let x = x.set_requires_grad(true);
    bencher.bench_local(|| {
        let y = network.forward(&x, &Told::noise(&noise), None);
        black_box(Tensor::run_backward(&[(&y * &y.detach()).sum(Kind::Float)], &[&x], false, false))
    });
}

/// A training step on so many threads, images or vectors.
struct Scale(i32, i64, &'static [usize]);

impl std::fmt::Display for Scale {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{} threads, {} x {:?}", self.0, self.1, self.2)
    }
}

const SCALES: [Scale; 17] = [
    Scale(1, 1, &[1, 28, 28]),
    Scale(1, 4, &[1, 28, 28]),
    Scale(1, 16, &[1, 28, 28]),
    Scale(1, 64, &[1, 28, 28]),
    Scale(2, 1, &[1, 28, 28]),
    Scale(2, 4, &[1, 28, 28]),
    Scale(2, 16, &[1, 28, 28]),
    Scale(2, 64, &[1, 28, 28]),
    Scale(2, 16, &[1, 16, 16]),
    Scale(2, 16, &[1, 32, 32]),
    Scale(2, 16, &[1, 64, 64]),
    Scale(1, 64, &[2]),
    Scale(1, 1024, &[2]),
    Scale(2, 1024, &[2]),
    Scale(1, 16384, &[2]),
    Scale(2, 16384, &[2]),
    Scale(1, 1024, &[784]),
];

/// Examples per second of training by threads, batch, size of an image and dimension of a vector.
#[divan::bench(args = SCALES, sample_count = 15, sample_size = 1)]
fn scaling(bencher: Bencher, Scale(threads, batch, shape): &Scale) {
    let case = Case { shape, batch: *batch, ..CASES[usize::from(shape.len() > 1)] };
    let before = tch::get_num_threads();
    tch::set_num_threads(*threads);
    let Setup { network, parameters, x, noise } = setup(&case);
    bencher.counter(ItemsCount::new(*batch as u64)).bench_local(|| {
        let loss = network.forward(&x, &Told::noise(&noise), Some(&Dropout::new(0, 0..*batch as u64))).square().mean(Kind::Float);
        black_box(parameters.gradient(&loss))
    });
    tch::set_num_threads(before);
}

/// Adam and the average on so many parameters: the largest is DDPM++ for CIFAR-10.
#[divan::bench(args = [10_000, 1_750_000, 62_000_000])]
fn update(bencher: Bencher, parameters: i64) {
    let options = (Kind::Float, Device::Cpu);
    let (theta, gradient) = (Tensor::randn([parameters], options), Tensor::randn([parameters], options));
    let (mut adam, ema) = (Adam::new(&theta, [0.9, 0.999], 1e-8, 0.0), Ema::new(&theta, 0.999));
    bencher.bench_local(|| {
        let (_, shrink) = clip_by_norm(&gradient, 1.0);
        adam.update(&theta, (&gradient, &shrink), 1e-4, 100, |block, theta| ema.update(&block, theta, 100));
    });
}

fn main() {
    divan::main();
}
