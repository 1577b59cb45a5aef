//! Memory: what is estimated is what is taken, too much is refused before work, and where it runs out nothing is lost.
#![cfg(target_os = "linux")]

mod common;

use std::process::Output;
use std::time::Duration;

use common::home::{Home, IMAGES, VECTORS, said};
use score_sde::experiment::{Override, PHASES, parse};

fn needs(home: &Home, text: &str, overrides: &[&str]) -> u64 {
    let file = |text: &str| text.replace("train-images", &home.path("train-images").display().to_string());
    let text = file(text).replace("test-images", &home.path("test-images").display().to_string());
    let overrides: Vec<Override> = overrides.iter().map(|setting| (*setting).into()).collect();
    parse("tiny.toml", &text, &overrides).unwrap().needs(&PHASES).unwrap().peak()
}

fn with_settings<'a>(overrides: &[&'a str], arguments: &[&'a str]) -> Vec<&'a str> {
    arguments.iter().copied().chain(overrides.iter().flat_map(|setting| ["--set", setting])).collect()
}

/// The most memory that a run has had, bytes.
fn peak(home: &Home, out: &str, overrides: &[&str]) -> u64 {
    let mut child = home.start(&with_settings(overrides, &["run", "tiny.toml", "--out", out, "--quiet"]));
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let seen = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0);
        peak = peak.max(1024 * seen);
        std::thread::sleep(Duration::from_millis(1));
    }
    let (output, _, stderr) = said(child.wait_with_output().unwrap());
    assert!(output.status.success(), "{stderr}");
    peak
}

/// What a batch adds is what the estimate adds for it; the program itself is larger with some builds of LibTorch.
#[test]
fn the_estimate_follows_the_peak() {
    let vectors = ["train.steps=2", "network.mlp.width=128"];
    let images = ["train.steps=1", "network.ncsnpp.channels=32"];
    for (text, few, more) in [
        (VECTORS, &vectors[..], "train.batch=20000"),
        (
            VECTORS,
            &["train.steps=1", "network.mlp.width=128", "sample.count=20000", "sample.solver.euler.grid.uniform.steps=1"],
            "sample.batch=20000",
        ),
        (IMAGES, &images, "train.batch=256"),
    ] {
        let home = Home::with_images(text);
        let many: Vec<&str> = few.iter().copied().chain([more]).collect();
        let [estimated, measured] =
            [needs(&home, text, &many) - needs(&home, text, few), peak(&home, "many", &many).saturating_sub(peak(&home, "few", few))];
        println!("{more}: {} MB estimated, {} MB measured", estimated / 1_000_000, measured / 1_000_000);
        assert!((measured / 3..3 * measured).contains(&estimated), "{more}: {estimated} estimated, {measured} measured");
    }
}

/// Each example takes steps of its own, so batches of all sizes are met; freed memory stays with the process and must be used again.
#[test]
fn solves_of_all_shapes_take_no_more_than_the_first() {
    let home = Home::with(VECTORS);
    const RK45: &str = "likelihood.solver={rk45={rtol=1e-3,atol=1e-3}}";
    let settings = ["data.checkerboard.test=4096", "network.mlp.width=256", "likelihood.batch=256", RK45];
    let solves = |out: &str, count: &str| peak(&home, out, &[&settings[..], &[count]].concat());
    // One and the same run peaks a few megabytes higher or lower from time to time.
    let few = ["few", "few again"].map(|out| solves(out, "likelihood.count=256")).into_iter().max().unwrap_or_default();
    let many = ["many", "many again"].map(|out| solves(out, "likelihood.count=4096")).into_iter().min().unwrap_or_default();
    println!("{} MB for one batch, {} MB for 16", few / 1_000_000, many / 1_000_000);
    assert!(many < few + 5_000_000, "{many} for 16 batches, {few} for one");
}

