//! A session's samples that begin on the way: with given images, or with states that they share.

use std::path::Path;

use serde_json::{Value, json};
use tch::{Kind, Tensor};

use super::codes::check_examples;
use super::samples::Asked;
use super::{Session, crc32};
use crate::data::{Split, chosen, read_array};
use crate::dynamics::Reverse;
use crate::error::{Error, Result};
use crate::run::log::Curves;
use crate::run::{Journal, Run};
use crate::sample::{Drawn, OnTheWay, Rows, Sample, Samples, Start, noised};
use crate::solver::Statistics;
use crate::tensor::to_vec;

/// What samples begin with, a row of them each.
pub enum Given<'a> {
    /// SDEdit (Meng et al. 2022, arXiv 2108.01073, algorithm 1): images [N, ...], or vectors, in data units, noised to t, for each sample anew.
    /// From t_min samples are the image, from t = 1 they know nothing of it.
    Images { images: &'a Tensor, t: f64 },
    /// The states that the first sample comes by at these times (Ho et al. 2020, arXiv 2006.11239, fig. 7): the samples of a row share their
    /// way down to there. At t = 1 they have little in common, at t_min all.
    Shared { times: &'a [f64] },
}

/// Samples whose beginnings are made at once.
const MOST: usize = 100_000;

impl Given<'_> {
    fn rows(&self) -> usize {
        match self {
            Given::Images { images, .. } => images.size()[0] as usize,
            Given::Shared { times } => times.len(),
        }
    }

    fn subject(&self) -> Value {
        match self {
            Given::Images { images, t } => json!({ "images_crc32": crc32(to_vec(images)), "from": t }),
            Given::Shared { times } => json!({ "shared": times }),
        }
    }

    /// Error: samples can't begin there, are too many, or nothing tells those of a row from each other.
    fn check(&self, spec: &Sample, each: usize) -> Result<()> {
        if self.rows() * each > MOST {
            let message = format!("{} rows of {each} samples are more than {MOST}", self.rows());
            return Err(Error::Usage { message, help: "give fewer of either".into() });
        }
        let times = match self {
            Given::Images { t, .. } => std::slice::from_ref(t),
            Given::Shared { times } => times,
        };
        if let (Given::Shared { .. }, 0.0, false) = (self, spec.dynamics.eta(), spec.solver.draws_noise()) {
            let help =
                "give --set sample.dynamics=reverse-sde, and a solver such as --set 'sample.solver={euler={grid={uniform={steps=200}}}}'";
            let message = "samples that share a state are all the same: no noise comes after it".into();
            return Err(Error::Usage { message, help: help.into() });
        }
        if spec.measurement.as_ref().is_some_and(|measurement| measurement.method.particles() > 1) {
            let help = "give another sample.measurement.method, such as moment-matching";
            return Err(Error::Usage { message: "particles begin with the prior, and these samples on the way".into(), help: help.into() });
        }
        times.iter().try_for_each(|&t| spec.check_start(t))
    }
}

fn no_step(t: f64, t_min: f64) -> Error {
    let message = format!("the solver has no step between t = {t} and t_min = {t_min}");
    Error::Usage { message, help: "give a later time, or the solver more steps".into() }
}

impl Session {
    /// Examples of a split [N, ...] in data units. Error: there are no such examples, or they can't be read.
    pub fn examples(&self, split: Split, examples: &[usize]) -> Result<Tensor> {
        let dataset = &*self.dataset(split)?;
        check_examples(dataset, examples)?;
        chosen(dataset, examples)
    }

    /// Images or vectors of a file [N, ...] in data units: an `.npy` array, or `samples` of an `.npz` archive, [N, H, W, C], of one channel
    /// [N, H, W], too, or [N, D]. Error: it is of another shape than the data, or holds what is no pixel.
    pub fn read_images(&self, path: &Path) -> Result<Tensor> {
        let (shape, values) = read_array(path, "samples")?;
        let sizes: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
        let x = Tensor::from_slice(&values).to_kind(Kind::Float).view(&sizes[..]);
        let wanted = match self.shape[..] {
            [c, h, w] => format!("[N, {h}, {w}, {c}], pixels 0 to 255"),
            _ => format!("[N, {}]", self.shape[0]),
        };
        let x = match (&shape[..], &self.shape[..]) {
            (&[_, h, w, c], of) if of == [c, h, w] => x.permute([0, 3, 1, 2]),
            (&[_, h, w], of) if of == [1, h, w] => x.unsqueeze(1),
            (&[_, d], of) if of == [d] => x,
            _ => return Err(Error::data(path, format!("has shape {shape:?}, and the data's is {wanted}"), format!("give {wanted}"))),
        };
        let pixels = self.shape.len() == 3;
        match values.iter().find(|value| !value.is_finite() || pixels && !(0.0..=255.0).contains(*value)) {
            Some(value) => Err(Error::data(path, format!("holds {value}"), format!("give finite numbers, {wanted}"))),
            None => Ok(x),
        }
    }

