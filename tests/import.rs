//! `score-sde import` and `export`, on checkpoints that PyTorch wrote (`tests/fixtures/pth`, see `scripts/reference/pth_roundtrip.py`).

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use clap::Parser;
use insta::assert_snapshot;
use miette::Diagnostic;
use ndarray::Array4;
use proptest::prelude::*;
use score_sde::cli::Arguments;
use score_sde::error::Result;
use score_sde::experiment::{self, Experiment, Loaded};
use score_sde::guidance::Way;
use score_sde::model::ScoreNetwork;
use score_sde::progress::Terminal;
use score_sde::pth::{Archive, Problem, unpickle};
use score_sde::run::{Journal, Run, checkpoint};
use score_sde::sample::{Start, Subject, sample};
use score_sde::tensor::to_vec;
use score_sde::train::{Average, State};
use tch::{Device, Kind, Tensor, no_grad};

const EXPERIMENT: &str = r#"
seed = 3
[sde.ve]
sigma_min = 0.01
sigma_max = 50.0
[data.npy-images]
train = "DATA"
test = "DATA"
layout = "nchw"
range = [0.0, 1.0]
flip = false
dequantise = true
[network.ncsnpp]
channels = 4
multipliers = [1]
blocks = 1
attention = []
dropout = 0.0
block = "biggan"
resample.fir = [1, 3, 3, 1]
resample_with_convolution = true
progressive_output = "none"
progressive_input = "residual"
combine = "sum"
embedding.fourier.scale = 16.0
skip_rescale = true
init_scale = 0.0
conditional = true
[precondition.reference]
[train]
steps = 1002
batch = 4
lr = 1e-3
warmup = 2
clip = 1.0
betas = [0.9, 0.999]
eps = 1e-8
weight_decay = 0.0
ema = 0.999
objective = "denoising"
weighting = "variance"
reduction = "half-sum"
time = "uniform"
importance = true
stratified = false
t_min = 1e-5
checkpoint_every = 1000
[sample]
count = 3
batch = 2
dynamics = "reverse-sde"
solver.euler.grid.uniform.steps = 5
t_min = 1e-5
denoise = true
"#;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pth").join(name)
}

/// A folder with the experiment and its data.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Home {
        tch::set_num_threads(1);
        let home = Home(tempfile::tempdir().unwrap());
        let pixels = Array4::from_shape_fn((8, 1, 8, 8), |(n, _, y, x)| (29 * n + 7 * y + 3 * x) as u8);
        ndarray_npy::write_npy(home.at("data.npy"), &pixels).unwrap();
        fs::write(home.at("ve.toml"), EXPERIMENT.replace("DATA", home.at("data.npy").to_str().unwrap())).unwrap();
        home
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The command line; `@name` is a file here.
    fn score_sde(&self, line: &str) -> Result<()> {
        let words = line.split(' ').map(|word| match word.strip_prefix('@') {
            Some(name) => self.at(name).display().to_string(),
            None => word.to_owned(),
        });
        let computes = ["run", "sample"].iter().any(|verb| line.starts_with(verb));
        let more = if computes { vec!["--quiet", "--threads", "1"] } else { vec!["--quiet"] };
        let more = more.into_iter().filter(|_| !line.starts_with("export")).map(str::to_owned);
        Arguments::try_parse_from(std::iter::once("score-sde".to_owned()).chain(words).chain(more)).unwrap().execute()
    }

    /// The message with which an import of `file` fails, which then has written nothing.
    fn refusal(&self, file: &Path, more: &str) -> String {
        let line = format!("import {} --experiment @ve.toml --out @refused{more}", file.display());
        let error = self.score_sde(&line).expect_err("the import must fail");
        assert!(!self.at("refused").exists(), "a refused import left something behind");
        let message = format!("{error}{}", error.help().map(|help| format!("\nhelp: {help}")).unwrap_or_default());
        message.replace(self.at("").to_str().unwrap(), "").replace(fixture("").to_str().unwrap(), "")
    }

    fn loaded(&self) -> Loaded {
        experiment::load(&self.at("ve.toml"), &[]).unwrap()
    }
}

