//! `score-sde lab --posterior`: what makes samples fit a measurement, compared with the exact posterior.

use std::io::Write;
use std::path::Path;

use serde_json::json;

use super::lab::Arguments;
use crate::error::{Error, Result};
use crate::experiment::{self, Family, Loaded};
use crate::guidance;
use crate::lab::posterior::{self, Bench};
use crate::law::GaussianMixture;
use crate::measurement::mark_of;
use crate::model::ScoreSpec;
use crate::run::{Folder, Journal};
use crate::sample::Sample;
use crate::session::Session;

const SOLVERS: [&str; 3] = ["heun", "dpm-solver-pp-2-sde", "reverse-diffusion-sde"];

pub fn posterior(options: Arguments) -> Result<()> {
    let sweep = options.sweep(&SOLVERS, &[20, 100])?;
    let methods = posterior::methods(&options.methods)?;
    if options.draws > 999 || !(options.draws + 1).is_multiple_of(10) {
        let help = "give 9, 19, 29, ..., 999, so that half and nine tenths of the ranks are whole numbers".into();
        return Err(Error::Usage { message: format!("--draws is {}", options.draws), help });
    }
    let target = &options.target;
    if target.is_dir() {
        let message = format!("{} is a folder; of a run nobody knows the posterior", target.display());
        return Err(Error::Usage { message, help: "name an experiment file with [score.gaussian-mixture]".into() });
    }
    let loaded = experiment::load(target, &options.set.overrides)?;
    let (law, sample, measured) = known(&loaded, target)?;
    let sample = &Sample { t_min: options.t_min(Some(sample))?, ..sample.clone() };
    let size = [options.count.unwrap_or(200) as usize, options.draws];
    let particles = methods.iter().map(|(_, method)| method.particles()).max().unwrap_or(1);
    options.machine.holds(&loaded.posterior_needs(size, posterior::at_once(size[1]), particles))?;
    let session = Session::new(&loaded, options.machine.into());
    let (model, seed, device) = (session.model()?, session.plan().seed, session.device());
    let measurement = session.measurement(measured)?;
    let (trials, left_out) = posterior::trials(&methods, &sweep, (model.sde(), sample.t_min), &*measurement.operator);
    left_out.iter().for_each(|line| session.terminal().say(line));
    let out = options.out.unwrap_or_else(|| Path::new("lab").join(target.file_stem().unwrap_or_default()));
    let operator = mark_of(&*measurement.operator, device);
    let of = json!({ "experiment": loaded.experiment, "operator": operator, "t_min": sample.t_min, "size": size, "trials": trials });
    let folder = Folder::create(&out)?;
    let mut journal = Journal::open(&folder, "posterior.journal", &of)?;
    let mut bench = Bench { model: &*model, law, measurement, sample, size, seed, device };
    let points = posterior::measure(&mut bench, trials, &mut journal, session.terminal())?;
    for (name, bytes) in posterior::files(&points) {
        folder.replace(name, || folder.check_in_place(), |file| file.write_all(&bytes))?;
    }
    journal.remove()?;
    print!("{}", posterior::table(&points));
    println!("{}", out.join("posterior.png").display());
    Ok(())
}

/// The law in model space, and what is sampled and measured. Error: the experiment lacks one of them.
fn known<'a>(loaded: &'a Loaded, target: &Path) -> Result<(&'a GaussianMixture, &'a Sample, &'a guidance::Spec)> {
    let lacks = |what: &str, help: &str| Error::Usage { message: format!("{} has no {what}", target.display()), help: help.into() };
    let Family::Known(_, ScoreSpec::GaussianMixture(law)) = &loaded.plan.family else {
        return Err(lacks("[score.gaussian-mixture]", "the posterior is known where the law is: give a mixture, or leave out --posterior"));
    };
    let sample = loaded.plan.sample.as_ref();
    for (key, given) in [
        ("guidance", sample.is_some_and(|sample| sample.guidance.is_some())),
        ("given", sample.is_some_and(|sample| sample.given.is_some())),
    ] {
        if given {
            let message = format!("{}: sample.{key} makes another law, and the exact posterior is of the whole one", target.display());
            return Err(Error::Usage { message, help: format!("remove sample.{key}, or leave out --posterior") });
        }
    }
    match sample.and_then(|sample| Some((sample, sample.measurement.as_ref()?))) {
        Some((sample, measured)) => Ok((law, sample, measured)),
        None => {
            Err(lacks("[sample.measurement]", "give its operator and noise; the methods are --methods's, the observations the lab's own"))
        }
    }
}
