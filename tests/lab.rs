//! `score-sde lab`: what it measures, writes and recommends.

mod common;

use std::collections::BTreeMap;

use common::home::{Home, VECTORS};

/// A mixture whose score is known.
const MIXTURE: &str = r#"seed = 1

[sde.ve]
sigma_min = 0.01
sigma_max = 50.0

[data.gaussian-mixture]
train = 100
test = 10
scale = 1.0

[data.gaussian-mixture.mixture]
weights = [1.0, 1.0]
means = [[-1.0, 0.5], [1.0, -0.5]]
covariances = [[[0.3, 0.2], [0.2, 0.3]], [[0.2, -0.1], [-0.1, 0.4]]]

[score.gaussian-mixture]
weights = [1.0, 1.0]
means = [[-1.0, 0.5], [1.0, -0.5]]
covariances = [[[0.3, 0.2], [0.2, 0.3]], [[0.2, -0.1], [-0.1, 0.4]]]
"#;

/// Lines of lab.csv by column.
fn table(home: &Home, name: &str) -> Vec<BTreeMap<String, String>> {
    let bytes = home.read(name);
    csv::Reader::from_reader(&bytes[..]).deserialize().map(|line| line.unwrap()).collect()
}

fn number(line: &BTreeMap<String, String>, column: &str) -> f64 {
    line[column].parse().unwrap()
}

#[test]
fn a_mixture_ranks_solvers_by_their_order() {
    let home = Home::with(MIXTURE);
    let solvers = "euler,dpm-solver-pp-1,dpm-solver-pp-3,edm,adaptive-sde,reverse-diffusion-langevin-sde,rk45";
    let arguments = ["lab", "tiny.toml", "--solvers", solvers, "--nfe", "2,40", "--grids", "log-snr,karras", "--churn", "0,20"];
    let more = ["--count", "1000", "--tolerances", "1e-3", "--noisy-tolerances", "0.2"];
    let (advice, _) = home.succeed(&[&arguments[..], &more].concat());

    let lines = table(&home, "lab/tiny/lab.csv");
    let find = |solver: &str, steps: &str, most: f64| {
        let found = lines.iter().find(|line| line["solver"] == solver && line["steps"] == steps && number(line, "evaluations") == most);
        found.unwrap_or_else(|| panic!("{solver}, {steps}, {most}"))
    };
    // Order 3 can't do two steps, and everything else is there.
    assert_eq!(lines.iter().filter(|line| line["solver"] == "dpm-solver-pp-3").count(), 2);
    assert_eq!(lines.len(), 4 + 4 + 2 + 8 + 1 + 1 + 1, "{lines:?}");
    let error = |solver: &str, steps: &str, most: f64| number(find(solver, steps, most), "error");
    assert!(error("dpm-solver-pp-3", "log-snr", 40.0) < 0.2 * error("dpm-solver-pp-1", "log-snr", 40.0));
    assert!(error("dpm-solver-pp-1", "log-snr", 40.0) < 0.2 * error("dpm-solver-pp-1", "log-snr", 2.0));
    assert!(error("edm", "karras, s_churn 0", 40.0) < 0.05);
    // Paths with noise of their own end elsewhere than the probability flow's, but by the same law.
    for line in [find("edm", "karras, s_churn 20", 40.0), find("reverse-diffusion-langevin-sde", "of its own", 40.0)] {
        assert_eq!(line["error"], "");
        assert!(number(line, "from_data") < 0.1 && number(line, "energy") < 0.1, "{line:?}");
    }
    let paired = find("dpm-solver-pp-3", "log-snr", 40.0);
    assert!(paired["energy"].is_empty() && number(paired, "error_half_width") < 0.5 * number(paired, "error"), "{paired:?}");
    let (good, bad) = (find("dpm-solver-pp-3", "log-snr", 40.0), find("dpm-solver-pp-1", "log-snr", 2.0));
    assert!(number(good, "from_data").abs() < 0.02 && number(bad, "from_data") > 0.1);
    assert!(number(good, "marginal") < 1.95 / 1000f64.sqrt() && number(bad, "marginal") > 0.1);
    assert!(number(find("dpm-solver-pp-3", "karras", 40.0), "seconds") > 0.0);

    assert!(advice.contains("up to 2 evaluations") && advice.contains("up to 40 evaluations"), "{advice}");
    let settings = "dynamics = \"probability-flow\"\n    solver = { dpm-solver-pp = { grid = { log-snr = { steps = 40 } }, order = 3 } }";
    assert!(advice.contains(settings), "{advice}");
    let markdown = String::from_utf8(home.read("lab/tiny/lab.md")).unwrap();
    assert_eq!(markdown.lines().count(), lines.len() + 2);
    assert!(image::load_from_memory(&home.read("lab/tiny/lab.png")).unwrap().width() > 1000);
    // Two evaluations are too few for any advice, with noise and without.
    let [two, forty] =
        ["up to 2 ", "up to 40 "].map(|budget| advice.split(budget).nth(1).unwrap().split("up to").next().unwrap().to_owned());
    assert_eq!((two.matches("not advised: ").count(), forty.matches("not advised: ").count()), (2, 0), "{advice}");
    // What is to be copied is in one piece.
    assert!(advice.lines().all(|line| line.starts_with("    solver = ") || line.chars().count() <= 110), "{advice}");
    // Pairs tell more than laws: none of the others without noise is as close, of those with noise some may be.
    let without = forty.split("  with noise").next().unwrap();
    assert!(without.contains("no other is as close") && without.contains("dpm-solver-pp-3 (log-snr), 40 evaluations"), "{advice}");

    // The same as JSON, from what was measured; each advised setting's samples are in the picture.
    let (json, _) = home.succeed(&[&arguments[..], &more, &["--json"]].concat());
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["settings"].as_array().unwrap().len(), lines.len());
    let [few, many] = [0, 1].map(|i| &report["advice"][i]);
    assert_eq!(
        (&few["evaluations"], &few["without_noise"]["advised"], &few["with_noise"]["advised"]),
        (&2.into(), &false.into(), &false.into())
    );
    assert_eq!((&many["without_noise"]["setting"]["solver"], &many["without_noise"]["advised"]), (&"dpm-solver-pp-3".into(), &true.into()));
    let picture = image::load_from_memory(&home.read("lab/tiny/lab.png")).unwrap();
    assert!(picture.height() > 600 + 2 * 480 / 2 && picture.width() > 3 * 500, "{} x {}", picture.width(), picture.height());
    assert!(String::from_utf8(home.read("lab/tiny/lab.svg")).unwrap().contains("dpm-solver-pp-3"));

    // What it recommends is an experiment.
    let solver = "sample={count=4,batch=4,t_min=1e-3,denoise=true,dynamics='probability-flow',solver={dpm-solver-pp={grid={log-snr={steps=40}},order=3}}}";
    home.succeed(&["check", "tiny.toml", "--set", solver]);
}

