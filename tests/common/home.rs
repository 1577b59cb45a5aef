//! A temporary folder in which the real binary works on small experiments and small data.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use image::{ImageFormat, Rgb, RgbImage};
use tempfile::TempDir;

/// The verbs that compute, and so can be told their threads.
const COMPUTING: [&str; 7] = ["run", "sample", "likelihood", "evaluate", "lab", "parity", "verify-resume"];

/// A whole experiment on vectors that takes a fraction of a second.
pub const VECTORS: &str = r#"seed = 1

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
lr = 1e-3
warmup = 5
clip = 1.0
betas = [0.9, 0.999]
eps = 1e-8
weight_decay = 0.0
ema = 0.9
objective = "denoising"
weighting = "variance"
reduction = "mean"
time = "uniform"
importance = true
stratified = false
t_min = 1e-4
checkpoint_every = 10

[sample]
count = 4
batch = 3
dynamics = "reverse-sde"
solver.euler.grid.uniform.steps = 4
t_min = 1e-3
denoise = true

[likelihood]
split = "test"
count = 5
batch = 3
t_min = 1e-3
below_t_min = "ignored"
solver.heun.grid.uniform.steps = 4
solver_check = 0
trace.exact = {}
dequantisation = "none"
"#;

/// A whole experiment on the images that [`idx`] makes, with a tiny U-Net that has every part of the large ones.
pub const IMAGES: &str = r#"seed = 1

[sde.vp]
beta_min = 0.1
beta_max = 20.0

[data.idx]
train = "train-images"
test = "test-images"
pad = 0
range = [-1.0, 1.0]
flip = true
dequantise = true

[network.ncsnpp]
channels = 8
multipliers = [1, 2]
blocks = 1
attention = [4]
dropout = 0.3
block = "biggan"
resample.fir = [1, 3, 3, 1]
resample_with_convolution = true
progressive_output = "none"
progressive_input = "residual"
combine = "sum"
embedding.fourier.scale = 1.0
skip_rescale = true
init_scale = 0.0
conditional = true

[precondition.reference]

[train]
steps = 2
batch = 4
lr = 1e-3
warmup = 2
clip = 1.0
betas = [0.9, 0.999]
eps = 1e-8
weight_decay = 0.0
ema = 0.9
objective = "denoising"
weighting = "variance"
reduction = "half-sum"
time = "uniform"
importance = true
stratified = false
t_min = 1e-4
checkpoint_every = 10

[sample]
count = 1
batch = 1
dynamics = "reverse-sde"
solver.euler.grid.uniform.steps = 3
t_min = 1e-3
denoise = true

[likelihood]
split = "test"
count = 1
batch = 1
t_min = 1e-3
below_t_min = "ignored"
solver.heun.grid.uniform.steps = 2
solver_check = 0
trace.hutchinson = { law = "rademacher", probes = 1 }
dequantisation.uniform.draws = 1
"#;

/// An IDX file of n square images: stripes that differ from image to image.
pub fn idx(n: usize, size: usize) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, 3];
    [n, size, size].iter().for_each(|&word| bytes.extend((word as u32).to_be_bytes()));
    bytes.extend((0..n * size * size).map(|i| (40 * (i % size) + 23 * (i / size / size)) as u8));
    bytes
}

/// n records of a CIFAR-10 file.
pub fn cifar10(n: usize) -> Vec<u8> {
    (0..n).flat_map(|i| std::iter::once(i as u8 % 10).chain((0..3072).map(move |j| (7 * i + j / 12) as u8))).collect()
}

