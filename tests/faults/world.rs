//! Small experiments, their undisturbed runs, and runs that are half done.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::compare::{State, half_written};
use crate::home::{Home, IMAGES, VECTORS, idx};
use crate::process::{self, kill};
use crate::tally::{Step, Verdict};

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// In [0, 1).
    pub fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// n of these, in their order.
    pub fn some<T>(&mut self, mut all: Vec<T>, n: usize) -> Vec<T> {
        while all.len() > n {
            all.remove(self.below(all.len()));
        }
        all
    }
}

/// A command on a run, what it leaves and how long it takes.
pub struct Task {
    pub arguments: Vec<&'static str>,
    pub state: State,
    pub lasts: Duration,
}

/// An experiment with an undisturbed run.
pub struct World {
    pub name: &'static str,
    experiment: String,
    /// `run` in it is the finished run.
    pub finished: Home,
    pub run: Task,
    /// Verbs on a finished run.
    pub verbs: Vec<Task>,
    /// Runs that were killed in some phase.
    pub halves: Vec<(&'static str, Home)>,
}

const RUN: [&str; 4] = ["run", "tiny.toml", "--out", "run"];
const SAMPLE: [&str; 4] = ["sample", "run", "--name", "again"];
const LIKELIHOOD: [&str; 4] = ["likelihood", "run", "--name", "again"];
const LAB: [&str; 10] = ["lab", "run", "--solvers", "euler,heun,rk45", "--nfe", "4,6,8", "--tolerances", "0.1", "--count", "40"];

impl World {
    /// Points in the plane: training, samples, likelihood.
    pub fn vectors() -> World {
        let edits = [
            ("steps = 20", "steps = 120\nlog_every = 6"),
            ("checkpoint_every = 10", "checkpoint_every = 20"),
            ("count = 4\nbatch = 3", "count = 30\nbatch = 3"),
            ("count = 5\nbatch = 3", "count = 20\nbatch = 2"),
            ("train = 100\ntest = 20", "train = 100\ntest = 40"),
        ];
        World::new(
            "vectors",
            edit(VECTORS, &edits),
            &[("sample", "run/samples/samples.journal", 3), ("likelihood", "run/likelihood.journal", 3)],
        )
    }

    /// Images: a law of dequantisation and a bound as well.
    pub fn images() -> World {
        let measured = "[analytic_variance]\nlevels = 30\nexamples = 6\nbatch = 2\n";
        let dequantisation =
            "[dequantisation.variational]\nsteps = 40\nbatch = 2\nlr = 1e-3\nclip = 1.0\nt_min = 1e-3\nlayers = 2\nchannels = 4\n";
        let edits = [
            ("steps = 2\nbatch = 4", "steps = 9\nlog_every = 2\nbatch = 2"),
            ("checkpoint_every = 10", "checkpoint_every = 3"),
            ("multipliers = [1, 2]", "multipliers = [1]"),
            ("attention = [4]", "attention = []"),
            ("count = 1\nbatch = 1\ndynamics", "count = 6\nbatch = 1\ndynamics"),
            ("count = 1\nbatch = 1\nt_min", "count = 4\nbatch = 1\nt_min"),
            ("below_t_min = \"ignored\"", "below_t_min = \"tweedie\""),
            (
                "dequantisation.uniform.draws = 1",
                "dequantisation.variational.draws = 2\nbound.vlb = { levels = { grid.log-snr.steps = 3 }, variance = \"analytic\", draws = 2 }",
            ),
        ];
        let experiment = edit(IMAGES, &edits).replace("[likelihood]", &format!("{measured}\n{dequantisation}\n[likelihood]"));
        let halves = [
            ("analytic_variance", "run/analytic_variance.journal", 2),
            ("sample", "run/samples/samples.journal", 3),
            ("dequantisation", "run/dequantiser.journal", 3),
            ("likelihood", "run/likelihood.journal", 3),
            ("bound", "run/likelihood.bound.journal", 2),
        ];
        World::new("images", experiment, &halves)
    }

