//! A session draws samples of a score.

use image::RgbImage;
use serde::Serialize;
use serde_json::{Value, json};
use tch::{Kind, Tensor};

use super::{Session, crc32};
use crate::data::{self, Split};
use crate::error::{Error, Result};
use crate::guidance::{Observed, Posterior, Replacement};
use crate::measurement::Measurement;
use crate::model::Model;
use crate::run::{Journal, Run, journal};
use crate::sample::{self, Drawn, Known, Sample, Samples, Seen};
use crate::solver::Constraint;
use crate::tensor::to_vec;

/// What samples are drawn with, beside their table.
struct Asked {
    known: Option<Known>,
    observed: Option<Observed>,
    guide: Option<Session>,
    classifier: Option<Session>,
}

impl Session {
    /// Draws samples.
    pub fn sample(&self, spec: &Sample) -> Result<Samples> {
        let asked = self.asked(spec, None)?;
        self.solved(spec, asked, &mut Journal::nowhere())
    }

    /// Draws samples with the weights of `run` and saves them as `samples/<name>.*` in `place`; killed and called again, it goes on where it
    /// was. `show` gets their picture before they count as done. Returns false where they are there already.
    ///
    /// Error: there is a result of this name with other settings.
    pub fn sample_into(
        &self,
        spec: &Sample,
        run: &Run,
        place: &Run,
        name: &str,
        show: impl FnOnce(&RgbImage) -> Result<()>,
    ) -> Result<bool> {
        let mut of = self.with_variance(spec.solver.variance(), run, sample::subject(spec, self.plan.seed, self.average(run)?))?;
        let asked = self.asked(spec, Some(run))?;
        let Asked { known, observed, guide, classifier } = &asked;
        if let Some(guide) = guide {
            of["guide"] = json!(guide.average(run)?);
        }
        if let Some(classifier) = classifier {
            of["classifier"] = json!(classifier.average(run)?);
        }
        if let Some(Known::One(told)) = known {
            of["given_crc32"] = crc32(told.iter().copied().map(f64::from).collect()).into();
        }
        if let Some(Observed { measurement: Measurement { operator, y, .. }, .. }) = observed {
            // A shows in what it makes of one vector, whose numbers are all different.
            let image = operator.adjoint(&(Tensor::arange(operator.rows(), (Kind::Double, y.device())) + 1.0).sqrt().unsqueeze(0));
            of["measurement_crc32"] = crc32([to_vec(y), to_vec(&image)].concat()).into();
        }
        self.save_samples(spec, of, (place, name), show, |journal| self.solved(spec, asked, journal))
    }

    /// Saves the samples that `draw` makes by the table `spec`, which depend on `of`.
    pub(super) fn save_samples(
        &self,
        spec: &impl Serialize,
        of: Value,
        (place, name): (&Run, &str),
        show: impl FnOnce(&RgbImage) -> Result<()>,
        draw: impl FnOnce(&mut Journal<Drawn>) -> Result<Samples>,
    ) -> Result<bool> {
        let name = format!("samples/{name}");
        let kept = format!("{name}.journal");
        if place.is_done(&name, &of)? {
            journal::discard(place.folder(), &kept)?;
            return Ok(false);
        }
        let mut journal = Journal::open(place.folder(), &kept, &of)?;
        let samples = draw(&mut journal)?;
        let picture = self.picture(&samples);
        let mut product = place.product(&name, of);
        samples.save(&mut product, &name, self.scale(), spec, &picture)?;
        show(&picture)?;
        product.finish()?;
        journal.remove()?;
        Ok(true)
    }

    /// What the table asks for; `run` is the session's own.
    fn asked(&self, spec: &Sample, run: Option<&Run>) -> Result<Asked> {
        let (known, observed) = (self.known(spec)?, self.observation(spec)?);
        let classifier = if matches!(known, Some(Known::Classes { .. })) { self.classifier(run)? } else { None };
        Ok(Asked { known, observed, guide: self.guide(spec, run)?, classifier })
    }

    /// What samples have to fit, if anything.
    fn observation(&self, spec: &Sample) -> Result<Option<Observed>> {
        spec.measurement.as_ref().map(|measured| self.observed(measured)).transpose()
    }

    fn solved(&self, spec: &Sample, Asked { known, observed, guide, classifier }: Asked, journal: &mut Journal<Drawn>) -> Result<Samples> {
        self.check_variance(spec.solver.variance())?;
        let guide = guide.as_ref().map(Session::model).transpose()?;
        let model = self.guided(spec, guide, classifier.as_ref())?;
        let model = self.thresholded(model, spec.thresholding);
        let draw = |model: &dyn Model, constraint: Option<&dyn Constraint>, journal| {
            let subject = sample::Subject { model, constraint, known: known.as_ref() };
            let drawn = sample::sample(spec, self.plan.seed, subject, &self.model_shape, self.device(), journal, &self.terminal)?;
            let classes = known.as_ref().and_then(|known| (0..spec.count as u64).map(|row| known.class(row)).collect());
            let samples = Samples { classes, ..drawn };
            let accuracy = classifier.as_ref().map(|classifier| classifier.accuracy(&samples, spec.batch)).transpose()?;
            Ok::<_, Error>(Samples { accuracy: accuracy.flatten(), ..samples })
        };
        if let (Some(measured), Some(Observed { measurement, example })) = (&spec.measurement, observed) {
            let (slope, shift) = self.affine();
            let back = measurement.operator.adjoint(&measurement.y.unsqueeze(0)) / measurement.operator.gram().unwrap_or(1.0);
            let seen = Seen { y: measurement.y.copy(), back, example };
            let measurement = &measurement.in_model_space(&self.shape, slope, shift);
            let replacement = measured.method.replaces().and_then(|visits| Replacement::new(measurement, visits));
            let constraint = replacement.as_ref().map(|replacement| replacement as &dyn Constraint);
            let posterior = Posterior::new(&*model, measurement, &measured.method, &self.shape, self.device());
            let model = posterior.as_ref().map_or(&*model, |posterior| posterior as &dyn Model);
            return Ok(Samples { seen: Some(seen), ..draw(model, constraint, journal)? });
        }
        let samples = draw(&*model, None, journal)?;
        Ok(match self.latent()? {
            Some(space) => samples.decoded(space, self.plan.seed, spec.batch),
            None => samples,
        })
    }

    /// The picture of some samples: images as a grid, vectors beside as many points of the data, where these can be opened.
    pub fn picture(&self, samples: &Samples) -> RgbImage {
        let set = if self.shape.len() == 1 { self.dataset(Split::Train).ok() } else { None };
        let beside = match set {
            Some(set) => data::examples(&*set, 0..(samples.x.size()[0] as usize).min(set.len())),
            None => samples.x.narrow(0, 0, 0),
        };
        samples.picture(self.scale(), &beside)
    }
}