/// A PNG file of one colour with a gradient.
pub fn png(height: u32, width: u32, shade: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    RgbImage::from_fn(width, height, |x, y| Rgb([shade, (7 * x) as u8, (9 * y) as u8])).write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Every file below a folder, but the lock: its bytes and when they were written.
pub type Contents = BTreeMap<PathBuf, (Vec<u8>, SystemTime)>;

pub struct Home(TempDir);

impl Home {
    /// A folder that holds `tiny.toml`.
    pub fn with(experiment: &str) -> Home {
        let home = Home(tempfile::tempdir().unwrap());
        home.write("tiny.toml", experiment);
        home
    }

    /// A folder that holds `tiny.toml` and the images it names.
    pub fn with_images(experiment: &str) -> Home {
        let home = Home::with(experiment);
        home.write("train-images", idx(16, 8));
        home.write("test-images", idx(4, 8));
        home
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub fn json(&self, name: &str) -> serde_json::Value {
        serde_json::from_slice(&self.read(name)).unwrap()
    }

    /// The names in a folder, sorted.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.path(folder)).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub fn contents(&self, folder: &str) -> Contents {
        fn collect(folder: &Path, contents: &mut Contents) {
            for path in fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
                if path.is_dir() {
                    collect(&path, contents);
                } else if path.file_name().unwrap() != ".lock" {
                    let modified = path.metadata().unwrap().modified().unwrap();
                    contents.insert(path.clone(), (fs::read(&path).unwrap(), modified));
                }
            }
        }
        let mut contents = Contents::new();
        collect(&self.path(folder), &mut contents);
        contents
    }

    /// `score-sde` in this folder, on one thread, asked for backtraces that it must not show.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_score-sde"));
        command.args(arguments).current_dir(self.0.path()).env("RUST_BACKTRACE", "1").env("XDG_CACHE_HOME", self.path("cache"));
        if arguments.first().is_some_and(|verb| COMPUTING.contains(verb)) {
            command.args(["--threads", "1"]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// How a command ends whose standard output goes elsewhere: its exit code and stderr.
    pub fn writing_to(&self, output: Stdio, arguments: &[&str]) -> (Option<i32>, String) {
        let (output, _, stderr) = said(self.command(arguments).stdout(output).output().unwrap());
        (output.status.code(), stderr)
    }

    /// A process that works meanwhile.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    /// The same with other environment variables.
    pub fn start_with(&self, arguments: &[&str], variables: &[(&str, String)]) -> Child {
        self.command(arguments).envs(variables.iter().map(|(name, value)| (name, value))).spawn().unwrap()
    }

    /// What a command said that must succeed: stdout, stderr.
    pub fn succeed(&self, arguments: &[&str]) -> (String, String) {
        let (output, stdout, stderr) = said(self.command(arguments).output().unwrap());
        assert!(output.status.success(), "{arguments:?}: {}\n{stdout}{stderr}", output.status);
        (stdout, stderr)
    }

    /// The report of a command that must fail with exit code 1, or 2 where the command line is wrong, without what was said before, its lines joined and its frame removed.
    pub fn fail(&self, arguments: &[&str]) -> String {
        let (output, stdout, stderr) = said(self.command(arguments).output().unwrap());
        assert!(matches!(output.status.code(), Some(1 | 2)), "{arguments:?}: {stdout}{stderr}");
        let begin = stderr.find("  × ").unwrap_or_else(|| panic!("{arguments:?}: no report in {stderr}"));
        joined(&stderr[begin..])
    }

    /// The stderr of a command, however it ends.
    pub fn said(&self, arguments: &[&str]) -> String {
        said(self.command(arguments).output().unwrap()).2
    }

    /// Waits for a file that `child` is about to write.
    pub fn wait_for(&self, name: &str, child: &mut Child) {
        let begun = Instant::now();
        while !self.path(name).exists() {
            assert!(child.try_wait().unwrap().is_none(), "the process ended before it wrote {name}");
            assert!(begun.elapsed() < Duration::from_secs(60), "no {name} after a minute");
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

/// Whatever a command says, it never panics, never shows a backtrace, and writes no escape codes where nobody watches.
pub fn said(output: Output) -> (Output, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    for word in ["panicked", "backtrace", "\u{1b}", "\r"] {
        assert!(!stdout.contains(word) && !stderr.contains(word), "{word:?} in\n{stdout}{stderr}");
    }
    (output, stdout, stderr)
}

/// A report as one line, however wide it was printed.
fn joined(report: &str) -> String {
    report.split_whitespace().filter(|word| !["×", "│"].contains(word)).collect::<Vec<_>>().join(" ")
}
