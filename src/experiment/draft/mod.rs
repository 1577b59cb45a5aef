//! A first experiment for data that nobody has described yet: complete, with the words of every key.

mod notes;

use std::path::Path;

use clap::ValueEnum;
use serde::Serialize;

use crate::data::{Data, Split, Statistics, Summary};
use crate::error::{Error, Result};
use crate::memory;
use crate::progress::{short, short_up, wrapped};

/// The processes that need no numbers of their user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Process {
    Vp,
    SubVp,
    Ve,
    Cosine,
    Linear,
    Edm,
    OptimalTransport,
    PoissonFlow,
}

/// What an experiment is drafted for.
pub struct Draft {
    process: Process,
    /// With the scale 1, if they are vectors.
    data: Data,
    /// Of one example, `[D]` or [C, H, W].
    shape: Vec<usize>,
    /// Training examples, and examples to measure.
    counts: [usize; 2],
    /// Of the training examples.
    statistics: Statistics,
}

/// Of what is drawn to look at it.
const SEED: u64 = 1;

/// Vectors with so few components have an exact divergence, and those with still fewer see more of themselves through waves.
const FEW: usize = 20;
const PLANE: usize = 3;

impl Draft {
    /// Looks at all examples of what a name or path leads to ([`Data::found`]); `watch` is told how many readings of how many are done.
    ///
    /// Error: there are no data, or more than memory has room for.
    pub fn new(process: Process, path: &Path, test: Option<&Path>, watch: &mut dyn FnMut(usize, usize)) -> Result<Draft> {
        let data = Data::found(path, test)?;
        let Summary { shape, len, bytes, .. } = data.describe(Split::Train)?;
        let counts = [len, data.describe(Split::Test)?.len];
        if memory::available().is_some_and(|available| bytes > available) {
            let message = format!("{} takes {} of memory, more than there is", path.display(), memory::bytes(bytes));
            return Err(Error::Memory { message, help: "name a part of it".into() });
        }
        let set = data.open(Split::Train, SEED)?;
        let statistics = Statistics::of(&*set, data.scale(), &mut |done| watch(done, 2 * len))?;
        Ok(Draft { process, data, shape, counts, statistics })
    }

    /// What was found of the data.
    pub fn remark(&self) -> String {
        let [std, far] = [self.statistics.in_model_space.std, self.statistics.farthest.distance].map(short);
        let Draft { counts: [examples, _], shape, .. } = self;
        let of = if self.is_of_images() { "in model space" } else { "before they are divided by scale" };
        format!("Of {examples} examples of shape {shape:?} the standard deviation is {std}, the largest distance {far}, {of}.")
    }

    /// Whether the likelihood is measured on the training examples.
    pub fn is_measured_itself(&self) -> bool {
        let value = toml::Value::try_from(&self.data).expect("data are a TOML table");
        let table = value.get(self.data.name());
        let [train, test] = ["train", "test"].map(|key| table.and_then(|table| table.get(key)?.as_str()));
        let arrays = table.and_then(|table| table.get("arrays"));
        train.is_some() && train == test && arrays.is_none_or(|arrays| arrays.get("train") == arrays.get("test"))
    }

    /// The text of the experiment, with comments from the same words as docs/keys.md; `remarks` are lines above it.
    pub fn text(&self, remarks: &[String]) -> String {
        let sections = [self.sde(), self.data(), self.condition(), self.network(), self.precondition(), self.train(), self.sample()];
        let plain = format!("seed = 1\n\n{}{}", sections.concat(), self.likelihood());
        let remark = |line: &String| if line.is_empty() { "#\n".to_owned() } else { wrapped(line, "# ", "# ") + "\n" };
        let remarks: String = remarks.iter().map(remark).collect();
        format!("#:schema schema.json\n{remarks}\n{}", notes::commented(plain.trim_end()))
    }

    /// The standard deviation in model space, where vectors get one of about 1.
    fn std(&self) -> f64 {
        self.statistics.in_model_space.std / self.scale()
    }

    /// What vectors are divided by; 1 for images.
    fn scale(&self) -> f64 {
        let std = self.statistics.in_model_space.std;
        if self.is_of_images() || std <= 0.0 { 1.0 } else { short(std).parse().unwrap_or(std) }
    }

    fn is_of_images(&self) -> bool {
        self.shape.len() == 3
    }