fn model(Loaded { experiment, train, .. }: &Loaded) -> ScoreNetwork {
    let Experiment { network, precondition, data, .. } = experiment;
    let (network, precondition) = (network.as_ref().unwrap(), precondition.as_ref().unwrap());
    ScoreNetwork::new(
        network,
        precondition.under(experiment.sde.as_ref().unwrap().get()).unwrap(),
        data.scale(),
        (&train.as_ref().unwrap().shape, 0),
        1,
        Device::Cpu,
    )
}

#[derive(Clone, Copy)]
enum Part {
    Weights,
    Averages,
    FirstMoments,
    SecondMoments,
}

/// The numbers that `pth_roundtrip.py` gives tensor `index`.
fn number(part: Part, index: usize, size: &[i64]) -> Tensor {
    let n = size.iter().product::<i64>();
    let values: Vec<f32> = (0..n)
        .map(|i| {
            let value = ((37 * i + 101 * index as i64 + 59 * part as i64) % 257 - 128) as f32 / 512.0;
            if matches!(part, Part::SecondMoments) { value.abs() } else { value }
        })
        .collect();
    Tensor::from_slice(&values).view(size)
}

/// All numbers of one part of the fixture's trained tensors, in the order of the axes.
fn flat(part: Part, model: &ScoreNetwork) -> Tensor {
    let numbers = model.parameters.named().enumerate().filter(|(_, (_, _, trained))| *trained);
    Tensor::cat(&numbers.map(|(index, (_, tensor, _))| number(part, index, &tensor.size()).view(-1)).collect::<Vec<_>>(), 0)
}

/// The run that training would have left with the fixture's numbers.
fn trained(home: &Home, name: &str) -> Run {
    let loaded = home.loaded();
    let model = model(&loaded);
    let mut state = State::new(loaded.experiment.train.as_ref().unwrap(), &model.parameters);
    no_grad(|| {
        for (index, (_, tensor, _)) in model.parameters.named().enumerate() {
            tensor.detach().copy_(&number(Part::Weights, index, &tensor.size()));
        }
    });
    let moments = [(Part::FirstMoments, &state.adam.first_moment), (Part::SecondMoments, &state.adam.second_moment)];
    for (part, buffer) in moments.into_iter().chain([(Part::Averages, &state.ema.average)]) {
        model.parameters.fill_by_axes(buffer, &flat(part, &model));
    }
    state.step = 1000;
    let run = Run::open(&home.at(name)).unwrap();
    run.introduce(&loaded.about(&run).unwrap()).unwrap();
    run.keep_experiment(&loaded.experiment.resolved()).unwrap();
    state.save(&run, 2).unwrap();
    run
}

/// Samples in model space from the newest checkpoint of a run.
fn samples(home: &Home, run: &Run) -> Tensor {
    let loaded = home.loaded();
    let model = model(&loaded);
    score_sde::train::load_weights(&model.parameters, &checkpoint::latest(run).unwrap().unwrap(), Average::Average).unwrap();
    let experiment = &loaded.experiment;
    let sde = experiment.sde.as_ref().unwrap().get();
    let start = Start::Prior { shape: &loaded.train.as_ref().unwrap().shape, device: Device::Cpu };
    let spec = experiment.sample.as_ref().unwrap();
    let subject = Subject { way: &Way::Free(&model.model(sde)), known: None };
    sample(spec, 3, subject, &start, &mut Journal::nowhere(), &Terminal::new(true)).unwrap().x
}

fn assert_same_checkpoint(here: &Run, there: &Run, step: u64) {
    let [here, there] = [here, there].map(|run| checkpoint::latest(run).unwrap().unwrap());
    assert_eq!((here.step, there.step), (step, step));
    assert_eq!(here.names().collect::<Vec<_>>(), there.names().collect::<Vec<_>>());
    for name in here.names() {
        assert!(here.tensor(name).unwrap().equal(there.tensor(name).unwrap()), "{name} differs");
    }
}