#[test]
fn a_run_is_compared_with_its_data() {
    let home = Home::with(VECTORS);
    let refused = home.fail(&["lab", "tiny.toml"]);
    assert!(refused.contains("not trained yet"), "{refused}");
    home.succeed(&["run", "tiny.toml"]);
    home.succeed(&["lab", "runs/tiny", "--solvers", "heun,euler-sde", "--nfe", "8", "--count", "40"]);
    let lines = table(&home, "runs/tiny/lab/lab.csv");
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line["marginal"].is_empty() && number(line, "from_data").is_finite()));
    let other = ["--distance", "sliced-wasserstein", "--out", "other"];
    let (advice, _) =
        home.succeed(&[&["lab", "runs/tiny", "--solvers", "heun,euler-sde", "--nfe", "8", "--count", "40"], &other[..]].concat());
    assert!(advice.contains("sliced Wasserstein² to the data") && !advice.contains("energy distance to the data"), "{advice}");
    let others = table(&home, "other/lab.csv");
    assert!(lines.iter().zip(&others).all(|(a, b)| a["error"] == b["error"] && number(a, "from_data") != number(b, "from_data")));
    // A solver as [sample] has it is all its orders, with noise and without.
    home.succeed(&["lab", "runs/tiny", "--solvers", "dpm-solver-pp", "--nfe", "8", "--count", "20", "--out", "orders"]);
    let names: Vec<String> = table(&home, "orders/lab.csv").iter().map(|line| line["solver"].clone()).collect();
    assert!(names.len() >= 5 && names.iter().all(|name| name.starts_with("dpm-solver-pp-") && !name.contains("single")), "{names:?}");
    let refused = home.fail(&["lab", "runs/tiny", "--solvers", "ddim"]);
    assert!(refused.contains("there is no solver `ddim` here") && refused.contains("give dpm-solver-pp-1"), "{refused}");
    for (option, value) in [("--nfe", "0"), ("--churn", "-1"), ("--tolerances", "2"), ("--noisy-tolerances", "0")] {
        let refused = home.fail(&["lab", "runs/tiny", &format!("{option}={value}")]);
        assert!(refused.contains(&format!("{option} holds a number that no solver can work with")), "{refused}");
    }
    let (_, said) = home.succeed(&["lab", "runs/tiny", "--solvers", "heun,uni-pc-3", "--nfe", "2", "--count", "20"]);
    assert!(said.contains("left out: uni-pc-3"), "{said}");
    let refused = home.fail(&["lab", "runs/tiny", "--solvers", "heum"]);
    assert!(refused.contains("no solver `heum`") && refused.contains("give some of all, euler, midpoint, heun"), "{refused}");
}