#[test]
fn too_much_is_refused_before_any_work_by_the_key_to_lower() {
    let home = Home::with_images(IMAGES);
    let refused = |overrides: &[&str]| {
        let report = home.fail(&with_settings(overrides, &["run", "tiny.toml", "--out", "run"]));
        assert!(!home.path("run").exists(), "nothing was begun");
        assert!(report.contains("of memory") && report.contains("available"), "{report}");
        report
    };
    let large = "network.ncsnpp.channels=64";
    let wide = ["data.idx.pad=252", "network.ncsnpp.attention=[256]"];
    for (overrides, key) in [
        (&["train.batch=1000000", large][..], "lower train.batch"),
        (&["sample.count=1000000", "sample.batch=1000000", large], "lower sample.batch"),
        (&["sample.count=100000000", "sample.trajectory=[0.9,0.8,0.7,0.6,0.5,0.4,0.3,0.2,0.1,0.09,0.08,0.07]"], "lower sample.trajectory"),
        (&["network.ncsnpp.channels=8192", "network.ncsnpp.multipliers=[128, 256]"], "lower network.ncsnpp.channels"),
        (
            &["likelihood.count=4", "likelihood.batch=1000000", "likelihood.dequantisation.uniform.draws=65536", wide[0], wide[1]],
            "lower likelihood.batch",
        ),
    ] {
        let report = refused(overrides);
        assert!(report.contains(key), "{overrides:?}: {report}");
    }
    let padded = ["data.idx.pad=28", "network.ncsnpp.attention=[32]", large];
    let short = ["train.steps=1", "train.batch=1", "sample.count=1"];
    home.succeed(&with_settings(&[padded, short].concat(), &["run", "tiny.toml", "--out", "lab-run", "--quiet"]));
    let report = home.fail(&["lab", "lab-run", "--count", "50000"]);
    assert!(report.contains("in the phase lab") && report.contains("lower --count"), "{report}");
    assert!(!home.path("lab-run/lab").exists(), "nothing was begun");
    // Results and weights are in the machine's memory wherever the network computes; a batch is not, and `check` does not know where.
    let check = |overrides: &[&str]| home.said(&with_settings(overrides, &["check", "tiny.toml"]));
    assert!(check(&["network.ncsnpp.channels=8192", "network.ncsnpp.multipliers=[128, 256]"]).contains("lower network.ncsnpp.channels"));
    let (stdout, stderr) = home.succeed(&["check", "tiny.toml", "--set", "train.batch=1000000", "--set", large]);
    assert!(stderr.is_empty() && stdout.contains("too much for this machine's processor: lower train.batch"), "{stdout}{stderr}");
}

/// The binary with so much address space, kilobytes.
fn limited(home: &Home, kilobytes: u64, arguments: &[&str]) -> Output {
    let program = format!("ulimit -v {kilobytes}; exec {} \"$@\"", env!("CARGO_BIN_EXE_score-sde"));
    let shell = std::process::Command::new("bash").args(["-c", &program, "score-sde"]).args(arguments).current_dir(home.path("")).output();
    shell.unwrap()
}

/// What a command says under limits from a little more than it takes to start, doubled until it succeeds, which says nothing.
fn under_limits(home: &Home, arguments: &[&str]) -> Vec<String> {
    let starts = |kilobytes: &u64| limited(home, *kilobytes, &["check", "tiny.toml"]).status.success();
    let start = (4..).map(|step| step * 200_000).take(100).find(starts).expect("some limit is enough to start with");
    let mut reports = Vec::new();
    for doubled in 0..8 {
        let (output, _, stderr) = said(limited(home, start + (50_000 << doubled), arguments));
        match output.status.code() {
            Some(0) => return reports,
            Some(1) => reports.push(stderr),
            code => panic!("ended with {code:?}: {stderr}"),
        }
    }
    panic!("no limit was enough: {reports:?}");
}

#[test]
fn where_memory_runs_out_the_key_is_named_and_nothing_is_lost() {
    let home = Home::with(&VECTORS.replace("width = 16", "width = 256"));
    home.succeed(&["run", "tiny.toml", "--out", "run", "--quiet"]);
    let before = home.contents("run");
    let many = ["--set", "sample.count=100000", "--set", "sample.batch=100000"];
    let reports = under_limits(&home, &[&["sample", "run", "--name", "many", "--threads", "1", "--quiet"][..], &many].concat());
    for report in &reports {
        assert!(report.contains("memory ran out"), "{report}");
        assert!(!report.contains("alloc") && !report.contains("frame #"), "C++ text in {report}");
    }
    let named = |report: &String| report.contains("ran out in the phase sample") && report.contains("lower sample.batch");
    assert!(reports.iter().any(named), "{reports:?}");
    let after = home.contents("run");
    assert!(before.iter().all(|(path, content)| after.get(path) == Some(content)), "what was saved is as it was");
    assert!(home.path("run/samples/many.npz").exists(), "with enough of it the same command succeeds");
}
