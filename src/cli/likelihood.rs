//! `score-sde likelihood`: the likelihood of a run, again.

use std::fmt;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::json;

use super::{Machine, Overrides, Source, Target};
use crate::error::{Error, Result};
use crate::experiment::{self, Plan};
use crate::likelihood::{Density, Likelihood, Unit, protocol};
use crate::metric::Estimate;
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
    let at = |name: &str| println!("{}", place.folder().at(&format!("{name}.json")).display());
    if !arguments.gap {
        measure(&arguments, arguments.split.as_deref(), (&run, place), &name)?;
        at(&name);
        return Ok(());
    }
    let [train, test] = ["train", "test"].map(|split| {
        println!("{split}:");
        measure(&arguments, Some(split), (&run, place), &format!("{name}-{split}"))
    });
    let gap = Gap::new(train?, test?);
    println!("{gap}");
    let name = format!("{name}-gap");
    let mut product = place.product(&name, json!({ "gap": gap }));
    product.write_json(&format!("{name}.json"), &gap)?;
    product.finish()?;
    at(&name);
    Ok(())
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
    fn new((train, unit): (Estimate, Unit), (test, _): (Estimate, Unit)) -> Gap {
        Gap { unit, train: train.value, test: test.value, gap: test.minus(&train) }
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
fn measure(arguments: &Arguments, split: Option<&str>, (run, place): (&Run, &Run), name: &str) -> Result<(Estimate, Unit)> {
    let Arguments { source, compare, set, machine, .. } = arguments;
    let [_, table] = experiment::tables_of(run)?;
    let split = split.map(|split| format!("{table}.split={split}"));
    let overrides: Vec<String> = set.overrides.iter().cloned().chain(split).collect();
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

fn of_generator(spec: &Density, session: &Session, (run, place): (&Run, &Run), name: &str) -> Result<(Estimate, Unit)> {
    let weights = session.average(run)?;
    let of = spec.subject(session.plan().seed, weights);
    let done = place.is_done(name, &of)?;
    let values = session.density(spec, run, place, name)?;
    println!("{}", values.headline());
    let number = (values.estimate(), values.unit());
    if done {
        return Ok(number);
    }
    let mut product = place.product(name, of);
    values.save(&mut product, name, weights)?;
    Curves::OfResult.add(&values.points(session.step(run)?), &mut product, name)?;
    product.finish().map(|_| number)
}

fn of_score(
    spec: &Likelihood,
    session: &Session,
    (run, place): (&Run, &Run),
    name: &str,
    compare: Option<Protocol>,
) -> Result<(Estimate, Unit)> {
    let of = session.likelihood_subject(spec, run)?;
    let done = place.is_done(name, &of)?;
    let values = session.likelihood(spec, run, place, name)?;
    let mut report = values.report(session.average(run)?);
    let number = (values.estimate(), values.unit());
    println!("{}", values.headline());
    values.bound_headline().iter().for_each(|line| println!("{line}"));
    if let Some(Protocol::Reference) = compare {
        let mut measure = |change: &str, spec: &_| session.likelihood(spec, run, place, &format!("{name}.{change}"));
        let comparison = protocol::compare(spec, session.scale(), &values, &mut measure)?;
        print!("{comparison}");
        report.comparison = Some(comparison);
    } else if done {
        return Ok(number);
    }
    let mut product = place.product(name, of);
    values.save(&mut product, name, &report)?;
    Curves::OfResult.add(&values.points(session.step(run)?), &mut product, name)?;
    product.finish().map(|_| number)
}