#[test]
fn an_imported_run_samples_and_trains_as_the_run_before() {
    let home = Home::new();
    let before = trained(&home, "before");
    let expected = samples(&home, &before);
    assert!(expected.abs().max().double_value(&[]).is_finite() && expected.std(false).double_value(&[]) > 1e-3);
    drop(before);
    home.score_sde("run @ve.toml --out @before").unwrap();
    for file in ["ncsnpp.pth", "ncsnpp_legacy.pth"] {
        let name = format!("from-{file}");
        home.score_sde(&format!("import {} --experiment @ve.toml --out @{name}", fixture(file).display())).unwrap();
        let imported = Run::existing(&home.at(&name)).unwrap();
        assert_same_checkpoint(&imported, &trained(&home, &format!("as-{file}")), 1000);
        let drawn = samples(&home, &imported);
        assert!(drawn.equal(&expected), "{file}: other samples {:e}", (drawn - &expected).abs().max().double_value(&[]));
        drop(imported);
        home.score_sde(&format!("sample @{name} --name again")).unwrap();
        home.score_sde(&format!("run @ve.toml --out @{name}")).unwrap();
        let [here, there] = [&name, "before"].map(|run| Run::existing(&home.at(run)).unwrap());
        assert_same_checkpoint(&here, &there, 1002);
    }
}

