//! One run by several processes on loopback, as a launcher starts them.

mod common;

use std::net::TcpListener;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use common::home::{Home, IMAGES, VECTORS, said};

/// Training alone.
fn trained(experiment: &str) -> String {
    experiment.split("[sample]").next().unwrap().to_owned()
}

/// Whose processes and files a test has.
struct Ranks {
    children: Vec<Child>,
}

/// What a process said, and its exit code; none of one that was killed.
type End = (Option<i32>, String);

/// Seconds until a silent rank is taken for hung.
const PATIENCE: u64 = 3;

impl Ranks {
    /// `score-sde run tiny.toml` by so many ranks.
    fn start(home: &Home, world: usize, words: &[&str]) -> Ranks {
        Ranks::start_each(home, world, |_| words.iter().map(|word| word.to_string()).collect())
    }

    fn start_each(home: &Home, world: usize, words: impl Fn(usize) -> Vec<String>) -> Ranks {
        Ranks::start_at(home, world, free_port(), &[], words)
    }

    /// With what else their launcher says.
    fn start_at(home: &Home, world: usize, port: u16, more: &[(&'static str, &str)], words: impl Fn(usize) -> Vec<String>) -> Ranks {
        let start = |rank: usize| {
            let mut variables = vec![
                ("RANK", rank.to_string()),
                ("LOCAL_RANK", rank.to_string()),
                ("WORLD_SIZE", world.to_string()),
                ("MASTER_ADDR", "127.0.0.1".into()),
                ("MASTER_PORT", port.to_string()),
                ("SCORE_SDE_PATIENCE", PATIENCE.to_string()),
            ];
            variables.extend(more.iter().map(|(name, value)| (*name, value.to_string())));
            let words = words(rank);
            let words = ["run", "tiny.toml"].into_iter().chain(words.iter().map(String::as_str)).collect::<Vec<_>>();
            home.start_with(&words, &variables)
        };
        Ranks { children: (0..world).map(start).collect() }
    }

    fn signal(&self, rank: usize, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.children[rank].id().to_string()]).status().unwrap().success());
    }

    /// How all end, within a minute.
    fn ends(self) -> Vec<End> {
        let begun = Instant::now();
        let end = |mut child: Child| {
            while child.try_wait().unwrap().is_none() {
                if begun.elapsed() > Duration::from_secs(60) {
                    child.kill().unwrap();
                    panic!("a process hangs: {}", said(child.wait_with_output().unwrap()).2);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            let (output, stdout, stderr) = said(child.wait_with_output().unwrap());
            (
                output.status.code(),
                format!("{stdout}{}", stderr.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")),
            )
        };
        self.children.into_iter().map(end).collect()
    }

    fn succeed(self) -> Vec<String> {
        let ends = self.ends();
        assert!(ends.iter().all(|(code, _)| *code == Some(0)), "{ends:?}");
        ends.into_iter().map(|(_, said)| said).collect()
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn last(run: &str, step: u64) -> String {
    format!("{run}/checkpoints/step-{step:08}.safetensors")
}

/// The numbers of a checkpoint, without its words.
fn weights(home: &Home, run: &str, step: u64) -> Vec<u8> {
    let bytes = home.read(&last(run, step));
    let head = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[8 + head..].to_vec()
}

/// Two ranks and one process with two micro-batches train the same bits.
fn same_bits(home: &Home, step: u64, words: &[&str], micro: &str) {
    let said = Ranks::start(home, 2, &[words, &["--out", "ranks"]].concat()).succeed();
    assert_eq!(said[1], "", "rank 0 speaks for all");
    home.succeed(&[&["run", "tiny.toml", "--out", "one", "--set", micro], words].concat());
    assert!(home.read(&last("ranks", step)) == home.read(&last("one", step)), "{words:?}");
}

#[test]
fn two_ranks_train_the_bits_of_two_micro_batches_and_nearly_those_of_one_batch() {
    let home = Home::with(VECTORS);
    let words = ["--set", "train.stratified=true", "--set", "train.log_every=1"];
    same_bits(&home, 20, &words, "train.micro_batch=4");
    for result in ["samples/samples.npz", "likelihood.npz"] {
        assert!(home.read(&format!("ranks/{result}")) == home.read(&format!("one/{result}")), "{result}");
    }
    home.succeed(&[&["run", "tiny.toml", "--out", "whole"], &words[..]].concat());
    assert!(home.read(&last("ranks", 20)) != home.read(&last("whole", 20)), "other sums are rounded otherwise");
    let losses = |run: &str| -> Vec<f64> {
        let text = String::from_utf8(home.read(&format!("{run}/metrics.jsonl"))).unwrap();
        text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["train/loss"].as_f64()).collect()
    };
    let (ranks, whole) = (losses("ranks"), losses("whole"));
    assert_eq!(ranks.len(), 20);
    for (ranks, whole) in ranks.iter().zip(whole) {
        assert!((ranks / whole - 1.0).abs() < 1e-6, "{ranks} is not {whole}");
    }
}

#[test]
fn images_with_dropout_and_flips_have_the_same_bits() {
    let home = Home::with_images(&trained(IMAGES));
    same_bits(&home, 3, &["--set", "train.steps=3"], "train.micro_batch=2");
}

#[test]
fn levels_that_are_drawn_by_their_losses_have_the_same_bits() {
    let home = Home::with(&trained(VECTORS));
    let words = ["--set", "precondition={discrete={levels=2}}", "--set", "sde.vp.beta_max=1.5", "--set", "train.time=loss-aware"];
    same_bits(&home, 20, &words, "train.micro_batch=4");
    home.succeed(&[&["run", "tiny.toml", "--out", "uniform", "--set", "train.micro_batch=4"], &words[..4]].concat());
    assert!(weights(&home, "one", 20) != weights(&home, "uniform", 20), "the losses were looked at");
}

#[test]
fn classes_that_are_hidden_now_and_then_and_a_classifier_beside_have_the_same_bits() {
    let data = "[data.gaussian-mixture]\ntrain = 100\ntest = 20\nscale = 2.0\nmixture = { weights = [1.0, 3.0], \
                means = [[-2.0, 1.0], [2.0, 0.0]], covariances = [[[0.1, 0.0], [0.0, 0.1]], [[0.1, 0.0], [0.0, 0.1]]] }\n\n\
                [condition.class]\ndropout = 0.5\n\n[classifier]\nwidth = 8\ndepth = 1\nt_min = 1e-3\n\n[classifier.train]\nsteps = 10\nbatch = 8\n\
                lr = 1e-3\nwarmup = 5\nclip = 1.0\nbetas = [0.9, 0.999]\neps = 1e-8\nweight_decay = 0.0\nema = 0.9\ncheckpoint_every = 10\n\n";
    let [before, after] = ["[data.checkerboard]", "[network.mlp]"].map(|table| VECTORS.find(table).unwrap());
    let home = Home::with(&format!("{}{data}{}", &VECTORS[..before], trained(&VECTORS[after..])));
    same_bits(&home, 20, &["--set", "classifier.train.micro_batch=4"], "train.micro_batch=4");
    assert!(home.read(&last("ranks/classifier", 10)) == home.read(&last("one/classifier", 10)));
}

#[test]
fn a_run_goes_on_with_another_number_of_ranks_to_the_same_bits() {
    let home = Home::with(&trained(VECTORS));
    // Every point closes its window, as the last step does.
    let micro = ["--set", "train.micro_batch=2", "--set", "train.log_every=1"];
    home.succeed(&[&["run", "tiny.toml", "--out", "one"], &micro[..]].concat());
    Ranks::start(&home, 2, &[&["--out", "many", "--set", "train.steps=7"], &micro[..]].concat()).succeed();
    Ranks::start(&home, 4, &[&["--out", "many", "--set", "train.steps=13"], &micro[..]].concat()).succeed();
    home.succeed(&[&["run", "tiny.toml", "--out", "many"], &micro[..]].concat());
    assert!(weights(&home, "many", 20) == weights(&home, "one", 20));
    // Another micro-batch is the same run.
    home.succeed(&["run", "tiny.toml", "--out", "many", "--set", "train.steps=21"]);
}

#[test]
fn a_family_that_draws_and_measures_by_itself_has_the_same_bits() {
    let of_scores = ["objective", "weighting", "reduction", "time", "importance", "stratified", "t_min"];
    let keys = |line: &&str| !of_scores.iter().any(|key| line.starts_with(&format!("{key} =")));
    let table = |name: &str| VECTORS[VECTORS.find(name).unwrap()..].split("\n\n").next().unwrap();
    let train = table("[train]").lines().filter(keys).collect::<Vec<_>>().join("\n");
    let vae = "[vae]\nlatent = 2\nwidth = 8\ndepth = 1\ndecoder = \"gaussian\"";
    let draw = "[draw]\ncount = 5\nbatch = 2\ntemperature = 1.0";
    let density = "[density]\nsplit = \"test\"\ncount = 6\nbatch = 4\ndequantisation = \"none\"\ndraws = 3";
    let home = Home::with(&["seed = 1", table("[data."), vae, &train, draw, density].join("\n\n"));
    same_bits(&home, 20, &[], "train.micro_batch=4");
    for result in ["samples/samples.npz", "likelihood.npz"] {
        assert!(home.read(&format!("ranks/{result}")) == home.read(&format!("one/{result}")), "{result}");
    }
}

#[test]
fn samples_go_on_after_a_rank_was_killed() {
    let home = Home::with(VECTORS);
    let sets = ["sample.count=60", "sample.solver.euler.grid.uniform.steps=200"];
    let words: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    let ranks = [&words[..], &["--out", "ranks"]].concat();
    let mut first = Ranks::start(&home, 2, &ranks);
    home.wait_for("ranks/samples/samples.journal", &mut first.children[0]);
    first.signal(1, "-9");
    let ends = first.ends();
    assert!(ends[0].0 == Some(1) && ends[0].1.contains("rank 1 of 2 is gone"), "{ends:?}");
    Ranks::start(&home, 2, &ranks).succeed();
    home.succeed(&[&["run", "tiny.toml", "--out", "one", "--set", "train.micro_batch=4"], &words[..]].concat());
    for result in ["samples/samples.npz", "likelihood.npz"] {
        assert!(home.read(&format!("ranks/{result}")) == home.read(&format!("one/{result}")), "{result}");
    }
}

#[test]
fn a_store_that_the_launcher_keeps_is_used_and_a_port_that_is_taken_is_refused() {
    let home = Home::with(&trained(VECTORS));
    let port = free_port();
    let agent = comm::Store::connect("127.0.0.1", port, true, "agent", Duration::from_secs(20)).unwrap();
    let start = |more: &[(&'static str, &str)]| Ranks::start_at(&home, 2, port, more, |_| Vec::new());
    // Started again after a fault, they meet anew in the same store.
    for attempt in ["0", "1"] {
        start(&[("TORCHELASTIC_USE_AGENT_STORE", "True"), ("TORCHELASTIC_RESTART_COUNT", attempt)]).succeed();
    }
    let mut ranks = start(&[]);
    ranks.children.pop().unwrap().kill().unwrap();
    let (code, said) = ranks.ends().remove(0);
    assert!(code == Some(2) && said.contains(&format!("port {port} of 127.0.0.1 is taken by another program")), "{said}");
    drop(agent);
}

/// Long enough to be killed in.
const LONG: [&str; 8] =
    ["--set", "train.steps=4000", "--set", "train.checkpoint_every=20", "--set", "train.log_every=4000", "--out", "run"];

#[test]
fn whoever_is_killed_the_others_name_it_and_the_same_command_goes_on() {
    let home = Home::with(&trained(VECTORS));
    let large = std::env::var_os("SCORE_SDE_LARGE").is_some();
    let (kills, each) = if large { (30, 40) } else { (2, 20) };
    let steps = format!("train.steps={}", each * (kills + 1));
    let words = [&LONG[..], &["--set", &steps]].concat();
    for kill in 0..kills {
        let mut ranks = Ranks::start(&home, 2, &words);
        home.wait_for(&last("run", each * (kill + 1)), &mut ranks.children[0]);
        let killed = (kill % 2) as usize;
        ranks.signal(killed, "-9");
        let ends = ranks.ends();
        assert_eq!(ends[killed], (None, ends[killed].1.clone()));
        let (code, said) = &ends[1 - killed];
        assert_eq!(*code, Some(1), "{said}");
        assert!(said.contains(&format!("rank {killed} of 2")) && said.contains("is gone"), "{said}");
        assert_eq!(said.matches("×").count(), 1, "{said}");
    }
    Ranks::start(&home, 2, &words).succeed();
    let whole: Vec<&str> = words.iter().map(|word| if *word == "run" { "whole" } else { word }).collect();
    Ranks::start(&home, 2, &whole).succeed();
    let step = each * (kills + 1);
    assert!(home.read(&last("run", step)) == home.read(&last("whole", step)));
}

#[test]
fn a_rank_that_hangs_is_named() {
    let home = Home::with(&trained(VECTORS));
    for hung in [0, 1] {
        let mut ranks = Ranks::start(&home, 2, &LONG);
        home.wait_for(&last("run", 20 + 20 * hung as u64), &mut ranks.children[0]);
        ranks.signal(hung, "-STOP");
        let begun = Instant::now();
        while ranks.children[1 - hung].try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(60), "rank {} waits for ever", 1 - hung);
            std::thread::sleep(Duration::from_millis(5));
        }
        ranks.signal(hung, "-9");
        let said = ranks.ends().swap_remove(1 - hung).1;
        assert!(said.contains(&format!("rank {hung} of 2 has not answered for {PATIENCE} s")), "{said}");
    }
}

#[test]
fn a_rank_that_fails_says_why_and_the_others_say_who() {
    let home = Home::with(&trained(VECTORS));
    let mut ranks = Ranks::start(
        &home,
        3,
        &["--set", "train.batch=6", "--set", "train.steps=4000", "--set", "train.checkpoint_every=20", "--out", "run"],
    );
    home.wait_for(&last("run", 20), &mut ranks.children[0]);
    std::fs::rename(home.path("run"), home.path("elsewhere")).unwrap();
    let ends = ranks.ends();
    assert!(ends.iter().all(|(code, _)| *code == Some(1)), "{ends:?}");
    assert!(ends[0].1.contains("× run: was removed, moved or replaced"), "{ends:?}");
    for (_, said) in &ends[1..] {
        assert!(said.contains("rank 0 of 3 stopped: run: was removed, moved or replaced"), "{said}");
    }
}

#[test]
fn what_goes_wrong_for_all_is_reported_once() {
    let home = Home::with(&trained(VECTORS));
    let once = |words: &[&str], report: &str| {
        let ends = Ranks::start(&home, 2, words).ends();
        let said: String = ends.iter().map(|(_, said)| said.as_str()).collect();
        assert!(ends.iter().all(|(code, _)| *code == ends[0].0 && *code != Some(0)), "{ends:?}");
        assert_eq!((said.matches("×").count(), said.contains(report)), (1, true), "{said}");
    };
    once(&["--set", "train.lrr=1"], "unknown field `lrr`");
    once(&["--set", "train.batch=7", "--out", "seven"], "train.batch: 2 processes can't share a batch of 7 evenly");
    once(&["--set", "train.micro_batch=3"], "micro_batch is 3");
    once(&["--set", "train.micro_batch=8", "--out", "eight"], "each of 2 processes has 4 examples of a batch");
    once(&["--set", "train.lr=1e38", "--set", "train.clip=inf", "--out", "nan"], "the loss is");
    let name = home.names("nan").into_iter().find(|name| name.starts_with("divergence")).unwrap();
    let divergence = home.json(&format!("nan/{name}"));
    for list in ["examples", "t", "losses"] {
        assert_eq!(divergence[list].as_array().unwrap().len(), 8, "of all ranks: {list}");
    }
    let ends = Ranks::start_each(&home, 2, |rank| vec!["--set".into(), format!("seed={rank}")]).ends();
    assert!(ends.iter().all(|(code, said)| *code == Some(2) && said.contains("and another with `tiny.toml --set seed=")), "{ends:?}");
}

#[test]
fn a_batch_whose_examples_are_paired_is_not_parted() {
    let plain = "[precondition.plain]\nlabel = \"time\"\noutput = \"velocity\"";
    let changes = [
        ("[sde.vp]\nbeta_min = 0.1\nbeta_max = 20.0", "[sde.optimal-transport]"),
        ("[precondition.reference]", plain),
        ("weighting = \"variance\"", "weighting = \"velocity\""),
    ];
    let home = Home::with(&changes.iter().fold(trained(VECTORS), |text, (from, to)| text.replace(from, to)));
    let refused = home.fail(&["run", "tiny.toml", "--set", "train.micro_batch=4"]);
    assert!(refused.contains("optimal transport pairs all examples of a batch"), "{refused}");
    home.succeed(&["run", "tiny.toml", "--set", "train.micro_batch=8", "--out", "whole"]);
}

#[test]
fn one_rank_that_is_asked_to_stop_stops_all_at_the_same_step() {
    let home = Home::with(&trained(VECTORS));
    for (rank, signal) in [(1, "-TERM"), (0, "-USR1")] {
        let mut ranks = Ranks::start(&home, 2, &LONG);
        home.wait_for(&last("run", 20), &mut ranks.children[0]);
        ranks.signal(rank, signal);
        let ends = ranks.ends();
        assert!(ends.iter().all(|(code, _)| *code == Some(75)), "{ends:?}");
        assert!(ends[0].1.contains("× interrupted at step") && ends[1].1.is_empty(), "{ends:?}");
        std::fs::remove_dir_all(home.path("run")).unwrap();
    }
}

#[test]
fn a_diverged_training_goes_back_with_all_ranks() {
    let home = Home::with(&trained(VECTORS));
    let rewind = "train.on_divergence={rewind={factor=1e-9,most=2}}";
    let settings = ["train.lr=3e7", "train.warmup=1000000", "train.checkpoint_every=4", rewind];
    let words: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    same_bits(&home, 20, &words, "train.micro_batch=4");
    assert!(home.names("ranks").iter().any(|name| name.starts_with("divergence")));
}