    /// `each` samples of each row, row by row; `spec.count` and `spec.trajectory` don't count. Error: samples can't begin so.
    pub fn sample_from(&self, spec: &Sample, given: &Given, each: usize) -> Result<Samples> {
        self.begun(spec, given, each, &self.asked(spec, None)?, &mut Journal::nowhere())
    }

    /// Saves such samples as `samples/<name>.*` in `place`, as [`sample_into`](Session::sample_into) does.
    pub fn sample_from_into(&self, spec: &Sample, (given, each): (&Given, usize), run: &Run, place: &Run, name: &str) -> Result<bool> {
        given.check(spec, each)?;
        let (mut of, asked) = self.samples_subject(&spec.on_the_way(each * given.rows()), run)?;
        of["begins_with"] = given.subject();
        let mut protocol = of["sample"].clone();
        protocol["begins_with"] = of["begins_with"].clone();
        self.save_samples(&protocol, of, (run, place, name), Curves::OfResult, |journal| self.begun(spec, given, each, &asked, journal))
    }

    fn begun(&self, spec: &Sample, given: &Given, each: usize, asked: &Asked, journal: &mut Journal<Drawn>) -> Result<Samples> {
        given.check(spec, each)?;
        match given {
            Given::Images { images, t } => self.edited(spec, (images, *t), each, asked, journal),
            Given::Shared { times } => self.sharing(spec, times, each, asked, journal),
        }
    }

    fn edited(
        &self,
        spec: &Sample,
        (images, t): (&Tensor, f64),
        each: usize,
        asked: &Asked,
        journal: &mut Journal<Drawn>,
    ) -> Result<Samples> {
        let (slope, shift) = self.affine();
        let x = (images - shift) / slope;
        let lead = self.scale().to_data(&x);
        let x = self.placed(&x, 0..x.size()[0] as u64, spec.batch)?.repeat_interleave_self_int(each as i64, 0, None::<i64>);
        let model = self.sampling_model(spec)?;
        if model.sde().pairs_by_transport() {
            let message = "the noise that is put on images here is independent of them, and under [sde.optimal-transport] it is not".into();
            return Err(Error::Usage { message, help: "give a run of another process, such as [sde.linear]".into() });
        }
        let reverse = Reverse { model: &*model, eta: spec.dynamics.eta() };
        let t = spec.solver.begins_at(&reverse, (t, spec.t_min)).ok_or_else(|| no_step(t, spec.t_min))?;
        let x = noised(&*model, &x, t, self.plan.seed);
        let spec = spec.on_the_way(x.size()[0] as usize);
        let samples = self.solved(&spec, asked, &Start::At { x: &x, t, first: 0 }, journal)?;
        let rows = Rows { t: vec![t; lead.size()[0] as usize], lead };
        Ok(Samples { rows: Some(rows), ..self.decoded(samples, spec.batch)? })
    }

    fn sharing(&self, spec: &Sample, times: &[f64], each: usize, asked: &Asked, journal: &mut Journal<Drawn>) -> Result<Samples> {
        self.one_known(spec)?;
        let first = Sample { trajectory: times.to_vec(), ..spec.on_the_way(1) };
        let way = self.solved(&first, asked, &self.prior(), journal)?.trajectory;
        let OnTheWay { states, times: reached } = way.expect("times were asked for");
        let (states, reached) = (states.squeeze_dim(1), to_vec(&reached));
        if let Some((t, _)) = times.iter().zip(&reached).find(|(_, reached)| **reached <= spec.t_min) {
            return Err(no_step(*t, spec.t_min));
        }
        let spec = spec.on_the_way(each);
        let (mut parts, mut statistics, mut classes) = (Vec::new(), Statistics::default(), None);
        for (row, &t) in reached.iter().enumerate() {
            let x = states.narrow(0, row as i64, 1).repeat_interleave_self_int(each as i64, 0, None::<i64>).to_device(self.device());
            // The first sample has the noise of place 0.
            let start = Start::At { x: &x, t, first: (1 + row * each) as u64 };
            let samples = self.solved(&spec, asked, &start, journal)?;
            parts.push(samples.x);
            statistics.extend(samples.statistics);
            classes = samples.classes;
        }
        let of = |x: Tensor, statistics| Samples { x, statistics, seconds: journal.seconds(), ..Samples::bare() };
        let lead = self.decoded(of(states, Statistics::default()), spec.batch)?.x;
        let rows = Rows { lead: self.scale().to_data(&lead), t: reached };
        // All rows are given the same.
        let classes = classes.map(|classes| classes.repeat(rows.t.len()));
        Ok(Samples { rows: Some(rows), classes, ..self.decoded(of(Tensor::cat(&parts, 0), statistics), spec.batch)? })
    }
}