/// What makes samples fit a measurement, on a mixture: one wave of four components, or another.
const POSTERIOR: &str = r#"seed = 1

[sde.vp]
beta_min = 0.1
beta_max = 20.0

[data.gaussian-mixture]
train = 100
test = 10
scale = 2.0

[data.gaussian-mixture.mixture]
weights = [1.0, 1.0]
means = [[2.0, 0.0, -2.0, 0.0], [0.0, 2.0, 0.0, -2.0]]
covariances = [[[0.4, 0, 0, 0], [0, 0.4, 0, 0], [0, 0, 0.4, 0], [0, 0, 0, 0.4]], [[1.2, 0, 0, 0], [0, 1.2, 0, 0], [0, 0, 1.2, 0], [0, 0, 0, 1.2]]]

[score.gaussian-mixture]
weights = [1.0, 1.0]
means = [[1.0, 0.0, -1.0, 0.0], [0.0, 1.0, 0.0, -1.0]]
covariances = [[[0.1, 0, 0, 0], [0, 0.1, 0, 0], [0, 0, 0.1, 0], [0, 0, 0, 0.1]], [[0.3, 0, 0, 0], [0, 0.3, 0, 0], [0, 0, 0.3, 0], [0, 0, 0, 0.3]]]

[sample]
count = 1
batch = 1
dynamics = "probability-flow"
solver.heun.grid.log-snr.steps = 4
t_min = 1e-3
denoise = true

[sample.measurement]
operator.downsampling.factor = 2
noise = 0.4
observation.example = { split = "test", index = 0 }
method.moment-matching.iterations = 1
"#;

const BENCH: [&str; 3] = ["lab", "tiny.toml", "--posterior"];

