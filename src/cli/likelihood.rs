//! `score-sde likelihood`: the likelihood of a run, again.

use std::fmt;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::json;

use super::{Form, Machine, Overrides, Source, Target};
use crate::error::{Error, Result};
use crate::experiment::{self, Override, Plan};
use crate::likelihood::{Density, Likelihood, Unit, protocol};
use crate::metric::Estimate;
use crate::progress::Terminal;
use crate::run::log::Curves;
use crate::run::{Run, result_name};
use crate::session::Session;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    target: Target,
    /// Whose likelihood: train or test; short for --set likelihood.split=... or density.split=...
    #[arg(long)]
    split: Option<String>,
    /// Measure both splits, as many examples of each, and say whether training examples are likelier: a model that remembers them has a gap.
    #[arg(long, conflicts_with_all = ["split", "compare"])]
    gap: bool,
    /// Print the number by this protocol, too, and what each difference between the two is worth.
    #[arg(long, value_name = "PROTOCOL")]
    compare: Option<Protocol>,
    #[command(flatten)]
    set: Overrides,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    machine: Machine,
}

/// Whose protocol the number is put beside.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Protocol {
    /// That of Song et al. 2021, as their code has it.
    Reference,
}

pub fn likelihood(arguments: Arguments) -> Result<()> {
    let run = Run::reading(&arguments.source.run)?;
    let elsewhere = arguments.target.out.as_ref().map(|out| Run::elsewhere(out)).transpose()?;
    let place = elsewhere.as_ref().unwrap_or(&run);
    let (name, _reserved) = result_name(place, arguments.target.name.clone(), "likelihood", str::to_owned)?;
    let (form, terminal) = (arguments.form, Terminal::new(arguments.machine.voice.quiet));
    let say = |line: &str| if form.json { terminal.say(line) } else { println!("{line}") };
    let show = |name: &str| form.show(place, &format!("{name}.json"), &format!("{name}.json"));
    if !arguments.gap {
        measure(&arguments, arguments.split.as_deref(), (&run, place), &name)?.lines.iter().for_each(|line| say(line));
        return show(&name);
    }
    let [train, test] = ["train", "test"].map(|split| {
        let measured = measure(&arguments, Some(split), (&run, place), &format!("{name}-{split}"))?;
        measured.lines.iter().for_each(|line| say(&format!("{split}: {line}")));
        Ok::<_, Error>(measured)
    });
    let gap = Gap::new(&train?, &test?);
    say(&gap.to_string());
    let name = format!("{name}-gap");
    let mut product = place.product(&name, json!({ "gap": gap }));
    product.write_json(&format!("{name}.json"), &gap)?;
    product.finish()?;
    show(&name)
}

/// The number of a split, and lines for people.
struct Measured {
    number: Estimate,
    unit: Unit,
    lines: Vec<String>,
}

/// How much likelier training examples are than those of the test split.
#[derive(Serialize)]
struct Gap {
    unit: Unit,
    train: f64,
    test: f64,
    /// test - train, of independent examples.
    #[serde(flatten)]
    gap: Estimate,
}

impl Gap {
    /// Of the numbers of both splits.
    fn new(train: &Measured, test: &Measured) -> Gap {
        let (a, b) = (&train.number, &test.number);
        Gap { unit: train.unit, train: a.value, test: b.value, gap: b.minus(a) }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Gap { unit, gap: Estimate { value, half_width, .. }, .. } = self;
        let words = match (value.abs() > *half_width, *value > 0.0) {
            (false, _) => "not to be told from 0",
            (true, true) => "training examples are likelier",
            (true, false) => "training examples are less likely",
        };
        write!(f, "gap, test - train: {value:.4} ± {half_width:.4} {} (95 %): {words}", unit.name())
    }
}

/// Measures a split, or that of the experiment, and saves it as a result of this name.
fn measure(arguments: &Arguments, split: Option<&str>, (run, place): (&Run, &Run), name: &str) -> Result<Measured> {
    let Arguments { source, compare, set, machine, .. } = arguments;
    let [_, table] = experiment::tables_of(run)?;
    let split = split.map(|split| format!("{table}.split={split}").into());
    let overrides: Vec<Override> = set.overrides.iter().cloned().chain(split).collect();
    let loaded = experiment::load_run(run, &overrides, &["seed", table], true)?;
    machine.holds(&loaded.needs(&["likelihood", "bound", "density"])?)?;
    let session = Session::new(&loaded, machine.clone().into());
    let Plan { likelihood, density, .. } = session.plan();
    if likelihood.is_none() && density.is_none() {
        let help = format!("give one: --set '{table}={{split=\"test\",...}}' with all its keys");
        return Err(Error::run(run.path(), format!("its experiment has no [{table}]"), help));
    }
    match (likelihood, compare) {
        (Some(spec), Some(Protocol::Reference)) => {
            protocol::reference(spec, session.scale())?;
        }
        (None, Some(Protocol::Reference)) => {
            let message = "the reference measures scores, and the run's family is another".into();
            return Err(Error::Usage { message, help: "leave out --compare".into() });
        }
        (_, None) => {}
    }
    source.take(&session, run)?;
    match (likelihood, density) {
        (Some(spec), _) => of_score(spec, &session, (run, place), name, *compare),
        (None, Some(spec)) => of_generator(spec, &session, (run, place), name),
        (None, None) => unreachable!("one of them is there"),
    }
}

fn of_generator(spec: &Density, session: &Session, (run, place): (&Run, &Run), name: &str) -> Result<Measured> {
    let weights = session.average(run)?;
    let of = spec.subject(session.plan().seed, weights);
    let done = place.is_done(name, &of)?;
    let values = session.density(spec, run, place, name)?;
    let measured = Measured { number: values.estimate(), unit: values.unit(), lines: vec![values.headline()] };
    if done {
        return Ok(measured);
    }
    let mut product = place.product(name, of);
    values.save(&mut product, name, weights)?;
    Curves::OfResult.add(&values.points(session.step(run)?), &mut product, name)?;
    product.finish().map(|_| measured)
}

fn of_score(spec: &Likelihood, session: &Session, (run, place): (&Run, &Run), name: &str, compare: Option<Protocol>) -> Result<Measured> {
    let of = session.likelihood_subject(spec, run)?;
    let done = place.is_done(name, &of)?;
    let values = session.likelihood(spec, run, place, name)?;
    let mut report = values.report(session.average(run)?);
    let lines = std::iter::once(values.headline()).chain(values.bound_headline()).collect();
    let mut measured = Measured { number: values.estimate(), unit: values.unit(), lines };
    if let Some(Protocol::Reference) = compare {
        let mut measure = |change: &str, spec: &_| session.likelihood(spec, run, place, &format!("{name}.{change}"));
        let comparison = protocol::compare(spec, session.scale(), &values, &mut measure)?;
        measured.lines.extend(comparison.to_string().lines().map(str::to_owned));
        report.comparison = Some(comparison);
    } else if done {
        return Ok(measured);
    }
    let mut product = place.product(name, of);
    values.save(&mut product, name, &report)?;
    Curves::OfResult.add(&values.points(session.step(run)?), &mut product, name)?;
    product.finish().map(|_| measured)
}
