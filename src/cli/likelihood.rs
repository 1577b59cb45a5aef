//! `score-sde likelihood`: the likelihood of a run, again.

use clap::{Args, ValueEnum};

use super::{Machine, Overrides, Source, Target};
use crate::error::{Error, Result};
use crate::experiment::{self, Plan};
use crate::likelihood::{Density, Likelihood, protocol};
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

pub fn likelihood(Arguments { source, target, split, compare, set, machine }: Arguments) -> Result<()> {
    let run = Run::reading(&source.run)?;
    let [_, table] = experiment::tables_of(&run)?;
    let split = split.map(|split| format!("{table}.split={split}"));
    let overrides: Vec<String> = set.overrides.into_iter().chain(split).collect();
    let loaded = experiment::load_run(&run, &overrides, &["seed", table], true)?;
    machine.holds(&loaded.needs(&["likelihood", "bound", "density"])?)?;
    let session = Session::new(&loaded, machine.into());
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
    source.take(&session, &run)?;
    let elsewhere = target.out.map(|out| Run::elsewhere(&out)).transpose()?;
    let place = elsewhere.as_ref().unwrap_or(&run);
    let (name, _reserved) = result_name(place, target.name, "likelihood", str::to_owned)?;
    if let Some(spec) = likelihood {
        of_score(spec, &session, (&run, place), &name, compare)?;
    }
    if let Some(spec) = density {
        of_generator(spec, &session, (&run, place), &name)?;
    }
    println!("{}", place.folder().at(&format!("{name}.json")).display());
    Ok(())
}

fn of_generator(spec: &Density, session: &Session, (run, place): (&Run, &Run), name: &str) -> Result<()> {
    let weights = session.average(run)?;
    let of = spec.subject(session.plan().seed, weights);
    let done = place.is_done(name, &of)?;
    let values = session.density(spec, run, place, name)?;
    println!("{}", values.headline());
    if done {
        return Ok(());
    }
    let mut product = place.product(name, of);
    values.save(&mut product, name, weights)?;
    Curves::OfResult.add(&values.points(session.step(run)?), &mut product, name)?;
    product.finish().map(drop)
}

fn of_score(spec: &Likelihood, session: &Session, (run, place): (&Run, &Run), name: &str, compare: Option<Protocol>) -> Result<()> {
    let of = session.likelihood_subject(spec, run)?;
    let done = place.is_done(name, &of)?;
    let values = session.likelihood(spec, run, place, name)?;
    let mut report = values.report(session.average(run)?);
    println!("{}", values.headline());
    values.bound_headline().iter().for_each(|line| println!("{line}"));
    if let Some(Protocol::Reference) = compare {
        let mut measure = |change: &str, spec: &_| session.likelihood(spec, run, place, &format!("{name}.{change}"));
        let comparison = protocol::compare(spec, session.scale(), &values, &mut measure)?;
        print!("{comparison}");
        report.comparison = Some(comparison);
    } else if done {
        return Ok(());
    }
    let mut product = place.product(name, of);
    values.save(&mut product, name, &report)?;
    Curves::OfResult.add(&values.points(session.step(run)?), &mut product, name)?;
    product.finish().map(drop)
}
