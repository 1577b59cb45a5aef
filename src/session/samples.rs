//! A session draws samples of a score.

use super::{Session, crc32};
use crate::data::{self, Split};
use crate::dynamics::Reverse;
use crate::error::Result;
use crate::guidance::{Observed, Way};
use crate::measurement::{Measurement, mark_of};
use crate::run::log::Curves;
use crate::run::{Journal, Run, journal};
use crate::sample::{self, Drawn, Known, Pictures, Sample, Samples, Seen, Start};
use crate::tensor::to_vec;
use image::RgbImage;
use serde::Serialize;
use serde_json::{Value, json};

/// What samples are drawn with, beside their table.
pub(super) struct Asked {
    known: Option<Known>,
    fit: Option<Fit>,
    guide: Option<Session>,
    classifier: Option<Session>,
}

/// What samples have to fit.
struct Fit {
    /// In model space.
    measurement: Measurement,
    seen: Seen,
}

impl Session {
    /// Draws samples.
    pub fn sample(&self, spec: &Sample) -> Result<Samples> {
        let samples = self.solved(spec, &self.asked(spec, None)?, &self.prior(), &mut Journal::nowhere())?;
        self.decoded(samples, spec.batch)
    }

    /// Draws samples with the weights of `run` and saves them as `samples/<name>.*` in `place`; killed and called again, it goes on where it
    /// was. Their points are among the curves before they count as done. Returns false where they are there already.
    ///
    /// Error: there is a result of this name with other settings.
    pub fn sample_into(&self, spec: &Sample, run: &Run, place: &Run, name: &str, curves: Curves) -> Result<bool> {
        let (of, asked) = self.samples_subject(spec, run)?;
        self.save_samples(spec, of, (run, place, name), curves, |journal| {
            self.decoded(self.solved(spec, &asked, &self.prior(), journal)?, spec.batch)
        })
    }

    /// The part that another process than rank 0 has in [`sample_into`](Session::sample_into).
    pub fn help_sample(&self, spec: &Sample, run: &Run) -> Result<()> {
        let (_, asked) = self.samples_subject(spec, run)?;
        self.solved(spec, &asked, &self.prior(), &mut Journal::nowhere().among(&self.ranks)).map(drop)
    }

    /// All that samples depend on, and what they are drawn with.
    pub(super) fn samples_subject(&self, spec: &Sample, run: &Run) -> Result<(Value, Asked)> {
        let mut of = self.with_variance(spec.solver.variance(), run, sample::subject(spec, self.plan.seed, self.average(run)?))?;
        let asked = self.asked(spec, Some(run))?;
        let Asked { known, fit, guide, classifier } = &asked;
        if let Some(guide) = guide {
            of["guide"] = json!(guide.average(run)?);
        }
        if let Some(classifier) = classifier {
            of["classifier"] = json!(classifier.average(run)?);
        }
        if let Some(told) = known.as_ref().and_then(Known::rows) {
            of["given_crc32"] = crc32(to_vec(told)).into();
        }
        if let Some(Fit { measurement: Measurement { operator, .. }, seen: Seen { y, .. } }) = fit {
            of["measurement_crc32"] = crc32([to_vec(y), mark_of(&**operator, y.device())].concat()).into();
        }
        Ok((of, asked))
    }

    /// Saves the samples that `draw` makes by the table `spec`, which depend on `of`.
    pub(super) fn save_samples(
        &self,
        spec: &impl Serialize,
        of: Value,
        (run, place, name): (&Run, &Run, &str),
        curves: Curves,
        draw: impl FnOnce(&mut Journal<Drawn>) -> Result<Samples>,
    ) -> Result<bool> {
        let (called, name) = (name, format!("samples/{name}"));
        let kept = format!("{name}.journal");
        let done = place.is_done(&name, &of)?;
        self.ranks.want(!done)?;
        if done {
            journal::discard(place.folder(), &kept)?;
            return Ok(false);
        }
        let mut journal = self.journal(place, &kept, &of)?;
        let samples = draw(&mut journal)?;
        let pictures = self.pictures(&samples);
        let mut product = place.product(&name, of);
        samples.save(&mut product, &name, self.scale(), spec, &pictures)?;
        curves.add(&samples.points(self.step(run)?, pictures), &mut product, called)?;
        product.finish()?;
        journal.remove()?;
        Ok(true)
    }

