//! Experiment files: those that come with the project load, and each kind of wrong one gets its own message.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::home::{Home, IMAGES, VECTORS, cifar10, idx, png};
use insta::assert_snapshot;
use miette::{GraphicalReportHandler, GraphicalTheme};
use proptest::prelude::*;
use score_sde::error::Error;
use score_sde::experiment::{Experiment, Override, load, parse};

/// The files in `experiments/` and its folders.
fn experiments() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
    let files = |folder: &Path| fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect::<Vec<_>>();
    let mut paths = [files(&folder), files(&folder.join("ancestors")), files(&folder.join("ancestors/fashion"))].concat();
    paths.retain(|path| path.extension().is_some_and(|e| e == "toml"));
    paths.sort();
    assert!(paths.len() >= 17, "{paths:?}");
    paths
}

/// The text of an experiment, and of those that it extends.
fn with_extended(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let extended = text.lines().find_map(|line| line.strip_prefix("extends = ")).map(|name| path.with_file_name(name.trim_matches('"')));
    extended.map_or(String::new(), |path| with_extended(&path)) + &text
}

/// The report as a terminal of 100 columns shows it, without colour.
fn report(error: Error) -> String {
    let mut text = String::new();
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(100).with_links(false);
    handler.render_report(&mut text, &error).unwrap();
    text
}

/// The report on an experiment that must be refused.
fn refused(text: &str, overrides: &[&str]) -> String {
    let overrides: Vec<Override> = overrides.iter().map(|setting| (*setting).into()).collect();
    match parse("tiny.toml", text, &overrides) {
        Ok(_) => panic!("accepted with {overrides:?}:\n{text}"),
        Err(error) => report(error),
    }
}

/// The tiny experiment with one place changed.
fn changed(from: &str, to: &str) -> String {
    assert_eq!(VECTORS.matches(from).count(), 1, "{from}");
    VECTORS.replace(from, to)
}

#[test]
fn every_experiment_loads_and_its_resolved_form_is_the_same_experiment() {
    let home = Home::with(VECTORS);
    home.write("images", idx(2000, 28));
    home.write("cifar10/data_batch_1.bin", cifar10(2));
    home.write("cifar10/test_batch.bin", cifar10(2));
    home.write("labels", [&[0, 0, 8, 1, 0, 0, 7, 208][..], &[0; 1000], &[1; 1000]].concat());
    for class in ["a", "b"] {
        home.write(&format!("files/{class}/1.png"), png(32, 32, 1));
    }
    let files = home.path("files").display().to_string();
    let [images, labels] = ["images", "labels"].map(|name| home.path(name).display().to_string());
    let cifar10 = home.path("cifar10").display().to_string();
    for path in experiments() {
        let text = with_extended(&path);
        let measured = ["density", "likelihood"].into_iter().find(|table| text.contains(&format!("[{table}]")));
        let few = measured.map(|table| format!("{table}.count=2"));
        let overrides = if text.contains("[data.idx]") {
            let files = [format!("data.idx.train={images}"), format!("data.idx.test={images}")].into_iter().chain(few);
            let of_labels = ["train", "test"].map(|split| format!("data.idx.labels.{split}={labels}"));
            files.chain(of_labels.into_iter().filter(|_| text.contains("[data.idx.labels]"))).collect()
        } else if text.contains("[data.cifar10]") {
            [format!("data.cifar10.folder={cifar10}")].into_iter().chain(few).collect()
        } else if text.contains("[data.images]") {
            [format!("data.images.train={files}"), format!("data.images.test={files}")].into_iter().chain(few).collect()
        } else {
            vec![]
        };
        let overrides: Vec<Override> = overrides.into_iter().map(Override::Set).collect();
        let load = |path: &Path, overrides: &[Override]| load(path, overrides).unwrap_or_else(|e| panic!("{}", report(e))).experiment;
        let experiment = load(&path, &overrides);
        let draws = experiment.sample.is_some() || experiment.draw.is_some();
        let measures = experiment.likelihood.is_some() || experiment.density.is_some();
        // The constant of an energy at one level is not known.
        let energy = text.contains("[network.tied-autoencoder]");
        let classifies = text.contains("[classifier]") && !text.contains("[network.");
        assert!(classifies || draws && (measures || energy), "{}", path.display());
        home.write("resolved.toml", experiment.resolved());
        assert_eq!(load(&home.path("resolved.toml"), &[]), experiment, "{}", path.display());
        assert!(overrides.is_empty() || load(&home.path("resolved.toml"), &["seed=77".into()]) != experiment);
    }
}

#[test]
fn a_data_set_that_is_not_there_names_the_command_that_brings_it() {
    let home = Home::with(VECTORS);
    // Each place where it was looked for is named, and is another one for each file.
    let report_of = |path: &Path| {
        let report = home.fail(&["check", path.to_str().unwrap()]).replace("/ ", "/");
        let places = format!("{} or in {}", path.parent().unwrap().display(), home.path("").display()).replace("/ ", "/");
        report.replace(places.trim_end_matches('/'), "PLACES")
    };
    let without_data = |table: &str| {
        let uses = |path: &PathBuf| with_extended(path).contains(table);
        experiments().into_iter().filter(uses).map(|path| report_of(&path)).collect::<Vec<_>>()
    };
    insta::allow_duplicates! {
        for report in without_data("[data.idx]") {
            assert_snapshot!(report, @"data/fashion-mnist/train-images-idx3-ubyte.gz: there is no such file in PLACES help: for Fashion-MNIST run scripts/fetch-fashion-mnist, which fills data/fashion-mnist; for another set correct the path");
        }
        for report in without_data("[data.cifar10]") {
            assert_snapshot!(report, @"data/cifar-10-batches-bin: there is no such folder in PLACES help: run scripts/fetch-cifar10, which fills data/cifar-10-batches-bin, or correct data.cifar10.folder");
        }
    }
}