    /// Whether samples come down a flow, and the network says its velocity.
    fn is_straight(&self) -> bool {
        matches!(self.process, Process::Linear | Process::OptimalTransport)
    }

    /// Whether noise is counted as in EDM, from far less than the data's spread to far more.
    fn is_of_edm(&self) -> bool {
        matches!(self.process, Process::Edm | Process::PoissonFlow)
    }

    /// The σ at which EDM ends for data of this spread, 80 for 0.5.
    fn edm_sigma_max(&self) -> f64 {
        160.0 * self.std()
    }

    fn sde(&self) -> String {
        let far = short_up(self.statistics.farthest.distance / self.scale());
        let edm = short(self.edm_sigma_max());
        let least = short(0.004 * self.std());
        let dimensions = if self.is_of_images() { 2048.0 } else { 32.0 };
        let (name, keys) = match self.process {
            Process::Vp => ("vp", "beta_min = 0.1\nbeta_max = 20.0\n".to_owned()),
            Process::SubVp => ("sub-vp", "beta_min = 0.1\nbeta_max = 20.0\n".to_owned()),
            Process::Ve => ("ve", format!("sigma_min = 0.01\nsigma_max = {far}\n")),
            Process::Cosine => ("cosine", "s = 0.008\nend = 0.995\n".to_owned()),
            Process::Linear => ("linear", String::new()),
            Process::Edm => ("edm", format!("sigma_max = {edm}\n")),
            Process::OptimalTransport => ("optimal-transport", String::new()),
            Process::PoissonFlow => {
                ("poisson-flow", format!("sigma_min = {least}\nsigma_max = {edm}\nextra_dimensions = {dimensions:.1}\n"))
            }
        };
        format!("[sde.{name}]\n{keys}\n")
    }