    fn new(name: &'static str, experiment: String, journals: &[(&'static str, &'static str, usize)]) -> World {
        let finished = home(&experiment);
        let task = |arguments: &[&'static str], home: &Home| {
            let begun = Instant::now();
            home.succeed(arguments);
            Task { arguments: arguments.to_vec(), state: State::of(home), lasts: begun.elapsed() }
        };
        let run = task(&RUN, &finished);
        let mut world = World { name, experiment, finished, run, verbs: Vec::new(), halves: Vec::new() };
        world.verbs = [&SAMPLE[..], &LIKELIHOOD, &LAB].into_iter().map(|verb| task(verb, &world.copy())).collect();
        let checkpoint =
            ["vectors", "images"].iter().zip(["run/checkpoints/step-00000040.safetensors", "run/checkpoints/step-00000003.safetensors"]);
        let checkpoint = checkpoint.into_iter().find(|(of, _)| **of == name).unwrap().1;
        world.halves.push(("train", world.half(checkpoint, 0)));
        for (phase, journal, records) in journals {
            world.halves.push((phase, world.half(journal, *records)));
        }
        world
    }

    /// A home without a run.
    pub fn fresh(&self) -> Home {
        home(&self.experiment)
    }

    /// A home with the finished run.
    pub fn copy(&self) -> Home {
        self.copy_of(&self.finished)
    }

    /// A home with another one's run.
    pub fn copy_of(&self, from: &Home) -> Home {
        let home = self.fresh();
        copy(&from.path("run"), &home.path("run"));
        home
    }

    /// A run that was killed as soon as a file was there, with so many whole records if it is a journal.
    fn half(&self, file: &str, records: usize) -> Home {
        for _ in 0..20 {
            let home = self.fresh();
            let mut child = home.start(&RUN);
            let there =
                || fs::read(home.path(file)).is_ok_and(|bytes| score_sde::testing::frame_ends(&bytes).len() > records || records == 0);
            while !there() && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_micros(100));
            }
            kill(&child, "-KILL");
            child.wait().unwrap();
            if there() && State::of(&home) != self.run.state {
                return home;
            }
        }
        panic!("{}: no process could be killed at {file}", self.name);
    }

    /// What becomes of the command once nothing stands in its way: it ends as if nothing had happened, or it refuses.
    pub fn recovers(&self, home: &Home, task: &Task) -> Step<bool> {
        let before = State::of(home);
        let ended = process::run(home, &task.arguments)?;
        if ended.code != Some(0) {
            let lost = before.lost(&State::of(home));
            return lost.map_or(Ok(false), |what| Err(Verdict::Lost(format!("{what}: {}", ended.said()))));
        }
        if let Some(name) = half_written(home).filter(|_| task.arguments[0] == "run") {
            return Err(Verdict::Lost(format!("{name} is left: {}", ended.said())));
        }
        match task.state.difference(&State::of(home)) {
            None => Ok(true),
            Some(what) => Err(Verdict::Different(format!("{what}: {}", ended.said()))),
        }
    }

    /// The same where refusing is no answer.
    pub fn ends(&self, home: &Home, task: &Task) -> Verdict {
        match self.recovers(home, task) {
            Ok(true) => Verdict::Whole,
            Ok(false) => Verdict::Lost(format!("refused: {}", home.said(&task.arguments))),
            Err(verdict) => verdict,
        }
    }
}

fn edit(text: &str, edits: &[(&str, &str)]) -> String {
    edits.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from:?} is not in the experiment");
        text.replacen(from, to, 1)
    })
}

fn home(experiment: &str) -> Home {
    let home = Home::with(experiment);
    home.write("train-images", idx(24, 8));
    home.write("test-images", idx(4, 8));
    home
}

/// Copies a folder.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}