#[test]
fn check_prints_the_whole_experiment_and_what_will_run() {
    let (stdout, stderr) = Home::with(VECTORS).succeed(&["check", "tiny.toml", "--set", "train.log_every=7"]);
    assert_eq!(stderr, "");
    assert_eq!(toml::from_str::<Experiment>(&stdout).unwrap().train.unwrap().log_every, 7);
    // What is available changes from moment to moment.
    let (stdout, available) = stdout.rsplit_once(" of ").unwrap_or((&stdout, ""));
    assert!(available.ends_with(" available\n"), "{available}");
    assert_snapshot!(stdout, @r#"
    seed = 1

    [sde.vp]
    beta_min = 0.1
    beta_max = 20.0

    [data.checkerboard]
    train = 100
    test = 20
    scale = 2.0

    [network.mlp]
    width = 16
    depth = 1
    input = "plain"
    embedding = "positional"

    [precondition.reference]

    [train]
    steps = 20
    batch = 8
    lr = 0.001
    warmup = 5
    clip = 1.0
    betas = [0.9, 0.999]
    eps = 0.00000001
    weight_decay = 0.0
    ema = 0.9
    objective = "denoising"
    weighting = "variance"
    reduction = "mean"
    time = "uniform"
    importance = true
    stratified = false
    t_min = 0.0001
    checkpoint_every = 10
    keep = 2       # default
    log_every = 7  # --set

    [sample]
    count = 4
    batch = 3
    dynamics = "reverse-sde"
    t_min = 0.001
    denoise = true

    [sample.solver.euler.grid.uniform]
    steps = 4

    [likelihood]
    split = "test"
    count = 5
    batch = 3
    t_min = 0.001
    below_t_min = "ignored"
    solver_check = 0
    dequantisation = "none"

    [likelihood.solver.heun.grid.uniform]
    steps = 4

    [likelihood.trace.exact]

    # What will run:
    # data        100 training examples of shape [2]
    # network     914 trainable parameters
    # train       20 steps of 8 examples, 1.6 epochs
    # sample      4 samples
    # likelihood  5 test examples
    # memory      about 160 MB
    "#);
}

/// Checkpoints bear it: another one would refuse the runs that are there.
#[test]
fn the_mark_of_an_experiment_stays() {
    let mark = |overrides: &[&str]| {
        let overrides: Vec<Override> = overrides.iter().map(|setting| (*setting).into()).collect();
        parse("tiny.toml", VECTORS, &overrides).unwrap_or_else(|e| panic!("{}", report(e))).experiment.mark()
    };
    assert_eq!(mark(&[]), "d87ff58a");
    assert_eq!(mark(&["train.log_every=7", "sample.count=9"]), "d87ff58a");
    assert_ne!(mark(&["train.lr=2e-3"]), "d87ff58a");
}

#[test]
fn misspelt_keys() {
    assert_snapshot!(refused(&changed("warmup", "warmpu"), &[]), @"
     × unknown field `warmpu`, expected one of `steps`, `batch`, `micro_batch`, `lr`, `warmup`,
     │ `schedule`, `clip`, `betas`, `eps`, `weight_decay`, `ema`, `objective`, `weighting`,
     │ `reduction`, `time`, `importance`, `stratified`, `t_min`, `checkpoint_every`, `keep`,
     │ `keep_every`, `keep_best`, `on_divergence`, `log_every`, `sample_every`, `validation`
       ╭─[tiny.toml:24:1]
    23 │ lr = 1e-3
    24 │ warmpu = 5
       · ───┬──
       ·    ╰── here
    25 │ clip = 1.0
       ╰────
     help: did you mean `warmup`?
    ");
    assert_snapshot!(refused(&changed("[sample]", "[sampel]"), &[]), @r"
     × unknown field `sampel`, expected one of `seed`, `sde`, `data`, `condition`, `space`, `score`,
     │ `network`, `precondition`, `flow`, `vae`, `hierarchical_vae`, `train`, `classifier`,
     │ `analytic_variance`, `sample`, `dequantisation`, `likelihood`, `draw`, `density`, `evaluate`
       ╭─[tiny.toml:39:2]
    38 │ 
    39 │ [sampel]
       ·  ───┬──
       ·     ╰── here
    40 │ count = 4
       ╰────
     help: did you mean `sample`?
    ");
    assert_snapshot!(refused(&changed("[sde.vp]", "[sde.vpp]"), &[]), @"
      × unknown variant `vpp`, expected one of `vp`, `cosine`, `sub-vp`, `ve`, `linear`, `edm`,
      │ `table`, `formula`, `optimal-transport`, `poisson-flow`
       ╭─[tiny.toml:3:6]
     2 │ 
     3 │ [sde.vpp]
       ·      ─┬─
       ·       ╰── here
     4 │ beta_min = 0.1
       ╰────
      help: did you mean `vp`?
    ");
    let of_formulas =
        |alpha: &str| changed("[sde.vp]\nbeta_min = 0.1\nbeta_max = 20.0", &format!("[sde.formula]\nalpha = \"{alpha}\"\nsigma = \"t\""));
    assert_snapshot!(refused(&of_formulas("cos(s)"), &[]), @r#"
    × `cos(s)` names `s`, which is neither a function nor t; give numbers, t, pi, + - * / ^,
    │ brackets and functions such as exp, log, sqrt, sin, cos, tanh
     ╭─[tiny.toml:4:9]
   3 │ [sde.formula]
   4 │ alpha = "cos(s)"
     ·         ────┬───
     ·             ╰── here
   5 │ sigma = "t"
     ╰────
    "#);
    assert_snapshot!(refused(&of_formulas("2 - t"), &[]), @r#"
    × sde.formula.alpha: alpha is 2 at t = 0, and the data themselves have 1
     ╭─[tiny.toml:4:9]
   3 │ [sde.formula]
   4 │ alpha = "2 - t"
     ·         ───┬───
     ·            ╰── here
   5 │ sigma = "t"
     ╰────
    help: give functions with alpha(0) = 1, alpha >= 0, sigma > 0 after t = 0, and alpha / sigma
          falling all the way to t = 1
    "#);
    assert_snapshot!(refused(&changed("\"variance\"", "\"qwertyuiop\""), &[]), @r#"
     × unknown variant `qwertyuiop`, expected one of `variance`, `likelihood`, `velocity`, `edm`,
     │ `min-snr`, `soft-min-snr`
       ╭─[tiny.toml:31:13]
    30 │ objective = "denoising"
    31 │ weighting = "qwertyuiop"
       ·             ──────┬─────
       ·                   ╰── here
    32 │ reduction = "mean"
       ╰────
    "#);
}

/// What is wrong, and the cures, a line each.
fn mistakes(text: &str) -> Vec<String> {
    let words = refused(text, &[]).split_whitespace().filter(|word| !["│", "Error:"].contains(word)).collect::<Vec<_>>().join(" ");
    let parts = words.split("× ").skip(1).map(|part| {
        let (message, cure) = (part.split(" ╭").next().unwrap().trim(), part.split("help: ").nth(1).unwrap_or_default().trim());
        format!("{} -> {cure}", message.split(", expected").next().unwrap())
    });
    parts.collect()
}

#[test]
fn all_mistakes_come_at_once() {
    let words = [
        ("lr = 1e-3", "learning_rate = 1e-3"),
        ("warmup = 5", "warmpu = 5"),
        ("clip = 1.0", "clip = \"one\""),
        ("eps = 1e-8\n", ""),
        ("[sample]\n", "[sample]\nlr = 3\n"),
        ("[sde.vp]", "[sde.VP]"),
    ];
    let text = words.iter().fold(VECTORS.to_owned(), |text, (from, to)| text.replace(from, to));
    assert_snapshot!(mistakes(&text).join("\n"), @r#"
    tiny.toml has 6 mistakes -> 
    unknown variant `VP` -> did you mean `vp`?
    missing field `eps` -> every number that changes a result is given in the file; the files in experiments/ show all keys
    unknown field `learning_rate` -> did you mean `lr`?
    unknown field `warmpu` -> did you mean `warmup`?
    invalid type: string "one" -> 
    unknown field `lr` -> `lr` is a key of [train], [classifier.train], [dequantisation.variational]
    "#);
    let values = [("beta_min = 0.1", "beta_min = 0"), ("lr = 1e-3", "lr = -1"), ("ema = 0.9", "ema = 1.5"), ("count = 4", "count = 0")];
    let text = values.iter().fold(changed("warmup = 5", "warmpu = 5"), |text, (from, to)| text.replace(from, to));
    assert_snapshot!(mistakes(&text).join("\n"), @"
    tiny.toml has 5 mistakes -> 
    sde.vp.beta_min: beta_min is 0 -> give a number above 0; the reference uses 0.1
    train.lr: lr is -1 -> give a number above 0; the reference uses 2e-4
    unknown field `warmpu` -> did you mean `warmup`?
    train.ema: ema is 1.5 -> give a number in [0, 1); the reference uses 0.999 (VE) and 0.9999 (VP)
    sample.count: count is 0 -> give a whole number from 1 to 100000000; leave [sample] out for no samples
    ");
}

#[test]
fn words_of_others_have_their_cure() {
    let cure = |from: &str, to: &str| {
        let found = mistakes(&changed(from, to));
        let unknown = found.iter().find(|mistake| mistake.contains("unknown")).unwrap();
        unknown.split("-> ").nth(1).unwrap().to_owned()
    };
    for (from, to, meant) in [
        ("batch = 8", "batch_size = 8", "did you mean `batch`?"),
        ("steps = 20", "epochs = 20", "train.steps"),
        ("[sde.vp]", "[sde.VP]", "did you mean `vp`?"),
        ("\"reverse-sde\"", "\"ode\"", "probability-flow"),
        ("[data.checkerboard]", "[data.npy]", "npy-vectors or npy-images"),
        ("solver.euler.grid", "solver.ddim.grid", "discrete-chain"),
        ("[train]", "[training]", "did you mean `train`?"),
        ("denoise = true", "denoise = true\nema = 0.9", "`ema` is a key of [train]"),
    ] {
        let cure = cure(from, to);
        assert!(cure.contains(meant), "{to}: {cure}");
    }
}

#[test]
fn missing_keys_and_tables() {
    assert_snapshot!(refused(&changed("lr = 1e-3\n", ""), &[]), @"
      × missing field `lr`
        ╭─[tiny.toml:20:1]
     19 │ 
     20 │ [train]
        · ───┬───
        ·    ╰── here
     21 │ steps = 20
        ╰────
      help: every number that changes a result is given in the file; the files in experiments/ show
            all keys
    ");
    assert_snapshot!(refused(&changed("seed = 1\n", ""), &[]), @"
      × missing field `seed`
       ╭─[tiny.toml:1:1]
     1 │ 
       · ▲
       · ╰── here
     2 │ [sde.vp]
     3 │ beta_min = 0.1
       ╰────
      help: every number that changes a result is given in the file; the files in experiments/ show
            all keys
    ");
    let without_train = VECTORS.split("[train]").next().unwrap();
    assert_snapshot!(refused(without_train, &[]), @"
      × there is no [train]
      help: give [network.*], [precondition.*] and [train] to train a score, or [score.gaussian-
            mixture] for an exact one
    ");
    assert_snapshot!(refused(&changed("[sde.vp]\nbeta_min = 0.1\nbeta_max = 20.0\n", "[sde]\n"), &[]), @"
      × this table takes exactly one choice, but has none
       ╭─[tiny.toml:3:1]
     2 │ 
     3 │ [sde]
       · ──┬──
       ·   ╰── here
     4 │ 
       ╰────
      help: give one; the files in experiments/ show the choices
    ");
}

#[test]
fn wrong_types() {
    assert_snapshot!(refused(&changed("steps = 20\n", "steps = \"many\"\n"), &[]), @r#"
      × invalid type: string "many", expected a whole number of at least 0
        ╭─[tiny.toml:21:9]
     20 │ [train]
     21 │ steps = "many"
        ·         ───┬──
        ·            ╰── here
     22 │ batch = 8
        ╰────
    "#);
    assert_snapshot!(refused(&changed("count = 4\n", "count = -4\n"), &[]), @"
     × invalid value: integer `-4`, expected a whole number of at least 0
       ╭─[tiny.toml:40:9]
    39 │ [sample]
    40 │ count = -4
       ·         ─┬
       ·          ╰── here
    41 │ batch = 3
       ╰────
    ");
    assert_snapshot!(refused(&changed("scale = 2.0", "scale = [2.0]"), &[]), @"
      × invalid type: sequence, expected a number
        ╭─[tiny.toml:10:9]
      9 │ test = 20
     10 │ scale = [2.0]
        ·         ──┬──
        ·           ╰── here
     11 │ 
        ╰────
    ");
    assert_snapshot!(refused(&changed("denoise = true", "denoise = 1"), &[]), @"
     × invalid type: integer `1`, expected true or false
       ╭─[tiny.toml:45:11]
    44 │ t_min = 1e-3
    45 │ denoise = 1
       ·           ┬
       ·           ╰── here
    46 │ 
       ╰────
    ");
    assert_snapshot!(refused(&changed("betas = [0.9, 0.999]", "betas = [0.9]"), &[]), @"
      × invalid length 1, expected an array of length 2
        ╭─[tiny.toml:26:9]
     25 │ clip = 1.0
     26 │ betas = [0.9]
        ·         ──┬──
        ·           ╰── here
     27 │ eps = 1e-8
        ╰────
    ");
}

/// A parser that takes them in the order of its own fields would train on other data than anyone asked for.
#[test]
fn a_list_where_a_table_belongs() {
    let refused = |set: &str| refused(VECTORS, &[set]).split_whitespace().collect::<Vec<_>>().join(" ");
    let ring = refused("data={rings=[100,10,0.1,1]}");
    assert!(ring.contains("data.rings: a list, but this is a table with keys of its own"), "{ring}");
    assert!(refused("sde={vp=[0.1,20.0]}").contains("write sde.vp = { beta_max = ..., beta_min = ... }"));
}

#[test]
fn text_that_is_not_toml() {
    assert_snapshot!(refused(&changed("lr = 1e-3\n", "lr = \n"), &[]), @"
      × string values must be quoted, expected literal string
        ╭─[tiny.toml:23:6]
     22 │ batch = 8
     23 │ lr = 
        ·      ▲
        ·      ╰── here
     24 │ warmup = 5
        ╰────
    ");
    assert_snapshot!(refused(&changed("lr = 1e-3\n", "lr = 1e-3\nlr = 1e-4\n"), &[]), @"
      × duplicate key
        ╭─[tiny.toml:24:1]
     23 │ lr = 1e-3
     24 │ lr = 1e-4
        · ─┬
        ·  ╰── here
     25 │ warmup = 5
        ╰────
    ");
    assert_snapshot!(refused(&changed("[sde.vp]", "[sde.vp"), &["seed=2"]), @"
      × unclosed table, expected `]`
       ╭─[tiny.toml:3:8]
     2 │ 
     3 │ [sde.vp
       ·        ▲
       ·        ╰── here
     4 │ beta_min = 0.1
       ╰────
    ");
}

#[test]
fn contradictions() {
    assert_snapshot!(refused(&changed("[data.", "[sde.ve]\nsigma_min = 0.01\nsigma_max = 50.0\n\n[data."), &[]), @r"
     × this table takes exactly one choice, but has more
      ╭─[tiny.toml:3:2]
    2 │ 
    3 │ [sde.vp]
      ·  ─┬─
      ·   ╰── here
    4 │ beta_min = 0.1
      ╰────
     help: keep one of them
    ");
    let mixture = "[score.gaussian-mixture]\nweights = [1.0]\nmeans = [[0.0, 0.0]]\ncovariances = [[[1.0, 0.0], [0.0, 1.0]]]\n\n";
    let trained = VECTORS.find("[network").unwrap()..VECTORS.find("[train]").unwrap();
    let mut text = VECTORS.to_owned();
    text.replace_range(trained, mixture);
    assert_snapshot!(refused(&text, &[]), @"
      × train: [train] has nothing to do: [score] is known already
        ╭─[tiny.toml:17:2]
     16 │ 
     17 │ [train]
        ·  ──┬──
        ·    ╰── here
     18 │ steps = 20
        ╰────
      help: remove [score], or remove [train] and whatever else describes training
    ");
}

#[test]
fn values_that_cannot_work() {
    assert_snapshot!(refused(&changed("beta_min = 0.1", "beta_min = 0"), &[]), @"
      × sde.vp.beta_min: beta_min is 0
       ╭─[tiny.toml:4:12]
     3 │ [sde.vp]
     4 │ beta_min = 0
       ·            ┬
       ·            ╰── here
     5 │ beta_max = 20.0
       ╰────
      help: give a number above 0; the reference uses 0.1
    ");
    assert_snapshot!(refused(&changed("[0.9, 0.999]", "[0.9, 1.0]"), &[]), @"
      × train.betas: betas is 1
        ╭─[tiny.toml:26:9]
     25 │ clip = 1.0
     26 │ betas = [0.9, 1.0]
        ·         ─────┬────
        ·              ╰── here
     27 │ eps = 1e-8
        ╰────
      help: give two numbers in [0, 1); the reference uses [0.9, 0.999]
    ");
    assert_snapshot!(refused(&changed("solver.euler.grid.uniform.steps = 4", "solver.rk45 = { rtol = 1e-3, atol = 1e-3 }"), &[]), @r#"
     × sample.solver.rk45: rk45 can't solve the reverse SDE: its error estimate knows no noise
       ╭─[tiny.toml:43:15]
    42 │ dynamics = "reverse-sde"
    43 │ solver.rk45 = { rtol = 1e-3, atol = 1e-3 }
       ·               ──────────────┬─────────────
       ·                             ╰── here
    44 │ t_min = 1e-3
       ╰────
     help: use dynamics = "probability-flow", or a solver with a grid such as euler or heun
    "#);
    assert_snapshot!(refused(&changed("solver.euler.grid.uniform.steps = 4", "solver.euler.grid.uniform.steps = 0"), &[]), @r#"
     × sample.solver.euler.grid.uniform.steps: steps is 0
       ╭─[tiny.toml:43:35]
    42 │ dynamics = "reverse-sde"
    43 │ solver.euler.grid.uniform.steps = 0
       ·                                   ┬
       ·                                   ╰── here
    44 │ t_min = 1e-3
       ╰────
     help: give a whole number from 1 to 1000000; a few hundred are usual
    "#);
    assert_snapshot!(refused(&changed("\"none\"", "\"uniform\""), &[]), @r#"
     × this choice is a table with keys of its own
       ╭─[tiny.toml:56:18]
    55 │ trace.exact = {}
    56 │ dequantisation = "uniform"
       ·                  ────┬────
       ·                      ╰── here
       ╰────
     help: give one; the files in experiments/ show the choices
    "#);
    assert_snapshot!(refused(&changed("\"none\"", "{uniform={draws=1}}"), &[]), @r#"
     × likelihood.dequantisation: this dequantisation does not fit the data
       ╭─[tiny.toml:56:18]
    55 │ trace.exact = {}
    56 │ dequantisation = {uniform={draws=1}}
       ·                  ─────────┬─────────
       ·                           ╰── here
       ╰────
     help: the data are vectors: "none"
    "#);
    let churn = "solver.edm = { s_churn = 5.0, s_min = 2.0, s_max = 1.0, s_noise = 1.0, grid.uniform.steps = 4 }";
    let churned = changed("solver.euler.grid.uniform.steps = 4", churn).replace("reverse-sde", "probability-flow");
    assert_snapshot!(refused(&churned, &[]), @r#"
     × sample.solver.edm.s_max: s_max is 1, below s_min = 2: no step would be churned
       ╭─[tiny.toml:43:52]
    42 │ dynamics = "probability-flow"
    43 │ solver.edm = { s_churn = 5.0, s_min = 2.0, s_max = 1.0, s_noise = 1.0, grid.uniform.steps = 4 }
       ·                                                    ─┬─
       ·                                                     ╰── here
    44 │ t_min = 1e-3
       ╰────
     help: give a number above s_min; EDM uses 50, and inf has no limit
    "#);
    assert_snapshot!(refused(&changed("solver.heun.grid.uniform.steps = 4", "solver.rk45 = { rtol = 1e-3, atol = 0.0 }"), &[]), @r#"
     × likelihood.solver.rk45.atol: the tolerance is 0
       ╭─[tiny.toml:53:37]
    52 │ below_t_min = "ignored"
    53 │ solver.rk45 = { rtol = 1e-3, atol = 0.0 }
       ·                                     ─┬─
       ·                                      ╰── here
    54 │ solver_check = 0
       ╰────
     help: give a number between 0 and 1; the reference uses 1e-5
    "#);
    assert_snapshot!(refused(&changed("solver.heun.grid.uniform.steps = 4", "solver.rk45 = { rtol = 1e-3, atol = 1e-3, control = \"i\" }"), &[]), @r#"
     × unknown variant `i`, expected one of `per-example`, `pi`, `batch-coupled`
       ╭─[tiny.toml:53:53]
    52 │ below_t_min = "ignored"
    53 │ solver.rk45 = { rtol = 1e-3, atol = 1e-3, control = "i" }
       ·                                                     ─┬─
       ·                                                      ╰── here
    54 │ solver_check = 0
       ╰────
     help: did you mean `pi`?
    "#);
    assert_snapshot!(refused(&changed("denoise = true", "denoise = true\ntrajectory = [0.5, 1e-4]"), &[]), @r"
     × sample.trajectory: there is no state at t = 0.0001
       ╭─[tiny.toml:46:14]
    45 │ denoise = true
    46 │ trajectory = [0.5, 1e-4]
       ·              ─────┬─────
       ·                   ╰── here
    47 │ 
       ╰────
     help: give times from t_min = 0.001 to 1, such as [1.0, 0.5, 0.1]
    ");
    assert_snapshot!(refused(&changed("solver_check = 0", "solver_check = 6"), &[]), @r"
     × likelihood.solver_check: 6 examples are to be checked, but 5 are measured
       ╭─[tiny.toml:54:16]
    53 │ solver.heun.grid.uniform.steps = 4
    54 │ solver_check = 6
       ·                ┬
       ·                ╰── here
    55 │ trace.exact = {}
       ╰────
     help: give at most 5
    ");
    assert_snapshot!(refused(&changed("trace.exact = {}", "trace.hutchinson = { law = 'sphere' }"), &[]), @r#"
     × give either `probes`, or `target_standard_error` (bits/dim) and `max_probes`
       ╭─[tiny.toml:55:1]
    54 │ solver_check = 0
    55 │ trace.hutchinson = { law = 'sphere' }
       · ──┬──
       ·   ╰── here
    56 │ dequantisation = "none"
       ╰────
    "#);
    assert_snapshot!(refused(&changed("trace.exact = {}", "trace.hutch-pp = { law = 'sphere', probes = 4 }"), &[]), @r#"
     × likelihood.trace.hutch-pp.probes: probes is 4
       ╭─[tiny.toml:55:45]
    54 │ solver_check = 0
    55 │ trace.hutch-pp = { law = 'sphere', probes = 4 }
       ·                                             ┬
       ·                                             ╰── here
    56 │ dequantisation = "none"
       ╰────
     help: give a multiple of 3 up to 65536: one third each for the sketch, its exact trace and the
           rest
    "#);
    assert_snapshot!(refused(&changed("trace.exact = {}", "trace.hutchinson = { law = 'gaussian', target_standard_error = 0.01, max_probes = 1 }"), &[]), @r#"
     × likelihood.trace.hutchinson.max_probes: max_probes is 1
       ╭─[tiny.toml:55:83]
    54 │ solver_check = 0
    55 │ trace.hutchinson = { law = 'gaussian', target_standard_error = 0.01, max_probes = 1 }
       ·                                                                                   ┬
       ·                                                                                   ╰── here
    56 │ dequantisation = "none"
       ╰────
     help: give 2 to 65536; the first 2 tell the spread
    "#);
    assert_snapshot!(refused(&changed("below_t_min = \"ignored\"", "below_t_min = 'discrete'"), &[]), @r#"
     × likelihood.below_t_min: the data are vectors, which lie in no bins
       ╭─[tiny.toml:52:15]
    51 │ t_min = 1e-3
    52 │ below_t_min = 'discrete'
       ·               ─────┬────
       ·                    ╰── here
    53 │ solver.heun.grid.uniform.steps = 4
       ╰────
     help: use "ignored", "jensen" or "tweedie"
    "#);
    let bound =
        |below: &str, bound: &str| refused(&changed("below_t_min = \"ignored\"", &format!("below_t_min = '{below}'\nbound.{bound}")), &[]);
    assert_snapshot!(bound("ignored", "vlb = { levels.chain = 100, variance = 'beta', draws = 1 }"), @r#"
     × likelihood.bound.vlb: vlb starts at t = 0, and likelihood.below_t_min is "ignored"
       ╭─[tiny.toml:53:13]
    52 │ below_t_min = 'ignored'
    53 │ bound.vlb = { levels.chain = 100, variance = 'beta', draws = 1 }
       ·             ──────────────────────────┬─────────────────────────
       ·                                       ╰── here
    54 │ solver.heun.grid.uniform.steps = 4
       ╰────
     help: give below_t_min = "tweedie" (or "jensen", "discrete"), or elbo.form = "implicit"
    "#);
    assert_snapshot!(bound("tweedie", "vlb = { levels.chain = 20, variance = 'beta', draws = 1 }"), @r"
     × likelihood.bound.vlb.levels.chain: with 20 levels and beta_max = 20 the last step keeps
     │ nothing of the image
       ╭─[tiny.toml:53:30]
    52 │ below_t_min = 'tweedie'
    53 │ bound.vlb = { levels.chain = 20, variance = 'beta', draws = 1 }
       ·                              ─┬
       ·                               ╰── here
    54 │ solver.heun.grid.uniform.steps = 4
       ╰────
     help: give more than beta_max = 20 levels; the reference uses 1000
    ");
    assert_snapshot!(bound("jensen", "iwae = { levels.grid.log-snr.steps = 0, variance = 'beta-tilde', paths = 2 }"), @r"
     × likelihood.bound.iwae.levels.grid.log-snr.steps: steps is 0
       ╭─[tiny.toml:53:44]
    52 │ below_t_min = 'jensen'
    53 │ bound.iwae = { levels.grid.log-snr.steps = 0, variance = 'beta-tilde', paths = 2 }
       ·                                            ┬
       ·                                            ╰── here
    54 │ solver.heun.grid.uniform.steps = 4
       ╰────
     help: give a whole number from 1 to 1000000; a few hundred are usual
    ");
    assert_snapshot!(bound("ignored", "elbo = { form = 'implicit', draws = 3 }"), @r"
     × likelihood.bound.elbo.draws: draws is 3
       ╭─[tiny.toml:53:43]
    52 │ below_t_min = 'ignored'
    53 │ bound.elbo = { form = 'implicit', draws = 3 }
       ·                                           ┬
       ·                                           ╰── here
    54 │ solver.heun.grid.uniform.steps = 4
       ╰────
     help: give an even number: two in each part of the log-SNR tell the error
    ");
    assert_snapshot!(refused(&format!("{VECTORS}\n[dequantisation.variational]\nsteps = 1\nbatch = 1\nlr = 1e-3\nclip = 1.0\nt_min = 1e-3\nlayers = 1\nchannels = 1"), &[]), @r"
     × dequantisation.variational: the data are vectors, which need no dequantisation
       ╭─[tiny.toml:58:17]
    57 │ 
    58 │ [dequantisation.variational]
       ·                 ─────┬─────
       ·                      ╰── here
    59 │ steps = 1
       ╰────
     help: remove [dequantisation.variational]
    ");
}

#[test]
fn dequantisations_that_do_not_fit() {
    let images = |from: &str, to: &str| {
        assert_eq!(IMAGES.matches(from).count(), 1, "{from}");
        refused(&IMAGES.replace(from, to), &[])
    };
    assert_snapshot!(images("uniform.draws = 1", "variational.draws = 1"), @r#"
     × likelihood.dequantisation: nothing trains the law of this dequantisation
       ╭─[tiny.toml:70:1]
    69 │ trace.hutchinson = { law = "rademacher", probes = 1 }
    70 │ dequantisation.variational.draws = 1
       · ───────┬──────
       ·        ╰── here
       ╰────
     help: give [dequantisation.variational] with its keys, or use uniform = { draws = 1 }
    "#);
    assert_snapshot!(images("below_t_min = \"ignored\"", "below_t_min = \"discrete\""), @r#"
     × likelihood.dequantisation: below_t_min = "discrete" gives the probability of pixels without
     │ any noise
       ╭─[tiny.toml:70:1]
    69 │ trace.hutchinson = { law = "rademacher", probes = 1 }
    70 │ dequantisation.uniform.draws = 1
       · ───────┬──────
       ·        ╰── here
       ╰────
     help: use dequantisation = "none", or below_t_min = "tweedie"
    "#);
    assert_snapshot!(images("dequantisation.uniform.draws = 1", "dequantisation = \"none\""), @r#"
     × likelihood.dequantisation: the data are pixels, which are no points of a density
       ╭─[tiny.toml:70:18]
    69 │ trace.hutchinson = { law = "rademacher", probes = 1 }
    70 │ dequantisation = "none"
       ·                  ───┬──
       ·                     ╰── here
       ╰────
     help: use uniform = { draws = 1 }, or variational = { draws = 1 }; below_t_min = "discrete"
           needs no noise
    "#);
}

#[test]
fn training_that_cannot_work() {
    let with = |settings: &[&str]| refused(VECTORS, settings);
    assert_snapshot!(with(&["train.weighting={edm={sigma_data=0}}"]), @r"
     × train.weighting.edm.sigma_data: sigma_data is 0
      ╭─[--set:1:36]
    1 │ train.weighting = {edm={sigma_data=0}}
      ·                                    ┬
      ·                                    ╰── here
      ╰────
     help: give the standard deviation of the data in model space; EDM uses 0.5 for images in [-1, 1]
    ");
    assert_snapshot!(with(&["train.time={log-normal={mean=20,std=1.2}}"]), @r"
     × train.time.log-normal.mean: mean is 20, but ln(σ/α) goes from -5.75 at t_min to 5.02 at t = 1
      ╭─[--set:1:32]
    1 │ train.time = {log-normal={mean=20,std=1.2}}
      ·                                ─┬
      ·                                 ╰── here
      ╰────
     help: give a number between them; EDM uses -1.2 for data in [-1, 1]
    ");
    assert_snapshot!(with(&["train.objective={implicit={curvature=-1}}"]), @r"
     × train.objective.implicit.curvature: curvature is -1
      ╭─[--set:1:40]
    1 │ train.objective = {implicit={curvature=-1}}
      ·                                        ─┬
      ·                                         ╰── here
      ╰────
     help: give 0 for none, or a positive number, such as 0.01
    ");
    assert_snapshot!(with(&["train.objective={sliced={projections=0,law='rademacher',variance_reduced=true}}"]), @r"
     × train.objective.sliced.projections: projections is 0
      ╭─[--set:1:40]
    1 │ train.objective = {sliced={projections=0,law='rademacher',variance_reduced=true}}
      ·                                        ┬
      ·                                        ╰── here
      ╰────
     help: give a whole number from 1 to 65536; 1 is enough in large batches
    ");
    let discrete = "precondition={discrete={levels=100}}";
    assert_snapshot!(with(&[discrete, "train.weighting=likelihood"]), @r#"
     × train.weighting: this weighting is by how fast noise comes, and levels have no rate
      ╭─[--set:1:19]
    1 │ train.weighting = "likelihood"
      ·                   ──────┬─────
      ·                         ╰── here
      ╰────
     help: use "variance", or continuous time: [precondition.reference]
    "#);
    assert_snapshot!(with(&[discrete, "train.time=weighting"]), @r#"
     × train.time: levels of noise are drawn alike, or by their losses
      ╭─[--set:1:14]
    1 │ train.time = "weighting"
      ·              ─────┬─────
      ·                   ╰── here
      ╰────
     help: use "uniform" or "loss-aware", or continuous time: [precondition.reference]
    "#);
    assert_snapshot!(with(&[discrete, "train.objective={implicit={curvature=0}}"]), @r#"
     × train.objective: levels of noise are trained by denoising or by their bound
      ╭─[--set:1:19]
    1 │ train.objective = {implicit={curvature=0}}
      ·                   ────────────┬───────────
      ·                               ╰── here
      ╰────
     help: use "denoising", vlb or hybrid, or continuous time: [precondition.reference]
    "#);
    let bound = "train.objective={vlb={variance='beta'}}";
    assert_snapshot!(with(&[discrete, bound, "train.weighting={min-snr={gamma=5}}"]), @r#"
     × train.weighting: the bound has weights of its own
      ╭─[--set:1:19]
    1 │ train.weighting = {min-snr={gamma=5}}
      ·                   ─────────┬─────────
      ·                            ╰── here
      ╰────
     help: use "variance", or continuous time: [precondition.reference]
    "#);
    assert_snapshot!(with(&[bound]), @r#"
     × train.objective.vlb: the bound of a chain needs its levels, and this network is in continuous
     │ time
      ╭─[--set:1:24]
    1 │ train.objective = {vlb={variance='beta'}}
      ·                        ────────┬────────
      ·                                ╰── here
      ╰────
     help: use [precondition.discrete], or "denoising" with the weighting "likelihood", the bound in
           continuous time
    "#);
    assert_snapshot!(with(&["precondition={discrete={levels=100,output='velocity'}}"]), @r#"
     × precondition.discrete.output: a chain has no velocity: its levels are no function of time
      ╭─[--set:1:45]
    1 │ precondition = {discrete={levels=100,output='velocity'}}
      ·                                             ─────┬────
      ·                                                  ╰── here
      ╰────
     help: use "v", or another of its outputs
    "#);
    assert_snapshot!(with(&[discrete, "train.objective={vlb={variance='analytic'}}"]), @r#"
     × train.objective.vlb.variance: the analytic variance is measured after training
      ╭─[--set:1:34]
    1 │ train.objective = {vlb={variance='analytic'}}
      ·                                  ─────┬────
      ·                                       ╰── here
      ╰────
     help: use "beta-tilde" or "beta", or "learned" with a network that says it
    "#);
    let analytic = "sample.solver={discrete-chain={levels=100,steps=10,spacing='linear',variance='analytic'}}";
    assert_snapshot!(with(&[discrete, analytic]), @r#"
     × sample.solver: nothing measures what its analytic variance is made of
      ╭─[--set:1:17]
    1 │ sample.solver = {discrete-chain={levels=100,steps=10,spacing='linear',variance='analytic'}}
      ·                 ─────────────────────────────────────┬─────────────────────────────────────
      ·                                                      ╰── here
      ╰────
     help: give [analytic_variance] with levels, examples and batch, or use the variance "beta-tilde"
    "#);
    let measured = "analytic_variance={levels=100,examples=10,batch=5}";
    assert_snapshot!(with(&[discrete, analytic, measured, "sample.dynamics='probability-flow'"]), @r#"
     × sample.solver.discrete-chain.variance: the analytic variance is of the reverse SDE, and eta is
     │ 0
      ╭─[--set:1:80]
    1 │ sample.solver = {discrete-chain={levels=100,steps=10,spacing='linear',variance='analytic'}}
      ·                                                                                ─────┬────
      ·                                                                                     ╰── here
      ╰────
     help: use dynamics = "reverse-sde", or the variance "beta-tilde"
    "#);
    assert_snapshot!(with(&["precondition={discrete={levels=50}}", measured]), @r"
     × analytic_variance.levels: 100 levels, but the network knows 50
      ╭─[--set:1:29]
    1 │ analytic_variance = {levels=100,examples=10,batch=5}
      ·                             ─┬─
      ·                              ╰── here
      ╰────
     help: give 50, as in [precondition.discrete]
    ");
    let learned = "precondition={discrete={levels=100,variance='learned'}}";
    let hybrid = "train.objective={hybrid={vlb=0.001}}";
    assert_snapshot!(with(&[learned]), @r#"
     × train.objective: this does not train the variance that the network says
       ╭─[tiny.toml:30:13]
    29 │ ema = 0.9
    30 │ objective = "denoising"
       ·             ─────┬─────
       ·                  ╰── here
    31 │ weighting = "variance"
       ╰────
     help: use hybrid = { vlb = 0.001 } or vlb = { variance = "learned" }, or leave out
           precondition.discrete.variance
    "#);
    assert_snapshot!(with(&[discrete, hybrid]), @r#"
     × train.objective: this trains a variance, and the network says none
      ╭─[--set:1:19]
    1 │ train.objective = {hybrid={vlb=0.001}}
      ·                   ──────────┬─────────
      ·                             ╰── here
      ╰────
     help: give [precondition.discrete] variance = "learned"
    "#);
    assert_snapshot!(with(&[hybrid]), @r#"
     × train.objective.hybrid: the bound of a chain needs its levels, and this network is in
     │ continuous time
      ╭─[--set:1:27]
    1 │ train.objective = {hybrid={vlb=0.001}}
      ·                           ─────┬─────
      ·                                ╰── here
      ╰────
     help: use [precondition.discrete], or "denoising" with the weighting "likelihood", the bound in
           continuous time
    "#);
    assert_snapshot!(with(&[learned, "train.objective={hybrid={vlb=0}}"]), @r"
     × train.objective.hybrid.vlb: vlb is 0
      ╭─[--set:1:32]
    1 │ train.objective = {hybrid={vlb=0}}
      ·                                ┬
      ·                                ╰── here
      ╰────
     help: give a number above 0, such as 0.0007, the paper's
    ");
    assert_snapshot!(with(&[learned, hybrid, "train.weighting={min-snr={gamma=5}}"]), @r#"
     × train.weighting: the bound has weights of its own
      ╭─[--set:1:19]
    1 │ train.weighting = {min-snr={gamma=5}}
      ·                   ─────────┬─────────
      ·                            ╰── here
      ╰────
     help: use "variance", or continuous time: [precondition.reference]
    "#);
    assert_snapshot!(with(&[learned, hybrid, "network={tied-autoencoder={hidden=8}}"]), @r"
     × network.tied-autoencoder: its outputs are its inputs, and it has none left to say variances by
      ╭─[--set:1:29]
    1 │ network = {tied-autoencoder={hidden=8}}
      ·                             ─────┬────
      ·                                  ╰── here
      ╰────
     help: use [network.mlp], or leave out precondition.discrete.variance
    ");
    let asked = "sample.solver={discrete-chain={levels=100,steps=10,spacing='linear',variance='learned'}}";
    assert_snapshot!(with(&[discrete, asked]), @r#"
     × sample.solver: the network says no variance that could be the learned one
      ╭─[--set:1:17]
    1 │ sample.solver = {discrete-chain={levels=100,steps=10,spacing='linear',variance='learned'}}
      ·                 ─────────────────────────────────────┬────────────────────────────────────
      ·                                                      ╰── here
      ╰────
     help: give [precondition.discrete] variance = "learned" and an objective that trains it, or use
           "beta-tilde"
    "#);
    assert_snapshot!(with(&[asked]), @r#"
     × sample.solver: the network says no variance that could be the learned one
      ╭─[--set:1:17]
    1 │ sample.solver = {discrete-chain={levels=100,steps=10,spacing='linear',variance='learned'}}
      ·                 ─────────────────────────────────────┬────────────────────────────────────
      ·                                                      ╰── here
      ╰────
     help: give [precondition.discrete] variance = "learned" and an objective that trains it, or use
           "beta-tilde"
    "#);
    assert_snapshot!(with(&[learned, hybrid, asked, "sample.dynamics={family={eta=0.5}}"]), @r#"
     × sample.solver.discrete-chain.variance: the learned variance is of the reverse SDE, and eta is
     │ 0.5
      ╭─[--set:1:80]
    1 │ sample.solver = {discrete-chain={levels=100,steps=10,spacing='linear',variance='learned'}}
      ·                                                                                ────┬────
      ·                                                                                    ╰── here
      ╰────
     help: use dynamics = "reverse-sde", or the variance "beta-tilde"
    "#);
    assert_snapshot!(with(&["precondition={reference={variance='learned'}}"]), @r"
     × unexpected keys in table: variance, available keys:
      ╭─[--set:1:28]
    1 │ precondition = {reference={variance='learned'}}
      ·                            ────┬───
      ·                                ╰── here
      ╰────
    ");
    assert_snapshot!(with(&["train.time=loss-aware"]), @r#"
     × train.time: only levels are drawn by their losses, and this network is in continuous time
      ╭─[--set:1:14]
    1 │ train.time = "loss-aware"
      ·              ──────┬─────
      ·                    ╰── here
      ╰────
     help: use "weighting" or another law of times, or [precondition.discrete]
    "#);
    assert_snapshot!(with(&[discrete, "train.time=loss-aware", "train.importance=false"]), @r"
     × train.importance: levels that are drawn by their losses would change what is learnt
      ╭─[--set:1:20]
    1 │ train.importance = false
      ·                    ──┬──
      ·                      ╰── here
      ╰────
     help: give true, which divides each loss by N p
    ");
    assert_snapshot!(with(&["train.objective=explicit"]), @r#"
     × train.objective: explicit score matching needs the score of the data, whose law is not known
      ╭─[--set:1:19]
    1 │ train.objective = "explicit"
      ·                   ─────┬────
      ·                        ╰── here
      ╰────
     help: use [data.gaussian-mixture], or "denoising", whose mean differs by a constant
    "#);
    let at_one_level = with(&["train.time={level={t=0.3}}"]);
    for mistake in ["train.importance: no mean over one time", "sample: the score is trained at t = 0.3 alone", "has 3 mistakes"] {
        assert!(at_one_level.contains(mistake), "{at_one_level}");
    }
    assert_snapshot!(with(&["train.time={level={t=1e-6}}", "train.importance=false"]), @r"
     × train.time.level.t: t is 0.000001
      ╭─[--set:1:24]
    1 │ train.time = {level={t=1e-6}}
      ·                        ──┬─
      ·                          ╰── here
      ╰────
     help: give a time from t_min = 0.0001 to 1
    ");
    assert_snapshot!(with(&["network={tied-autoencoder={hidden=0}}"]), @r"
     × network.tied-autoencoder.hidden: hidden is 0
      ╭─[--set:1:37]
    1 │ network = {tied-autoencoder={hidden=0}}
      ·                                     ┬
      ·                                     ╰── here
      ╰────
     help: give a whole number from 1 to 1000000; a few times the dimension of the data
    ");
    assert_snapshot!(with(&["precondition={plain={label='time',output='mean'}}"]), @r#"
     × precondition.plain.output: there is no step down, whose mean it would be, in continuous time
      ╭─[--set:1:44]
    1 │ precondition = {plain={label='time',output='mean'}}
      ·                                            ───┬──
      ·                                               ╰── here
      ╰────
     help: use "data", or [precondition.discrete]
    "#);
    let home = Home::with(IMAGES);
    ["train-images", "test-images"].iter().for_each(|name| home.write(name, idx(4, 16)));
    let paths = ["train", "test"].map(|split| format!("data.idx.{split}={}", home.path(&format!("{split}-images")).display()));
    let objective = "train.objective={implicit={curvature=0}}";
    assert_snapshot!(refused(IMAGES, &[&paths[0], &paths[1], "network.ncsnpp.attention=[8]", objective]), @r#"
     × train.objective.implicit: the exact divergence takes 256 backward passes a step, one for each
     │ number of an example; at most 64 are allowed
      ╭─[--set:1:29]
    1 │ train.objective = {implicit={curvature=0}}
      ·                             ──────┬──────
      ·                                   ╰── here
      ╰────
     help: use "denoising", or sliced, which takes one for each projection
    "#);
}

#[test]
fn experiments_that_do_not_fit_their_data() {
    assert_snapshot!(refused(&changed("count = 5", "count = 21"), &[]), @r#"
     × likelihood.count: 21 examples are asked for, but the split has 20
       ╭─[tiny.toml:49:9]
    48 │ split = "test"
    49 │ count = 21
       ·         ─┬
       ·          ╰── here
    50 │ batch = 3
       ╰────
     help: give at most 20
    "#);
    let section = |text: &'static str, from: &str, to: &str| &text[text.find(from).unwrap()..text.find(to).unwrap()];
    let mlp = section(VECTORS, "[network", "[precondition");
    let unet = section(IMAGES, "[network", "[precondition");
    assert_snapshot!(refused(&changed(mlp, unet), &[]), @"
      × network.ncsnpp: ncsnpp is a network for images [channels, height, width], but the data are of
      │ shape [2]
        ╭─[tiny.toml:12:10]
     11 │ 
     12 │ [network.ncsnpp]
        ·          ───┬──
        ·             ╰── here
     13 │ channels = 8
        ╰────
      help: use a network for vectors: [network.mlp]
    ");
    let home = Home::with_images(IMAGES);
    let paths = ["train", "test"].map(|split| format!("data.idx.{split}={}", home.path(&format!("{split}-images")).display()));
    assert_snapshot!(refused(&IMAGES.replace(unet, mlp), &paths.each_ref().map(String::as_str)), @r"
     × network.mlp: mlp is a network for vectors, but the data are of shape [1, 8, 8]
       ╭─[tiny.toml:15:10]
    14 │ 
    15 │ [network.mlp]
       ·          ─┬─
       ·           ╰── here
    16 │ width = 16
       ╰────
     help: use a network for images: [network.ncsnpp], [network.ddpm], [network.adm] or [network.dit]
    ");
}

#[test]
fn overrides_are_checked_like_the_file() {
    assert_snapshot!(refused(VECTORS, &["train.stepz=10"]), @r"
     × unknown field `stepz`, expected one of `steps`, `batch`, `micro_batch`, `lr`, `warmup`,
     │ `schedule`, `clip`, `betas`, `eps`, `weight_decay`, `ema`, `objective`, `weighting`,
     │ `reduction`, `time`, `importance`, `stratified`, `t_min`, `checkpoint_every`, `keep`,
     │ `keep_every`, `keep_best`, `on_divergence`, `log_every`, `sample_every`, `validation`
      ╭─[--set:1:7]
    1 │ train.stepz = 10
      ·       ──┬──
      ·         ╰── here
      ╰────
     help: did you mean `steps`?
    ");
    assert_snapshot!(refused(VECTORS, &["train.steps=ten"]), @r#"
     × invalid type: string "ten", expected a whole number of at least 0
      ╭─[--set:1:15]
    1 │ train.steps = "ten"
      ·               ──┬──
      ·                 ╰── here
      ╰────
    "#);
    assert_snapshot!(refused(VECTORS, &["sde={ve={sigma_min=0.01,sigma_max=50.0},vp={beta_min=0.1,beta_max=2.0}}"]), @r"
     × this table takes exactly one choice, but has more
      ╭─[--set:1:7]
    1 │ sde = {ve={sigma_min=0.01,sigma_max=50.0},vp={beta_min=0.1,beta_max=2.0}}
      ·       ─────────────────────────────────┬─────────────────────────────────
      ·                                        ╰── here
      ╰────
     help: keep one of them
    ");
    assert_snapshot!(refused(VECTORS, &["sde.ve.sigma_max=50.0"]), @r"
     × missing field `sigma_min`
      ╭─[--set:1:5]
    1 │ sde.ve.sigma_max = 50.0
      ·     ─┬
      ·      ╰── here
      ╰────
     help: every number that changes a result is given in the file; the files in experiments/ show
           all keys
    ");
    assert_snapshot!(refused(VECTORS, &["seed.of=10"]), @r"
     × invalid type: map, expected a whole number of at least 0
      ╭─[--set:1:1]
    1 │ seed.of = 10
      · ──┬─
      ·   ╰── here
      ╰────
    ");
    assert_snapshot!(refused(VECTORS, &["train.steps"]), @"
      × --set train.steps has no =
      help: write --set KEY=VALUE, such as --set train.steps=1000
    ");
    assert_snapshot!(refused(VECTORS, &["=10"]), @"
      × --set =10 names no key
      help: write --set KEY=VALUE, such as --set train.steps=1000
    ");
}

#[test]
fn overrides_reach_every_kind_of_table() {
    let with = |overrides: &[&str]| {
        let overrides: Vec<Override> = overrides.iter().map(|setting| (*setting).into()).collect();
        let loaded = parse("tiny.toml", VECTORS, &overrides).unwrap_or_else(|e| panic!("{}", report(e)));
        toml::Value::try_from(loaded.experiment).unwrap()
    };
    assert_eq!(with(&["train.steps=5", "train.steps = 6 "])["train"]["steps"], 6.into());
    assert_eq!(with(&["sample.solver.euler.grid.uniform.steps=9"])["sample"]["solver"]["euler"]["grid"]["uniform"]["steps"], 9.into());
    let heun = with(&["sample.solver={heun={grid={karras={steps=3,rho=5}}}}", "sample.solver.heun.grid.karras.rho=6"]);
    assert_eq!(heun["sample"]["solver"]["heun"]["grid"]["karras"]["rho"], 6.0.into());
    let word = with(&["sample.dynamics=probability-flow"]);
    assert_eq!((&word["sample"]["dynamics"], &word["sde"]), (&"probability-flow".into(), &with(&[])["sde"]));
    assert_eq!(with(&["sde={ve={sigma_min=0.01,sigma_max=5}}"])["sde"]["ve"]["sigma_max"], 5.0.into());
}

/// Choices that older files spell in snake_case: the tables of today's spelling, and the older word.
fn older_spellings() -> [(&'static str, &'static str, String); 6] {
    let data = "[data.checkerboard]\ntrain = 100\ntest = 20\nscale = 2.0";
    let network = &VECTORS[VECTORS.find("[network.mlp]").unwrap()..VECTORS.find("[sample]").unwrap()];
    let mixture = "weights = [1.0]\nmeans = [[0.0, 0.0]]\ncovariances = [[[1.0, 0.0], [0.0, 1.0]]]";
    let of_points = |name: &str, rest: &str| changed(data, &format!("[data.{name}]\ntrain = 100\ntest = 20\nscale = 2.0\n{rest}"));
    let of_files = |name: &str, rest: &str| changed(data, &format!("[data.{name}]\ntrain = 'a.npy'\ntest = 'b.npy'\n{rest}"));
    [
        ("two-moons", "two_moons", of_points("two-moons", "noise = 0.1")),
        ("swiss-roll", "swiss_roll", of_points("swiss-roll", "noise = 0.1")),
        ("gaussian-mixture", "gaussian_mixture", of_points("gaussian-mixture", &format!("[data.gaussian-mixture.mixture]\n{mixture}"))),
        ("npy-vectors", "npy_vectors", of_files("npy-vectors", "scale = 2.0")),
        ("npy-images", "npy_images", of_files("npy-images", "layout = 'nhwc'\nrange = [-1, 1]\nflip = true\ndequantise = true")),
        ("gaussian-mixture", "gaussian_mixture", changed(network, &format!("[score.gaussian-mixture]\n{mixture}\n\n"))),
    ]
}

#[test]
fn an_older_spelling_is_the_same_experiment() {
    for (newer, older, text) in older_spellings() {
        let read = |text: &str| toml::from_str::<Experiment>(text).unwrap_or_else(|e| panic!("{e}"));
        let old = text.replace(newer, older);
        assert!(text.contains(newer) && !old.contains(newer));
        assert_eq!(read(&old), read(&text), "{older}");
        assert!(read(&old).resolved().contains(newer) && !read(&old).resolved().contains(older), "{older}");
    }
}

#[test]
fn faults_and_overrides_find_an_older_spelling() {
    let [(newer, older, text), .., (newer_score, older_score, score)] = older_spellings();
    let old = text.replace(newer, older);
    for (text, other) in [(&old, newer), (&text, older)] {
        let given = parse("tiny.toml", text, &[format!("data.{other}.noise=0.2").into()]).unwrap_or_else(|e| panic!("{}", report(e)));
        assert_eq!(given.experiment.data, toml::from_str::<Experiment>(&text.replace("0.1", "0.2")).unwrap().data);
        let table = format!("data.{other}={{train=5, test=6, scale=1.0, noise=0.2}}");
        assert_eq!(parse("tiny.toml", text, &[table.into()]).unwrap_or_else(|e| panic!("{}", report(e))).shape, [2]);
    }
    assert_snapshot!(refused(&old, &["data.two-moons.noise=-1"]), @r"
     × data.two-moons.noise: noise is -1
      ╭─[--set:1:24]
    1 │ data.two-moons.noise = -1
      ·                        ─┬
      ·                         ╰── here
      ╰────
     help: give the standard deviation around the curve, at least 0
    ");
    assert_snapshot!(refused(&score.replace(newer_score, older_score).replace("[1.0]", "[-1.0]"), &[]), @"
     × score.gaussian-mixture.weights: a weight is -1
       ╭─[tiny.toml:13:11]
    12 │ [score.gaussian_mixture]
    13 │ weights = [-1.0]
       ·           ───┬──
       ·              ╰── here
    14 │ means = [[0.0, 0.0]]
       ╰────
     help: give one number above 0 for each component
    ");
    assert_snapshot!(refused(&text.replace(newer, "two_mons"), &[]), @"
     × unknown variant `two_mons`, expected one of `checkerboard`, `two-moons`, `swiss-roll`,
     │ `spirals`, `rings`, `gaussian-mixture`, `npy-vectors`, `npy-images`, `images`, `idx`,
     │ `cifar10`, `imagenet`, `csv`
      ╭─[tiny.toml:7:7]
    6 │ 
    7 │ [data.two_mons]
      ·       ────┬───
      ·           ╰── here
    8 │ train = 100
      ╰────
     help: did you mean `two-moons`?
    ");
    assert_snapshot!(refused(&score.replace(newer_score, "mixture"), &[]), @"
     × unknown variant `mixture`, expected `gaussian-mixture`
       ╭─[tiny.toml:12:8]
    11 │ 
    12 │ [score.mixture]
       ·        ───┬───
       ·           ╰── here
    13 │ weights = [1.0]
       ╰────
    ");
}

#[test]
fn a_batch_size_counts_where_a_solver_couples_the_batch() {
    let with = |control: &str| {
        let solver = format!("solver.rk45 = {{ rtol = 1e-3, atol = 1e-3{control} }}");
        parse("tiny.toml", &changed("solver.heun.grid.uniform.steps = 4", &solver), &[]).unwrap().experiment
    };
    let resized = |experiment: &Experiment| {
        let mut other = experiment.clone();
        other.likelihood.as_mut().unwrap().batch = 7;
        other.sample.as_mut().unwrap().batch = 7;
        experiment.differences(&other)
    };
    assert!(with("").resolved().contains(r#"control = "per-example""#));
    assert_eq!(with("").differences(&with(r#", control = "per-example""#)), []);
    assert_eq!(resized(&with("")), []);
    assert_eq!(resized(&with(r#", control = "pi""#)), []);
    assert_eq!(resized(&with(r#", control = "batch-coupled""#)), [("likelihood.batch".to_owned(), "3".to_owned(), "7".to_owned())]);

    let corrected = |norms: &str| {
        let corrector = format!("{{ langevin = {{ steps = 1, snr = 0.16, norms = \"{norms}\", alpha = \"one\" }} }}");
        let solver = format!("solver.predictor-corrector = {{ steps = 4, predictor = \"euler-maruyama\", corrector = {corrector} }}");
        parse("tiny.toml", &changed("solver.euler.grid.uniform.steps = 4", &solver), &[]).unwrap().experiment
    };
    assert_eq!(resized(&corrected("per-example")), []);
    assert_eq!(resized(&corrected("batch"))[0].0, "sample.batch");
}

#[test]
fn per_example_norms_in_few_dimensions_are_warned_of_and_run() {
    let warning = |norms: &str| {
        let corrector = format!("{{ langevin = {{ steps = 1, snr = 0.16, norms = \"{norms}\", alpha = \"one\" }} }}");
        let solver = format!("solver.predictor-corrector = {{ steps = 4, predictor = \"euler-maruyama\", corrector = {corrector} }}");
        Home::with(&changed("solver.euler.grid.uniform.steps = 4", &solver)).succeed(&["check", "tiny.toml"]).1
    };
    let warned = warning("per-example");
    let key = "tiny.toml: sample.solver.predictor-corrector.corrector.langevin.norms: per-example norms";
    assert!(warned.contains("warning: ") && warned.contains(key) && warned.contains("use norms = \"batch\""), "{warned}");
    assert!(!warning("batch").contains("warning: "));
}

#[test]
fn what_is_probably_not_meant_is_warned_of() {
    let warned = |experiment: &str| Home::with_images(experiment).succeed(&["check", "tiny.toml"]).1;
    for experiment in [VECTORS, IMAGES] {
        assert_eq!(warned(experiment), "");
    }
    let labelled = IMAGES.replace("pad = 0", "pad = 0\nlabels = { train = \"labels\", test = \"labels\" }");
    let ve = |text: &str, sigma_max: &str| {
        text.replace("[sde.vp]\nbeta_min = 0.1\nbeta_max = 20.0", &format!("[sde.ve]\nsigma_min = 0.01\nsigma_max = {sigma_max}"))
    };
    for (experiment, doubt) in [
        (changed("warmup = 5", "warmup = 50"), "train.warmup: the learning rate is still rising when training ends"),
        (changed("count = 4", "count = 4\npath.vp = { beta_min = 0.1, beta_max = 20.0 }"), ""),
        (VECTORS.replace("t_min = 1e-3\ndenoise", "t_min = 0.9\ndenoise"), "sample.t_min: at t = 0.9 there is more noise than signal"),
        (labelled, "data.idx.labels: there are labels, and nothing is told of them"),
        (ve(IMAGES, "1.5"), "sde.ve.sigma_max: sigma_max is 1.5, and examples are about 2"),
        (ve(IMAGES, "9.0"), ""),
        (ve(VECTORS, "9.0"), "network.mlp.embedding: under VE the network is told ln sigma"),
    ] {
        let warned = warned(&experiment);
        assert!(warned.contains(doubt) && warned.is_empty() == doubt.is_empty(), "{doubt}: {warned}");
    }
}

#[test]
fn thresholding_is_for_images_in_continuous_time() {
    let key = |text: &str, overrides: &[&str]| refused(text, overrides).lines().next().unwrap_or_default().to_owned();
    let quantile = "sample.thresholding.quantile=0.9";
    assert!(key(VECTORS, &[quantile]).contains("sample.thresholding: vectors have no range to be kept within"));
    let home = Home::with_images(IMAGES);
    let paths = ["train", "test"].map(|split| format!("data.idx.{split}={}", home.path(&format!("{split}-images")).display()));
    let discrete = "precondition={discrete={levels=100}}";
    let message = key(IMAGES, &[&paths[0], &paths[1], quantile, discrete]);
    assert!(message.contains("sample.thresholding: a network in discrete time"), "{message}");
    let message = key(IMAGES, &[&paths[0], &paths[1], "sample.thresholding.quantile=0"]);
    assert!(message.contains("sample.thresholding.quantile: quantile is 0"), "{message}");
    assert!(parse("tiny.toml", IMAGES, &[&paths[0], &paths[1], quantile].map(|word| word.into())).is_ok());
    let times = format!("sample.trajectory=[{}]", vec!["0.5"; 101].join(","));
    assert!(key(VECTORS, &[&times]).contains("sample.trajectory: 101 times"));
}

#[test]
fn samplers_that_a_process_cannot_have() {
    let solver = |solver: &str| changed("solver.euler.grid.uniform.steps = 4", &format!("solver.{solver}"));
    let ancestral = r#"predictor-corrector = { steps = 4, predictor = { ancestral = { variance = "beta" } }, corrector = "none" }"#;
    assert_snapshot!(refused(&solver(ancestral), &[]), @r#"
     × sample.solver.predictor-corrector.predictor: ancestral sampling goes down a chain with as many
     │ levels as steps: with 4 levels and beta_max = 20 the last step keeps nothing of the image
       ╭─[tiny.toml:43:55]
    42 │ dynamics = "reverse-sde"
    43 │ solver.predictor-corrector = { steps = 4, predictor = { ancestral = { variance = "beta" } }, corrector = "none" }
       ·                                                       ──────────────────┬──────────────────
       ·                                                                         ╰── here
    44 │ t_min = 1e-3
       ╰────
     help: give more than beta_max = 20 levels; the reference uses 1000; or another predictor
    "#);
    let chain = r#"discrete-chain = { levels = 100, steps = 10, spacing = "quadratic", variance = "beta-tilde" }"#;
    assert_snapshot!(refused(&solver(chain), &["precondition={discrete={levels=1000}}"]), @r#"
     × sample.solver.discrete-chain.levels: the chain has 100 levels, but the network knows 1000
       ╭─[tiny.toml:43:36]
    42 │ dynamics = "reverse-sde"
    43 │ solver.discrete-chain = { levels = 100, steps = 10, spacing = "quadratic", variance = "beta-tilde" }
       ·                                    ─┬─
       ·                                     ╰── here
    44 │ t_min = 1e-3
       ╰────
     help: give 1000, as in [precondition.discrete]
    "#);
    assert!(parse("tiny.toml", &solver(chain), &[]).is_ok());
}

#[test]
fn a_missing_experiment_file() {
    let Err(error) = load(Path::new("nowhere.toml"), &[]) else { panic!("there is no such file") };
    assert_snapshot!(report(error), @"
      × there is no experiment file nowhere.toml
      help: name a TOML file, such as experiments/quickstart.toml
    ");
    let home = Home::with(VECTORS);
    assert_snapshot!(home.fail(&["run", "."]), @".: is not a run: it holds no experiment.toml help: a run is the folder that `score-sde run FILE` makes, runs/<name of FILE>; no run was found here");
}

/// Keys, values and scraps of the language.
const WORDS: [&str; 40] = [
    "seed",
    "sde",
    "vp",
    "ve",
    "beta_min",
    "data",
    "checkerboard",
    "scale",
    "network",
    "mlp",
    "input",
    "plain",
    "fourier",
    "train",
    "lr",
    "betas",
    "sample",
    "solver",
    "euler",
    "grid",
    "uniform",
    "steps",
    "likelihood",
    "trace",
    "exact",
    "0",
    "-1",
    "1e400",
    "nan",
    "inf",
    "true",
    "\"none\"",
    "{}",
    "[]",
    "{a=1}",
    "[[",
    "]",
    "\"",
    " ",
    "\u{1f980}",
];

fn word() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&WORDS[..])
}

fn setting() -> impl Strategy<Value = Override> {
    let key = || prop::collection::vec(word(), 0..6).prop_map(|words| words.join("."));
    let value =
        prop_oneof![word().prop_map(str::to_owned), prop::collection::vec(word(), 0..8).prop_map(|words| words.concat()), "\\PC{0,12}"];
    prop_oneof![
        (key(), value).prop_map(|(key, value)| format!("{key}={value}").into()),
        "\\PC{0,20}".prop_map(Override::Set),
        key().prop_map(Override::Unset),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(text in prop_oneof!["\\PC{0,80}", "[a-z.=\\[\\]{}\"'0-9 \n]{0,80}"]) {
        if let Err(error) = parse("any.toml", &text, &[]) {
            report(error);
        }
    }

    #[test]
    fn no_change_of_a_line_makes_it_panic(at in 0..60usize, word in word(), cut in 0..20usize, twice: bool) {
        let mut lines: Vec<String> = VECTORS.lines().map(str::to_owned).collect();
        let at = at % lines.len();
        let kept: String = lines[at].chars().take(cut).collect();
        if twice {
            lines.push(lines[at].clone());
        }
        lines[at] = kept + word;
        if let Err(error) = parse("any.toml", &lines.join("\n"), &[]) {
            report(error);
        }
    }

    #[test]
    fn no_override_makes_it_panic(settings in prop::collection::vec(setting(), 1..4)) {
        if let Err(error) = parse("any.toml", VECTORS, &settings) {
            report(error);
        }
    }
}
