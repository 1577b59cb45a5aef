//! `score-sde doctor`: is this machine and this LibTorch fit to work.

use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor, no_grad};

use super::Form;
use crate::error::{Error, Result};
use crate::memory;
use crate::progress::columns;
use crate::run::Provenance;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    form: Form,
}

pub fn doctor(Arguments { form }: Arguments) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    tch::set_num_threads(cores as i32);
    let Provenance { version, commit, libtorch, host, .. } = Provenance::of_this_process();
    let wrong: Vec<&str> = checks().into_iter().filter(|(_, ok)| !ok).map(|(name, _)| name).collect();
    let report = json!({
        "version": version,
        "commit": commit,
        "libtorch": libtorch,
        "libtorch_from": loaded_from("libtorch_cpu.so"),
        "host": host,
        "devices": devices(),
        "threads": cores,
        "allocator": "jemalloc",
        "memory_available": memory::available(),
        "arithmetic": if wrong.is_empty() { "right".to_owned() } else { format!("wrong: {}", wrong.join(", ")) },
        "gigaflops": gigaflops(),
    });
    match form.json {
        true => form.print(&report)?,
        false => {
            let rows = report.as_object().into_iter().flatten().map(|(key, value)| [key.replace('_', " "), shown(key, value)]);
            print!("{}", columns(&rows.collect::<Vec<_>>()));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let help = "don't trust results of this machine: try another build of LibTorch (scripts/libtorch), and test the memory".into();
    Err(Error::Solver { message: format!("this LibTorch computes wrong numbers: {}", wrong.join(", ")), help })
}

fn shown(key: &str, value: &Value) -> String {
    match value {
        Value::Null => "not known".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(|item| shown(key, item)).collect::<Vec<_>>().join(", "),
        Value::Number(bytes) if key == "memory_available" => memory::bytes(bytes.as_u64().unwrap_or_default()),
        other => other.to_string(),
    }
}

fn devices() -> Vec<String> {
    let cuda = (0..tch::Cuda::device_count()).map(|i| format!("cuda:{i}"));
    std::iter::once("cpu".to_owned()).chain(cuda).collect()
}

/// The file that a library of this process was loaded from, where the system says so.
fn loaded_from(library: &str) -> Option<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().find(|line| line.ends_with(library)).and_then(|line| Some(line[line.find('/')?..].to_owned()))
}

/// Arithmetic whose results are known: each by its name, and whether it is right.
fn checks() -> Vec<(&'static str, bool)> {
    let near = |x: Tensor, expected: f64, tolerance: f64| (x.double_value(&[]) - expected).abs() <= tolerance * expected.abs().max(1.0);
    let f64s = |values: &[f64]| Tensor::from_slice(values);
    let n = 300;
    let (i, j) = (Tensor::arange(n, (Kind::Double, Device::Cpu)).unsqueeze(1), Tensor::arange(n, (Kind::Double, Device::Cpu)));
    // Σ_k (Σ_i i + k) (Σ_j k - j) = n² Σ k² - n (Σ k)².
    let product = (&i + &j).matmul(&(&i - &j)).sum(Kind::Double);
    let n = n as f64;
    let (s1, s2) = (n * (n - 1.0) / 2.0, n * (n - 1.0) * (2.0 * n - 1.0) / 6.0);
    let of_product = n * n * s2 - n * s1 * s1;
    let waves = f64s(&[0.5, 1.0, 2.0]);
    let image = Tensor::arange(16, (Kind::Float, Device::Cpu)).view([1, 1, 4, 4]);
    let convolved = image.conv2d(&Tensor::ones([1, 1, 3, 3], (Kind::Float, Device::Cpu)), None::<&Tensor>, [1], [0], [1], 1);
    let x = f64s(&[0.3]).set_requires_grad(true);
    let slope = Tensor::run_backward(&[(&x * 2.0).exp().sum(Kind::Double)], &[&x], false, false).remove(0);
    vec![
        ("matrix product", near(product, of_product, 1e-12)),
        (
            "exp, log, erf",
            near(
                (waves.exp().log() - &waves).abs().sum(Kind::Double) + f64s(&[1.0]).erf().sum(Kind::Double),
                0.842_700_792_949_714_9,
                1e-14,
            ),
        ),
        ("convolution", near(convolved.sum(Kind::Double), 45.0 + 54.0 + 81.0 + 90.0, 0.0)),
        ("sum of a million f32", near(Tensor::full([1_000_000], 0.1, (Kind::Float, Device::Cpu)).sum(Kind::Double), 100_000.0, 1e-7)),
        ("gradient", near(slope.sum(Kind::Double), 2.0 * 0.6f64.exp(), 1e-14)),
    ]
}

/// Billions of multiplications and additions a second in products of f32 matrices, over about a second.
fn gigaflops() -> f64 {
    const N: i64 = 512;
    let matrix = Tensor::ones([N, N], (Kind::Float, Device::Cpu)) / N as f64;
    let (begun, mut count) = (Instant::now(), 0);
    no_grad(|| {
        while begun.elapsed().as_secs_f64() < 1.0 {
            let _ = matrix.matmul(&matrix);
            count += 1;
        }
    });
    (2.0 * (N * N * N) as f64 * f64::from(count) / begun.elapsed().as_secs_f64() / 1e9).round()
}
