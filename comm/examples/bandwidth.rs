//! How long it takes to sum a buffer over processes on this machine: cargo run --release -p score-sde-comm --example bandwidth -- 2 64
//!
//! Prints, as JSON, the median milliseconds of all-reducing so many megabytes (of 10⁶ bytes) in so many processes, of one number (the latency), and
//! the bytes that a process sends in a second meanwhile.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use comm::{Group, Store};
use tch::{Device, Kind, Tensor};

const PATIENCE: Duration = Duration::from_secs(60);
const ROUNDS: usize = 11;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default: usize| words.get(i).map_or(default, |word| word.parse().expect("a whole number"));
    let (world, megabytes) = (number(0, 2), number(1, 64));
    if words.len() > 2 {
        member(number(2, 0), world, megabytes, number(3, 0) as u16);
        return;
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
    let start = |rank: usize| -> Child {
        let words = [world, megabytes, rank, port.into()].map(|number| number.to_string());
        Command::new(std::env::current_exe().expect("this program")).args(words).spawn().expect("another process")
    };
    let children: Vec<Child> = (0..world).map(start).collect();
    children.into_iter().for_each(|mut child| assert!(child.wait().expect("its end").success()));
}

fn member(rank: usize, world: usize, megabytes: usize, port: u16) {
    tch::set_num_threads(1);
    let store = Store::connect("127.0.0.1", port, rank == 0, "bandwidth", PATIENCE).expect("a store");
    let group = Group::join(&store, rank, world, "127.0.0.1", PATIENCE).expect("a group");
    let median = |numbers: i64| {
        let mut buffer = Tensor::zeros([numbers], (Kind::Float, Device::Cpu));
        let mut times: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                group.barrier().expect("all are here");
                let begun = Instant::now();
                buffer = group.all_reduce_sum(buffer.shallow_clone()).expect("a sum");
                begun.elapsed().as_secs_f64()
            })
            .collect();
        times.sort_by(f64::total_cmp);
        times[ROUNDS / 2]
    };
    let (latency, seconds) = (median(1), median(megabytes as i64 * 250_000));
    if rank == 0 {
        let sent = 2e6 * megabytes as f64 * (world - 1) as f64 / world as f64;
        let [latency_ms, all_reduce_ms] = [latency, seconds].map(|seconds| seconds * 1e3);
        println!(
            "{{\"processes\": {world}, \"megabytes\": {megabytes}, \"all_reduce_ms\": {all_reduce_ms:.2}, \"latency_ms\": {latency_ms:.3}, \
             \"bytes_per_second\": {:.3e}}}",
            sent / (seconds - latency)
        );
    }
    group.barrier().expect("all are here");
}
