//! `score-sde sample`: samples from a run, again.

use clap::Args;

use super::{Form, Machine, Overrides, Source, Target};
use crate::error::{Error, Result};
use crate::experiment::{self, Plan};
use crate::run::log::Curves;
use crate::run::{Run, result_name};
use crate::session::Session;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    set: Overrides,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    machine: Machine,
}

pub fn sample(Arguments { source, target, set, form, machine }: Arguments) -> Result<()> {
    let run = Run::reading(&source.run)?;
    let [table, _] = experiment::tables_of(&run)?;
    let loaded = experiment::load_run(&run, &set.overrides, &["seed", table], false)?;
    machine.holds(&loaded.needs(&["sample", "draw"])?)?;
    let session = Session::new(&loaded, machine.into());
    let Plan { sample, draw, .. } = session.plan();
    if sample.is_none() && draw.is_none() {
        let help = format!("give one: --set '{table}={{count=16,...}}' with all its keys");
        return Err(Error::run(run.path(), format!("its experiment has no [{table}]"), help));
    }
    source.take(&session, &run)?;
    let elsewhere = target.out.map(|out| Run::elsewhere(&out)).transpose()?;
    let place = elsewhere.as_ref().unwrap_or(&run);
    let (name, _reserved) = result_name(place, target.name, "samples", |name| format!("samples/{name}"))?;
    if let Some(spec) = sample {
        session.sample_into(spec, &run, place, &name, Curves::OfResult)?;
    }
    if let Some(spec) = draw {
        session.draw_into(spec, &run, place, &name, Curves::OfResult)?;
    }
    form.show(place, &format!("samples/{name}.json"), &format!("samples/{name}.png"))
}