    /// What the table asks for; `run` is the session's own.
    pub(super) fn asked(&self, spec: &Sample, run: Option<&Run>) -> Result<Asked> {
        let (known, fit) = (self.known(spec)?, self.fit(spec)?);
        let classifier = if matches!(known, Some(Known::Classes { .. })) { self.classifier(run)? } else { None };
        Ok(Asked { known, fit, guide: self.guide(spec, run)?, classifier })
    }

    /// Draws samples with the weights of `run`, which are taken, without a look at whether a classifier knows their classes: that is trained
    /// later.
    pub(super) fn sample_early(&self, spec: &Sample, run: &Run) -> Result<Samples> {
        let asked = Asked { known: self.known(spec)?, fit: self.fit(spec)?, guide: self.guide(spec, Some(run))?, classifier: None };
        self.decoded(self.solved(spec, &asked, &self.prior(), &mut Journal::nowhere())?, spec.batch)
    }

    /// What samples have to fit, if anything.
    fn fit(&self, spec: &Sample) -> Result<Option<Fit>> {
        let Some(measured) = &spec.measurement else { return Ok(None) };
        let Observed { measurement, example } = self.observed(measured)?;
        let back = measurement.operator.adjoint(&measurement.y.unsqueeze(0)) / measurement.operator.gram().unwrap_or(1.0);
        let seen = Seen { y: measurement.y.copy(), back, example };
        let (slope, shift) = self.affine();
        Ok(Some(Fit { measurement: measurement.in_model_space(&self.shape, slope, shift), seen }))
    }

    /// Where samples of the data's law begin.
    pub(super) fn prior(&self) -> Start<'_> {
        Start::Prior { shape: &self.model_shape, device: self.device() }
    }

    /// Samples from `start`, as the model's space has them.
    pub(super) fn solved(&self, spec: &Sample, asked: &Asked, start: &Start, journal: &mut Journal<Drawn>) -> Result<Samples> {
        let Asked { known, fit, guide, classifier } = asked;
        self.check_variance(spec.solver.variance())?;
        let guide = guide.as_ref().map(Session::model).transpose()?;
        let model = self.guided(spec, guide, classifier.as_ref())?;
        let model = self.thresholded(model, spec.thresholding);
        let way = match (&spec.measurement, fit) {
            (Some(measured), Some(Fit { measurement, .. })) => {
                let way = Way::new(&*model, measurement, &measured.method, self.device());
                way.map_err(|fault| fault.within("sample.measurement"))?
            }
            _ => Way::Free(&*model),
        };
        let last = spec.solver.last_start(&Reverse { model: way.model(), eta: spec.dynamics.eta() });
        let horizon = Some(last).filter(|last| *last < start.time());
        if let Some(t) = horizon {
            self.terminal.say(&format!("samples begin at t = {t:.4}: the solver divides by the signal, of which t = 1 has none"));
        }
        let subject = sample::Subject { way: &way, known: known.as_ref() };
        let drawn = sample::sample(spec, self.plan.seed, subject, start, journal, &self.terminal)?;
        let classes = known.as_ref().and_then(|known| (0..spec.count as u64).map(|row| known.class(row)).collect());
        let samples = Samples { classes, seen: fit.as_ref().map(|fit| fit.seen.shallow_clone()), ..drawn };
        let accuracy = classifier.as_ref().map(|classifier| classifier.accuracy(&samples, spec.batch)).transpose()?;
        Ok(Samples { accuracy: accuracy.flatten(), horizon, ..samples })
    }

    /// Samples of a latent space as samples of the data, `batch` at once; others as they are.
    pub(super) fn decoded(&self, samples: Samples, batch: usize) -> Result<Samples> {
        Ok(match self.latent()? {
            Some(space) => samples.decoded(space, self.plan.seed, batch),
            None => samples,
        })
    }

    /// All that is shown of some samples.
    pub fn pictures(&self, samples: &Samples) -> Pictures {
        Pictures { samples: self.picture(samples), film: samples.film(self.scale()) }
    }

    /// The picture of some samples: images as a grid, vectors beside as many points of the data, where these can be read.
    pub fn picture(&self, samples: &Samples) -> RgbImage {
        let points = || {
            let set = self.dataset(Split::Train)?;
            data::examples(&*set, 0..(samples.x.size()[0] as usize).min(set.len()))
        };
        let beside = if self.shape.len() == 1 { points().ok() } else { None };
        let beside = beside.unwrap_or_else(|| samples.x.narrow(0, 0, 0));
        samples.picture(self.scale(), &beside)
    }
}