    fn data(&self) -> String {
        #[derive(Serialize)]
        struct Section<'a> {
            data: &'a Data,
        }
        let data = self.data.clone().with_scale(self.scale());
        let text = toml::to_string(&Section { data: &data }).expect("data are a TOML table");
        text.trim_start_matches("[data]\n").trim_start().to_owned() + "\n"
    }

    /// Whether the network is told of classes. Noise that is paired with examples of all classes is not the prior of each.
    fn has_classes(&self) -> bool {
        self.process != Process::OptimalTransport && self.data.label_key().is_some() && self.data.has_labels()
    }

    fn condition(&self) -> String {
        if self.has_classes() { "[condition.class]\ndropout = 0.1\n\n".to_owned() } else { String::new() }
    }

    fn network(&self) -> String {
        match self.shape[..] {
            [_, height, width] => u_net(height, width),
            _ => {
                let dimension = self.shape.iter().product::<usize>();
                let (width, depth) = if dimension <= FEW { (128, 3) } else { ((4 * dimension).next_power_of_two().clamp(256, 1024), 4) };
                let input = if dimension <= PLANE { "input.fourier = { count = 32, scale = 0.5 }" } else { "input = \"plain\"" };
                format!("[network.mlp]\nwidth = {width}\ndepth = {depth}\n{input}\nembedding.fourier.scale = 0.5\n\n")
            }
        }
    }

    fn precondition(&self) -> String {
        match self.is_straight() {
            true => "[precondition.plain]\nlabel = \"time\"\noutput = \"velocity\"\n\n".to_owned(),
            false => format!("[precondition.edm]\nsigma_data = {}\n\n", short(self.std())),
        }
    }

    fn train(&self) -> String {
        let (steps, batch, lr, ema) = if self.is_of_images() { (5000, 32, "1e-3", 0.995) } else { (2500, 1024, "2e-3", 0.999) };
        let edm = || format!("{{ edm = {{ sigma_data = {} }} }}", short(self.std()));
        // EDM's law for a spread of 0.5 moves with the data's.
        let around = || format!("{{ log-normal = {{ mean = {}, std = 1.2 }} }}", short(-1.2 + (self.std() / 0.5).ln()));
        let (weighting, time) = match () {
            () if self.is_straight() => ("\"velocity\"".to_owned(), "\"uniform\"".to_owned()),
            () if self.is_of_edm() => (edm(), around()),
            () => ("\"variance\"".to_owned(), "\"uniform\"".to_owned()),
        };
        format!(
            "[train]\nsteps = {steps}\nbatch = {batch}\nlr = {lr}\nwarmup = 200\nclip = 1.0\nbetas = [0.9, 0.999]\neps = 1e-8\nweight_decay = 0.0\n\
             ema = {ema}\nobjective = \"denoising\"\nweighting = {weighting}\nreduction = \"mean\"\ntime = {time}\nimportance = {}\n\
             stratified = {}\nt_min = {}\ncheckpoint_every = 500\n\n",
            !self.is_of_edm(),
            !self.is_of_edm(),
            self.t_min(),
        )
    }

    /// The least time, as TOML.
    fn t_min(&self) -> String {
        match self.process {
            Process::Ve => "1e-5".to_owned(),
            // σ is 0.002 for a spread of 0.5.
            Process::Edm => "2.5e-5".to_owned(),
            _ => "1e-4".to_owned(),
        }
    }

    /// Where solvers stop, as TOML.
    fn end(&self) -> String {
        match self.process {
            Process::Vp | Process::SubVp | Process::Cosine => "1e-3".to_owned(),
            _ => self.t_min(),
        }
    }

    fn sample(&self) -> String {
        let count = if self.is_of_images() { 64 } else { 2000 };
        let (dynamics, solver) = match () {
            () if self.is_straight() => ("probability-flow", "heun.grid.uniform.steps = 20"),
            () if self.is_of_edm() => ("probability-flow", "heun.grid.karras = { steps = 40, rho = 7.0 }"),
            () if self.is_of_images() => ("reverse-sde", "dpm-solver-pp = { order = 2, grid.log-snr.steps = 60 }"),
            () => ("reverse-sde", "euler.grid.uniform.steps = 200"),
        };
        let given = if self.has_classes() { "given = \"each-class\"\n" } else { "" };
        let (end, denoise) = (self.end(), !self.is_straight());
        format!(
            "[sample]\ncount = {count}\nbatch = {count}\n{given}dynamics = \"{dynamics}\"\nsolver.{solver}\nt_min = {end}\ndenoise = {denoise}\n\n"
        )
    }

    fn likelihood(&self) -> String {
        let dimension = self.shape.iter().product::<usize>();
        let count = self.counts[1].min(if self.is_of_images() { 64 } else { 1000 });
        let solver = if self.is_of_images() { "heun.grid.log-snr.steps = 20" } else { "rk45 = { rtol = 1e-4, atol = 1e-4 }" };
        let trace = if dimension <= FEW { "exact = {}" } else { "hutchinson = { law = \"rademacher\", probes = 1 }" };
        let dequantisation = if self.is_of_images() { "dequantisation.uniform.draws = 1" } else { "dequantisation = \"none\"" };
        // A Poisson flow begins where σ is a fiftieth of the spread: nearer the data its lines are steep.
        let t_min = if self.process == Process::PoissonFlow { "0.15".to_owned() } else { self.t_min() };
        format!(
            "[likelihood]\nsplit = \"test\"\ncount = {count}\nbatch = {count}\nt_min = {t_min}\nbelow_t_min = \"ignored\"\nsolver.{solver}\n\
             solver_check = 0\ntrace.{trace}\n{dequantisation}\n"
        )
    }
}

/// DDPM++ for images of this size: small enough for a processor.
fn u_net(height: usize, width: usize) -> String {
    let halvings = height.trailing_zeros().min(width.trailing_zeros()).min(3) as usize;
    // No level is smaller than 4.
    let halvings = (0..=halvings).rev().find(|n| height.min(width) >> n >= 4).unwrap_or(0);
    let multipliers = [1, 2, 2, 2][..=halvings].iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let channels = if height.max(width) <= 32 { 32 } else { 64 };
    let attention = width >> halvings.min(2);
    format!(
        "[network.ncsnpp]\nchannels = {channels}\nmultipliers = [{multipliers}]\nblocks = 1\nattention = [{attention}]\ndropout = 0.0\n\
         block = \"biggan\"\nresample.fir = [1, 3, 3, 1]\nresample_with_convolution = true\nprogressive_output = \"none\"\n\
         progressive_input = \"none\"\ncombine = \"sum\"\nembedding.fourier.scale = 1.0\nskip_rescale = true\ninit_scale = 0.0\n\
         conditional = true\n\n"
    )
}
