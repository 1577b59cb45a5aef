//! `score-sde lab --posterior`: what makes samples fit a measurement, judged by the exact posterior, or by examples of the data.

use std::io::Write;
use std::path::Path;

use serde_json::json;

use super::lab::Arguments;
use crate::data::Split;
use crate::error::{Error, Result};
use crate::experiment::{Family, Loaded};
use crate::guidance;
use crate::lab::posterior::{self, Bench, Examples, Judge, Pairs};
use crate::measurement::{Measurement, mark_of};
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
    let (run, loaded) = options.open()?;
    let (sample, measured) = asked(&loaded, &options.target)?;
    let sample = &Sample { t_min: options.t_min(Some(sample))?, ..sample.clone() };
    let size = [options.count.unwrap_or(200) as usize, options.draws];
    let particles = methods.iter().map(|(_, method)| method.particles()).max().unwrap_or(1);
    options.machine.holds(&loaded.posterior_needs(size, posterior::at_once(size[1]), particles))?;
    let session = Session::new(&loaded, options.machine.clone().into());
    let weights = run.as_ref().map(|run| session.average(run)).transpose()?.flatten();
    let (model, seed, device) = (session.model()?, session.plan().seed, session.device());
    let measurement = session.measurement(measured)?;
    let judge = judge(&session, &options, &measurement, size)?;
    let levels = model.chain().map(|chain| chain.len());
    let (trials, left_out) = posterior::trials(&methods, &sweep, (model.sde(), sample.t_min, levels), &*measurement.operator);
    left_out.iter().for_each(|line| session.terminal().say(line));
    let out = options.folder(run.as_ref());
    let operator = mark_of(&*measurement.operator, device);
    let experiment = &loaded.experiment;
    let of = json!({
        "experiment": experiment, "weights": weights, "operator": operator, "t_min": sample.t_min, "size": size, "trials": trials
    });
    let folder = Folder::create(&out)?;
    let mut journal = Journal::open(&folder, "posterior.journal", &of)?;
    let mut bench = Bench { model: &*model, shape: session.shape(), measurement, sample, size, seed, device };
    let points = posterior::measure(&mut bench, &*judge, trials, &mut journal, session.terminal())?;
    for (name, bytes) in posterior::files(&points) {
        folder.replace(name, || folder.check_in_place(), |file| file.write_all(&bytes))?;
    }
    journal.remove()?;
    if options.form.json {
        return options.form.print(&posterior::as_json(&points));
    }
    print!("{}", posterior::table(&points));
    println!("{}", out.join("posterior.png").display());
    Ok(())
}

/// What is sampled and measured. Error: the experiment lacks one of them, or samples are of another law than the data's.
fn asked<'a>(loaded: &'a Loaded, target: &Path) -> Result<(&'a Sample, &'a guidance::Spec)> {
    let plan = &loaded.plan;
    let usage = |message: String, help: &str| Err(Error::Usage { message: format!("{}: {message}", target.display()), help: help.into() });
    let Some((sample, measured)) = plan.sample.as_ref().and_then(|sample| Some((sample, sample.measurement.as_ref()?))) else {
        let help = "give its operator and noise; the methods are --methods's, the observations the lab's own";
        return usage("there is no [sample.measurement]".into(), help);
    };
    for (key, given) in [("guidance", sample.guidance.is_some()), ("given", sample.given.is_some())] {
        if given {
            let message = format!("sample.{key} makes another law, and the posterior is judged by the whole one");
            return usage(message, &format!("remove sample.{key}, or leave out --posterior"));
        }
    }
    Ok((sample, measured))
}

/// The exact posteriors of a known mixture, or test examples. Error: there is no score, or there are too few examples.
fn judge(session: &Session, options: &Arguments, measurement: &Measurement, size: [usize; 2]) -> Result<Box<dyn Judge>> {
    let (seed, device) = (posterior::seed_of_pairs(session.plan().seed), session.device());
    match &session.plan().family {
        Family::Known(_, ScoreSpec::GaussianMixture(law)) => Ok(Box::new(Pairs::new(law, measurement, size, seed, device))),
        _ if !options.target.is_dir() => Err(options.untrained()),
        _ => {
            let examples: Vec<usize> = (0..size[0]).collect();
            let truth = session.points(Split::Test, &examples, size[0])?;
            Ok(Box::new(Examples::new(&truth, measurement, seed)))
        }
    }
}
