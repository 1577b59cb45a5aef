//! `score-sde encode`, `decode` and `interpolate`: the probability flow there and back.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Form, Machine, Overrides, Source};
use crate::data;
use crate::error::{Error, Result};
use crate::experiment;
use crate::run::{Run, plain_name};
use crate::sample::Sample;
use crate::session::{Against, Session, read_codes};

#[derive(Args, Clone, Debug)]
pub struct Common {
    #[command(flatten)]
    source: Source,
    /// A folder for the results that is not the run's.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    set: Overrides,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    machine: Machine,
}

#[derive(Args, Debug)]
pub struct Encode {
    #[command(flatten)]
    common: Common,
    /// Of which split.
    #[arg(long, default_value = "test")]
    split: Split,
    /// The first so many examples.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    count: u64,
    /// Another run on the same data, whose codes are compared: their correlation and distance, component by component.
    #[arg(long, value_name = "RUN")]
    against: Option<PathBuf>,
    /// Name of the files.
    #[arg(long, default_value = "codes")]
    name: String,
}

#[derive(Args, Debug)]
pub struct Decode {
    #[command(flatten)]
    common: Common,
    /// The codes, as encode has written them.
    codes: PathBuf,
    /// What the codes are multiplied by.
    #[arg(long, default_value_t = 1.0)]
    temperature: f64,
    /// Name of the files in samples/.
    #[arg(long, default_value = "decoded")]
    name: String,
}

#[derive(Args, Debug)]
pub struct Interpolate {
    #[command(flatten)]
    common: Common,
    /// Two examples, such as 3,17, counted from 0.
    #[arg(long, value_name = "I,J", value_delimiter = ',', num_args = 1, required = true)]
    between: Vec<usize>,
    /// Of which split.
    #[arg(long, default_value = "test")]
    split: Split,
    /// Samples, the two ends among them.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u64).range(2..=10_000))]
    steps: u64,
    /// Name of the files in samples/.
    #[arg(long, default_value = "between")]
    name: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Split {
    Train,
    Test,
}

impl From<Split> for data::Split {
    fn from(split: Split) -> data::Split {
        match split {
            Split::Train => data::Split::Train,
            Split::Test => data::Split::Test,
        }
    }
}

/// A run that is asked, and where its answer goes.
pub(super) struct Asked {
    pub run: Run,
    elsewhere: Option<Run>,
    pub session: Session,
    pub spec: Sample,
    form: Form,
}

impl Asked {
    /// Says what was made, samples of this name.
    pub fn show_samples(&self, name: &str) -> Result<()> {
        self.form.show(self.place(), &format!("samples/{name}.json"), &format!("samples/{name}.png"))
    }

    pub fn place(&self) -> &Run {
        self.elsewhere.as_ref().unwrap_or(&self.run)
    }
}

pub(super) fn ask(Common { source, out, set, form, machine }: Common) -> Result<Asked> {
    let run = Run::reading(&source.run)?;
    let loaded = experiment::load_run(&run, &set.overrides, &["seed", "sample"], false)?;
    machine.holds(&loaded.needs(&["sample"])?)?;
    let session = Session::new(&loaded, machine.into());
    let Some(spec) = session.plan().sample.clone() else {
        let help = "this is asked of a score: give a run with [sde.*] and --set 'sample={...}' with all its keys";
        return Err(Error::run(run.path(), "its experiment has no [sample]", help));
    };
    source.take(&session, &run)?;
    let elsewhere = out.map(|out| Run::elsewhere(&out)).transpose()?;
    Ok(Asked { run, elsewhere, session, spec, form })
}

/// Another run asked the same, with the noise of the first.
fn beside(mut common: Common, run: PathBuf, seed: u64) -> Common {
    common.set.overrides.push(format!("seed={seed}").into());
    Common { source: Source { run, step: None, ..common.source }, out: None, ..common }
}

pub fn encode(Encode { common, split, count, against, name }: Encode) -> Result<()> {
    let name = plain_name(name)?;
    let asked = ask(common.clone())?;
    let other = against.map(|run| ask(beside(common, run, asked.session.plan().seed))).transpose()?;
    let against = other.as_ref().map(|Asked { run, session, spec, .. }| Against { session, spec, run });
    let examples: Vec<usize> = (0..count as usize).collect();
    let of = (split.into(), &examples[..]);
    asked.session.encode_into(&asked.spec, of, against.as_ref(), &asked.run, (asked.place(), &name))?;
    asked.form.show(asked.place(), &format!("{name}.json"), &format!("{name}.npz"))
}

pub fn decode(Decode { common, codes, temperature, name }: Decode) -> Result<()> {
    let name = plain_name(name)?;
    if !(temperature > 0.0 && temperature.is_finite()) {
        return Err(Error::Usage {
            message: format!("--temperature is {temperature}"),
            help: "give a number above 0; 1 for the codes themselves".into(),
        });
    }
    let codes = read_codes(&codes)? * temperature;
    let asked = ask(common)?;
    asked.session.decode_into(&asked.spec, &codes, &asked.run, asked.place(), &name)?;
    asked.show_samples(&name)
}

pub fn interpolate(Interpolate { common, between: ends, split, steps, name }: Interpolate) -> Result<()> {
    let name = plain_name(name)?;
    let &[i, j] = &ends[..] else {
        return Err(Error::Usage {
            message: format!("--between names {} examples", ends.len()),
            help: "give two, such as --between 3,17".into(),
        });
    };
    let asked = ask(common)?;
    let way = asked.session.codes_between(&asked.spec, split.into(), [i, j], steps as usize)?;
    asked.session.decode_into(&asked.spec, &way, &asked.run, asked.place(), &name)?;
    asked.show_samples(&name)
}