#[test]
fn settings_that_differ_from_the_checkpoints_are_remarked_and_no_others() {
    let home = Home::new();
    let remarks = |out: &str, settings: &[&str]| {
        let mut command = assert_cmd::Command::cargo_bin("score-sde").unwrap();
        command.args(["import", "--quiet"]).arg(fixture("ncsnpp.pth"));
        command.arg("--experiment").arg(home.at("ve.toml")).arg("--out").arg(home.at(out));
        command.args(settings.iter().flat_map(|setting| ["--set", setting]));
        String::from_utf8(command.assert().success().get_output().stderr.clone()).unwrap()
    };
    assert_eq!(remarks("same", &[]), "");
    assert_snapshot!(remarks("other", &["train.ema=0.5", "train.betas=[0.5, 0.999]", "train.weight_decay=0.1"]), @r"
    warning: the checkpoint has ema.decay 0.999; training would go on with 0.5
    warning: the checkpoint has optimizer.betas[0] 0.9; training would go on with 0.5
    warning: the checkpoint has optimizer.weight_decay 0; training would go on with 0.1
    ");
}

#[test]
fn an_export_has_the_averages_under_the_references_names() {
    let home = Home::new();
    drop(trained(&home, "run"));
    home.score_sde("export @run --to safetensors").unwrap();
    home.score_sde("export @run --to pth-names --scales 10 --out @deep/named.safetensors").unwrap();
    let names: Vec<(String, Vec<i64>)> = model(&home.loaded()).parameters.named().map(|(n, t, _)| (n.to_owned(), t.size())).collect();
    for (path, prefix) in [("run/weights.safetensors", ""), ("deep/named.safetensors", "module.")] {
        let bytes = fs::read(home.at(path)).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let read = |name: &str, kind| {
            let view = file.tensor(name).unwrap();
            let size: Vec<i64> = view.shape().iter().map(|n| *n as i64).collect();
            Tensor::from_data_size(view.data(), &size, kind)
        };
        for (index, (name, size)) in names.iter().enumerate() {
            let part = if index == 0 { Part::Weights } else { Part::Averages };
            assert!(read(&format!("{prefix}{name}"), Kind::Float).equal(&number(part, index, size)), "{name}");
        }
        // Readers that keep the file's order find the weights in the order of registration.
        let mut order: Vec<(usize, String)> = file.iter().map(|(name, view)| (view.data().as_ptr() as usize, name.to_owned())).collect();
        order.sort();
        let order: Vec<&str> = order.iter().filter_map(|(_, name)| name.strip_prefix(prefix)).filter(|name| *name != "sigmas").collect();
        assert_eq!(order, names.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>());
        let buffers = file.len() - names.len();
        assert_eq!(buffers, if prefix.is_empty() { 0 } else { 1 });
        if !prefix.is_empty() {
            let sigmas = to_vec(&read("module.sigmas", Kind::Double));
            assert_eq!(sigmas.len(), 10);
            for (i, sigma) in sigmas.iter().enumerate() {
                let truth = 50.0 * (0.01f64 / 50.0).powf(i as f64 / 9.0);
                assert!((sigma / truth - 1.0).abs() < 1e-13, "{sigma} is not {truth}");
            }
        }
    }
}

#[test]
fn a_pickle_that_would_call_is_refused_and_calls_nothing() {
    let home = Home::new();
    assert_snapshot!(home.refusal(&fixture("malicious.pth"), ""), @r"
    malicious.pth: refusing to call `posix.system`
    help: a checkpoint of weights needs no such call, so the file may be an attack; nothing of it was run. If you trust it, load it in PyTorch and save a dict of nothing but tensors, numbers, lists and dicts
    ");
    assert_snapshot!(home.refusal(&fixture("malicious_legacy.pth"), ""), @r"
    malicious_legacy.pth: refusing to call `__builtin__.eval`
    help: a checkpoint of weights needs no such call, so the file may be an attack; nothing of it was run. If you trust it, load it in PyTorch and save a dict of nothing but tensors, numbers, lists and dicts
    ");
    assert_snapshot!(home.refusal(&fixture("malicious_pickle.pth"), ""), @r"
    malicious_pickle.pth: refusing to call `builtins.exec`
    help: a checkpoint of weights needs no such call, so the file may be an attack; nothing of it was run. If you trust it, load it in PyTorch and save a dict of nothing but tensors, numbers, lists and dicts
    ");
    for trace in ["called-by-zip", "called-by-legacy", "called-by-pickle"] {
        assert!(!Path::new(trace).exists(), "{trace}");
    }
    // Each way to name a thing; and names that differ from a known one.
    for (pickle, name) in [
        (&b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00ls\x85R."[..], "posix.system"),
        (b"(S'ls'\nios\nsystem\n.", "os.system"),
        (b"(ios\nsystem\n.", "os.system"),
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93.", "posix.system"),
        (b"\x80\x02ctorch\nload\n.", "torch.load"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2.__globals__\n.", "torch._utils._rebuild_tensor_v2.__globals__"),
        (b"\x80\x02c__builtin__\neval\x1b[2J\n.", "__builtin__.eval\\u{1b}[2J"),
    ] {
        match unpickle(pickle).unwrap_err() {
            Problem::Call(found) => assert_eq!(found, name),
            // The text protocol is not read at all.
            Problem::Damaged(what) => assert!(pickle.contains(&b'S') && what.contains("0x53"), "{what}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let home = Home::new();
    let whole = fixture("ncsnpp.pth");
    assert_snapshot!(home.refusal(&whole, " --set network.ncsnpp.channels=8"), @r"
    ncsnpp.pth: does not fit the network of the experiment:
      module.all_modules.0.W: expected a tensor [8], found a tensor [4]
      module.all_modules.1.weight: expected a tensor [32, 16], found a tensor [16, 8]
      module.all_modules.1.bias: expected a tensor [32], found a tensor [16]
      module.all_modules.2.weight: expected a tensor [32, 32], found a tensor [16, 16]
      module.all_modules.2.bias: expected a tensor [32], found a tensor [16]
      module.all_modules.3.weight: expected a tensor [8, 1, 3, 3], found a tensor [4, 1, 3, 3]
      module.all_modules.3.bias: expected a tensor [8], found a tensor [4]
      module.all_modules.4.GroupNorm_0.weight: expected a tensor [8], found a tensor [4]
      and 66 more
    help: make [network] what the checkpoint was trained with, or give another checkpoint
    ");
    assert_snapshot!(home.refusal(&whole, " --set network.ncsnpp.attention=[8]"), @r"
    ncsnpp.pth: does not fit the network of the experiment:
      module.all_modules.5.NIN_0.W: expected a tensor [4, 4], found none
      module.all_modules.5.NIN_0.b: expected a tensor [4], found none
      module.all_modules.5.NIN_1.W: expected a tensor [4, 4], found none
      module.all_modules.5.NIN_1.b: expected a tensor [4], found none
      module.all_modules.5.NIN_2.W: expected a tensor [4, 4], found none
      module.all_modules.5.NIN_2.b: expected a tensor [4], found none
      module.all_modules.5.NIN_3.W: expected a tensor [4, 4], found none
      module.all_modules.5.NIN_3.b: expected a tensor [4], found none
      and 75 more
    help: make [network] what the checkpoint was trained with, or give another checkpoint
    ");
    assert_snapshot!(home.refusal(&whole, " --set network.ncsnpp.embedding=\"positional\""), @r"
    ncsnpp.pth: does not fit the network of the experiment:
      module.all_modules.0.weight: expected a tensor [16, 4], found none
      module.all_modules.0.bias: expected a tensor [16], found none
      module.all_modules.1.weight: expected a tensor [16, 16], found a tensor [16, 8]
      module.all_modules.2.weight: expected a tensor [4, 1, 3, 3], found a tensor [16, 16]
      module.all_modules.2.bias: expected a tensor [4], found a tensor [16]
      module.all_modules.3.GroupNorm_0.weight: expected a tensor [4], found none
      module.all_modules.3.GroupNorm_0.bias: expected a tensor [4], found none
      module.all_modules.3.Conv_0.weight: expected a tensor [4, 4, 3, 3], found none
      and 65 more
    help: make [network] what the checkpoint was trained with, or give another checkpoint
    ");
    assert_snapshot!(home.refusal(&whole, " --set sde.ve.sigma_max=90.0"), @r"
    ncsnpp.pth: module.sigmas: expected noise levels from 90 to 0.01 as in [sde.ve], found 49.99999999999999 to 0.010000000000000004
    help: --set sde.ve.sigma_max=50.000000 --set sde.ve.sigma_min=0.010000, if this is the right checkpoint
    ");
    assert_snapshot!(home.refusal(&fixture("odd.pth"), ""), @r"
    odd.pth: is no training checkpoint of the reference: it has no optimizer, no model, no ema, no step; found: a dict of base, transposed, part, expanded, scalar, empty, parameter, half
    help: give the file with the whole training state: optimizer, model, ema and step
    ");

    // The old layout has no checksum, so a word can be exchanged for another of its length.
    let legacy = fs::read(fixture("ncsnpp_legacy.pth")).unwrap();
    let with = |old: &str, new: &str| {
        assert_eq!(old.len(), new.len());
        let at = legacy.windows(old.len()).position(|window| window == old.as_bytes()).unwrap();
        let mut changed = legacy.clone();
        changed[at..at + old.len()].copy_from_slice(new.as_bytes());
        fs::write(home.at("changed.pth"), changed).unwrap();
        home.refusal(&home.at("changed.pth"), "")
    };
    assert_snapshot!(with("module.all_modules.4.Conv_1.bias", "module.all_modules.4.Conv_1.bios"), @r"
    changed.pth: does not fit the network of the experiment:
      module.all_modules.4.Conv_1.bias: expected a tensor [4], found none
      module.all_modules.4.Conv_1.bios: expected none, found a tensor [4]
    help: make [network] what the checkpoint was trained with, or give another checkpoint
    ");
    assert_snapshot!(with("module.sigmas", "module.magics"), @r"
    changed.pth: does not fit the network of the experiment:
      module.magics: expected none, found a tensor [10]
      module.sigmas: expected a list of noise levels, a tensor with one axis, found none
    help: make [network] what the checkpoint was trained with, or give another checkpoint
    ");
    assert_snapshot!(with("shadow_params", "shadow_panels"), @r"
    changed.pth: does not fit the network of the experiment:
      ema.shadow_params: expected a list of 74, one for each trained tensor, found none
    help: make [network] what the checkpoint was trained with, or give another checkpoint
    ");
    assert_snapshot!(with("param_groups", "param_grapes"), @r"
    changed.pth: does not fit the network of the experiment:
      optimizer.param_groups: expected 75 parameters, found 0
    help: make [network] what the checkpoint was trained with, or give another checkpoint
    ");
    assert_snapshot!(with("exp_avg_sq", "exp_avg_qs"), @r"
    changed.pth: does not fit the network of the experiment:
      optimizer.state[1].exp_avg_sq, of module.all_modules.1.weight: expected a tensor [16, 8], found none
      optimizer.state[2].exp_avg_sq, of module.all_modules.1.bias: expected a tensor [16], found none
      optimizer.state[3].exp_avg_sq, of module.all_modules.2.weight: expected a tensor [16, 16], found none
      optimizer.state[4].exp_avg_sq, of module.all_modules.2.bias: expected a tensor [16], found none
      optimizer.state[5].exp_avg_sq, of module.all_modules.3.weight: expected a tensor [4, 1, 3, 3], found none
      optimizer.state[6].exp_avg_sq, of module.all_modules.3.bias: expected a tensor [4], found none
      optimizer.state[7].exp_avg_sq, of module.all_modules.4.GroupNorm_0.weight: expected a tensor [4], found none
      optimizer.state[8].exp_avg_sq, of module.all_modules.4.GroupNorm_0.bias: expected a tensor [4], found none
      and 66 more
    help: make [network] what the checkpoint was trained with, or give another checkpoint
    ");
    assert_snapshot!(with("module.all_modules.3.bias", "module.all_modules.1.bias"), @r"
    changed.pth: does not fit the network of the experiment:
      module.all_modules.1.bias: is there twice
      module.all_modules.1.bias: expected a tensor [16], found a tensor [4]
      module.all_modules.3.bias: expected a tensor [4], found none
    help: make [network] what the checkpoint was trained with, or give another checkpoint
    ");
}

#[test]
fn a_folder_in_use_and_an_experiment_without_network_are_refused() {
    let home = Home::new();
    fs::create_dir(home.at("full")).unwrap();
    fs::write(home.at("full/notes"), "").unwrap();
    let error = home.score_sde(&format!("import {} --experiment @ve.toml --out @full", fixture("ncsnpp.pth").display())).unwrap_err();
    assert!(error.to_string().ends_with("full: is in use already"), "{error}");
    assert_eq!(fs::read_dir(home.at("full")).unwrap().count(), 1);

    let exact = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/exact_mixture.toml");
    fs::copy(exact, home.at("ve.toml")).unwrap();
    let message = home.refusal(&fixture("ncsnpp.pth"), "");
    assert!(message.contains("there is no network to import into"), "{message}");
}

#[test]
fn a_file_that_is_cut_short_or_no_checkpoint_is_refused() {
    let home = Home::new();
    let refusal = |content: &[u8]| {
        fs::write(home.at("cut.pth"), content).unwrap();
        home.refusal(&home.at("cut.pth"), "")
    };
    for name in ["ncsnpp.pth", "ncsnpp_legacy.pth"] {
        let whole = fs::read(fixture(name)).unwrap();
        for length in (0..whole.len()).step_by(whole.len() / 40).chain([whole.len() - 1]) {
            refusal(&whole[..length]);
        }
    }
    let [zip, legacy] = ["ncsnpp.pth", "ncsnpp_legacy.pth"].map(|name| fs::read(fixture(name)).unwrap());
    assert_snapshot!(refusal(&zip[..zip.len() - 1]), @r"
    cut.pth: is damaged: it can't be read: failed to fill whole buffer
    help: copy or download it again
    ");
    assert_snapshot!(refusal(&zip[..1000]), @r"
    cut.pth: is damaged: the zip archive can't be read: invalid Zip archive: Could not find EOCD
    help: copy or download it again
    ");
    assert_snapshot!(refusal(&legacy[..legacy.len() - 1]), @r"
    cut.pth: is damaged: it is cut short: storage 94167624340896 of 4 numbers begins at byte 88124 of 88147
    help: copy or download it again
    ");
    assert_snapshot!(refusal(&legacy[..5000]), @r"
    cut.pth: is damaged: it is cut short (byte 4861 of the pickle)
    help: copy or download it again
    ");
    assert_snapshot!(refusal(b""), @r"
    cut.pth: is no checkpoint of PyTorch
    help: give a checkpoint that torch.save wrote: a dict with optimizer, model, ema and step
    ");
    assert_snapshot!(refusal(b"these are no weights\n"), @r"
    cut.pth: is no checkpoint of PyTorch
    help: give a checkpoint that torch.save wrote: a dict with optimizer, model, ema and step
    ");
    let mut npz = ndarray_npy::NpzWriter::new(Cursor::new(Vec::new()));
    npz.add_array("x", &Array4::<u8>::zeros((1, 1, 1, 1))).unwrap();
    assert_snapshot!(refusal(npz.finish().unwrap().get_ref()), @r"
    cut.pth: is a zip archive, but none of PyTorch: it holds no data.pkl
    help: give a checkpoint that torch.save wrote: a dict with optimizer, model, ema and step
    ");
    assert_snapshot!(home.refusal(&home.at("missing.pth"), ""), @r"
    cannot open missing.pth: No such file or directory (os error 2)
    help: something on the way to it does not exist: correct the path
    ");
}

/// Names and numbers of every tensor in a dict.
type Written = (String, Kind, Vec<i64>, Vec<f64>);

fn tensors(bytes: &[u8]) -> Result<Vec<Written>, Problem> {
    let Archive { pickle, mut storages } = Archive::read(Cursor::new(bytes))?;
    let entries = pickle.root().entries().into_iter().flatten();
    let named = entries.filter_map(|(key, value)| Some((key.text()?, value.tensor()?)));
    named.map(|(name, tensor)| Ok((name.to_owned(), tensor.kind(), tensor.size().to_vec(), to_vec(&storages.read(&tensor)?)))).collect()
}

#[test]
fn every_view_of_a_storage_has_its_numbers() {
    tch::set_num_threads(1);
    let transposed: Vec<f64> = (0..6).flat_map(|column| (0..4).map(move |row| f64::from(6 * row + column))).collect();
    let expected = [
        ("base", Kind::Float, vec![24], (0..24).map(f64::from).collect()),
        ("transposed", Kind::Float, vec![6, 4], transposed),
        ("part", Kind::Float, vec![2, 3], vec![6.0, 8.0, 10.0, 12.0, 14.0, 16.0]),
        ("expanded", Kind::Float, vec![3, 4], vec![5.0; 12]),
        ("scalar", Kind::Float, vec![], vec![7.0]),
        ("empty", Kind::Float, vec![0, 3], vec![]),
        ("parameter", Kind::Float, vec![2, 2], vec![2.0, 3.0, 4.0, 5.0]),
        ("half", Kind::Half, vec![3], vec![0.0, 1.0, 2.0]),
        ("bfloat16", Kind::BFloat16, vec![3], vec![0.0, 1.0, 2.0]),
        ("double", Kind::Double, vec![3], vec![0.0, 1.0 / 3.0, 2.0 / 3.0]),
        ("long", Kind::Int64, vec![2], vec![-1.0, (1u64 << 40) as f64]),
        ("bool", Kind::Bool, vec![2], vec![1.0, 0.0]),
    ]
    .map(|(name, kind, size, values): (&str, _, _, Vec<f64>)| (name.to_owned(), kind, size, values));
    for name in ["odd.pth", "odd_legacy.pth", "odd_protocol_4.pth"] {
        let bytes = fs::read(fixture(name)).unwrap();
        assert_eq!(tensors(&bytes).unwrap(), expected, "{name}");
        let archive = Archive::open(&fixture(name)).unwrap();
        let words = archive.pickle.root().get("words").unwrap();
        assert_eq!(words.get("text").unwrap().text(), Some("Wörter"));
        assert_eq!(words.get("number").unwrap().int(), Some(-12_345_678_901));
        assert_eq!(words.get("half").unwrap().number(), Some(0.5));
        assert_eq!(words.get("none").unwrap().describe(), "None");
        assert_eq!(words.get("tuple").unwrap().items().unwrap().len(), 2);
    }
}

#[test]
fn a_tensor_that_reaches_out_of_its_storage_is_refused() {
    // ("storage", FloatStorage, "0", "cpu", 4) and then offset, size, stride
    let tensor = |view: &[u8]| {
        let start = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ";
        unpickle(&[&start[..], view, b"\x89NtR."].concat()).map(|(pickle, _)| pickle.tensors().count())
    };
    assert_eq!(tensor(b"K\x00K\x02K\x02\x86K\x02K\x01\x86"), Ok(1));
    assert_eq!(tensor(b"K\x01K\x03\x85K\x01\x85"), Ok(1));
    assert_eq!(tensor(b"K\x04K\x00\x85K\x01\x85"), Ok(1));
    for outside in [
        &b"K\x02K\x03\x85K\x01\x85"[..],
        b"K\x00K\x02\x85K\x04\x85",
        b"K\x05K\x00\x85K\x01\x85",
        b"K\x00K\x02K\x02\x86K\x01\x85",
        b"J\xff\xff\xff\xffK\x01\x85K\x01\x85",
        b"K\x00J\xff\xff\xff\xff\x85K\x01\x85",
        b"K\x00K\x02\x85J\xff\xff\xff\xff\x85",
        b"K\x00\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85",
        b"K\x00\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7fK\x02\x86K\x00K\x00\x86",
        b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01K\x00\x85K\x01\x85",
    ] {
        let problem = tensor(outside).unwrap_err();
        assert!(matches!(&problem, Problem::Damaged(what) if what.contains("reaches out")), "{outside:?}: {problem:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// The archive's checksums see every flip that would change a number.
    #[test]
    fn a_flipped_bit_in_an_archive_changes_no_number_unseen(at in any::<prop::sample::Index>(), bit in 0u32..8) {
        tch::set_num_threads(1);
        let whole = fs::read(fixture("odd.pth")).unwrap();
        let mut bytes = whole.clone();
        bytes[at.index(whole.len())] ^= 1u8 << bit;
        if let Ok(found) = tensors(&bytes) {
            prop_assert_eq!(found, tensors(&whole).unwrap());
        }
    }

    #[test]
    fn no_damage_makes_the_reader_panic(
        name in prop::sample::select(vec!["odd.pth", "odd_legacy.pth", "odd_protocol_4.pth", "malicious.pth", "malicious_legacy.pth"]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        length in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        tch::set_num_threads(1);
        let mut bytes = fs::read(fixture(name)).unwrap();
        changes.iter().for_each(|(at, byte)| { let at = at.index(bytes.len()); bytes[at] = *byte; });
        if cut {
            bytes.truncate(length.index(bytes.len()));
        }
        if let Ok(Archive { pickle, mut storages }) = Archive::read(Cursor::new(&bytes)) {
            for tensor in pickle.tensors() {
                let _ = storages.read(&tensor);
            }
        }
    }

    #[test]
    fn no_bytes_make_the_unpickler_panic(bytes in prop::collection::vec(prop_oneof![
        any::<u8>(), prop::sample::select(b"(.NJKMGXB])}tRQbcesuaqrhj\x80\x85\x86\x87\x88\x8a\x8c\x93\x94\x95".to_vec())], 0..200)) {
        let _ = unpickle(&bytes);
    }
}