/// Four kinds of operators; what is exact passes, what is not is told from it.
#[test]
fn methods_are_compared_with_the_exact_posterior() {
    let home = Home::with(POSTERIOR);
    let matrix = ndarray::Array2::from(vec![[1.0, 0.5, 0.0, -0.5]]);
    home.write("a.npy", {
        let mut bytes = Vec::new();
        ndarray_npy::WriteNpyExt::write_npy(&matrix, &mut bytes).unwrap();
        bytes
    });
    let of = |operator: &str, rest: &[&str]| {
        let operator = format!("sample.measurement.operator={operator}");
        home.succeed(&[&BENCH[..], &["--set", &operator, "--count", "60", "--nfe", "40"], rest].concat())
    };
    let methods = ["--methods", "dps-1,particles-16,replacement", "--solvers", "dpm-solver-pp-2-sde,reverse-diffusion-sde"];
    let (table_of, said) = of("{downsampling={factor=2}}", &methods);
    assert!(table_of.lines().take(6).all(|line| line.chars().count() <= 80), "{table_of}");
    let lines = table(&home, "lab/tiny/posterior.csv");
    let named: Vec<(&str, &str)> = lines.iter().map(|line| (&*line["method"], &*line["solver"])).collect();
    let (steps, walk) = ("dpm-solver-pp-2-sde", "reverse-diffusion-sde");
    assert_eq!(named, [("exact", "-"), ("dps-1", steps), ("dps-1", walk), ("particles-16", steps), ("replacement", walk)], "{said}");
    assert_eq!(number(&lines[3], "evaluations"), 16.0 * 41.0);
    let off = |line: &BTreeMap<String, String>, column: &str, truth: f64| {
        (number(line, column) - truth).abs() / number(line, &format!("{column}_half_width"))
    };
    for exact in [&lines[0], &lines[3]] {
        assert!(off(exact, "coverage_90", 0.9) < 2.0 && off(exact, "energy", 0.0) < 2.5, "{exact:?}");
    }
    assert!(off(&lines[1], "energy", 0.0) > 2.5 && off(&lines[1], "classifier", 0.5) > 2.0, "{:?}", lines[1]);
    let json: serde_json::Value = serde_json::from_slice(&home.read("lab/tiny/posterior.json")).unwrap();
    assert_eq!(json[3]["trial"]["method"]["particles"]["count"], 16);
    assert!(image::load_from_memory(&home.read("lab/tiny/posterior.png")).unwrap().width() > 1000);
    assert!(!home.names("lab/tiny").contains(&"posterior.journal".to_owned()));
    assert!(String::from_utf8(home.read("lab/tiny/posterior.md")).unwrap().lines().count() == 7);

    let few = ["--methods", "replacement,moment-matching", "--solvers", "reverse-diffusion-sde", "--draws", "9"];
    for (operator, count) in [("{mask={components=[0,2]}}", 3), ("{blur={std=0.7}}", 2), ("{matrix={file='a.npy'}}", 2)] {
        let (_, said) = of(operator, &few);
        assert_eq!(table(&home, "lab/tiny/posterior.csv").len(), count, "{operator}");
        assert_eq!(said.contains("left out: replacement: replacement needs an operator with orthogonal rows"), count == 2, "{said}");
    }
}

#[test]
fn a_posterior_that_nobody_knows_is_refused() {
    let home = Home::with(POSTERIOR);
    let refused = |arguments: &[&str], why: &str| {
        let refusal = home.fail(&[&BENCH[..], arguments].concat());
        assert!(refusal.contains(why), "{refusal}");
    };
    refused(&["--draws", "20"], "give 9, 19, 29");
    refused(&["--methods", "dsp"], "there is no method `dsp` here");
    refused(&["--solvers", "heum"], "there is no solver `heum` here");
    refused(&["--nfe", "0"], "--nfe holds a number that no solver can work with");
    refused(&["--t-min", "2"], "--t-min is 2");
    home.write("free.toml", POSTERIOR.split("[sample.measurement]").next().unwrap());
    assert!(home.fail(&["lab", "free.toml", "--posterior"]).contains("there is no [sample.measurement]"));
    home.write("trained.toml", VECTORS);
    assert!(home.fail(&["lab", "trained.toml", "--posterior"]).contains("there is no [sample.measurement]"));
    let measured = "[sample.measurement]\noperator.mask.components = [1]\nnoise = 0.5\nmethod.moment-matching.iterations = 1\n\
                    observation.example = { split = \"test\", index = 0 }\n\n[likelihood]";
    home.write("trained.toml", VECTORS.replace("[likelihood]", measured));
    assert!(home.fail(&["lab", "trained.toml", "--posterior"]).contains("its network is not trained yet"));
    home.succeed(&["run", "trained.toml"]);
    let short = ["--count", "20", "--draws", "9", "--nfe", "4", "--methods", "moment-matching,replacement"];
    let (table_of, _) = home.succeed(&[&["lab", "runs/trained", "--posterior"][..], &short].concat());
    assert!(table_of.lines().all(|line| line.chars().count() <= 80) && !table_of.contains("exact"), "{table_of}");
    assert!(!home.read("runs/trained/lab/posterior.png").is_empty());
    assert!(home.fail(&["lab", "runs/trained", "--posterior", "--count", "30"]).contains("there is no example 20"));
}
