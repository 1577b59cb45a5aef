//! A session's codes: the ends of its probability flow.

use ndarray::ArrayD;
use ndarray_npy::NpzReader;
use serde::Serialize;
use serde_json::{Value, json};
use std::path::Path;
use tch::{Kind, Tensor};

use super::{Session, crc32};
use crate::data::{Dataset, Split, chosen, dequantised};
use crate::error::{Error, Result};
use crate::rng::{self, Law, Purpose};
use crate::run::log::Curves;
use crate::run::{Npz, Run};
use crate::sample::{Agreement, AgreementReport, Flow, GivenSpec, Sample, Samples, between};
use crate::solver::Cost;
use crate::space::Scale;
use crate::tensor::to_vec;

/// Codes of examples, and how well they lead back.
pub struct Codes {
    /// [N, ...], f64.
    pub codes: Tensor,
    pub report: CodesReport,
}

/// `<name>.json` of codes.
#[derive(Serialize)]
pub struct CodesReport {
    pub count: usize,
    #[serde(flatten)]
    pub cost: Cost,
    /// How far the decoded codes are off what was encoded, in model space.
    pub round_trip: RoundTrip,
    pub protocol: Value,
    /// How far another run's codes of the same examples agree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<AgreementReport>,
}

#[derive(Serialize)]
pub struct RoundTrip {
    pub largest: f64,
    pub root_mean_square: f64,
}

/// Another run whose codes of the same examples are compared.
pub struct Against<'a> {
    pub session: &'a Session,
    pub spec: &'a Sample,
    pub run: &'a Run,
}

/// The array of codes in an archive.
const CODES: &str = "codes";

impl Session {
    /// The codes of some examples of a split, by the solver of `spec`, each given what is known of it where the model is told that.
    ///
    /// Error: the flow can't be followed, or there are no such examples.
    pub fn encode(&self, spec: &Sample, split: Split, examples: &[usize]) -> Result<Codes> {
        let condition = self.conditions(split)?.map(|conditions| conditions.of(examples).to_device(self.device()));
        self.encode_given(spec, (split, examples), condition)
    }

    /// The codes on the great circle between two examples' of a split, in so many steps, all of them given the one thing that `spec` says.
    pub fn codes_between(&self, spec: &Sample, split: Split, ends: [usize; 2], steps: usize) -> Result<Tensor> {
        let condition = self.one_known(spec)?.map(|known| known.of(0..1).to_device(self.device()));
        let codes = self.encode_given(spec, (split, &ends), condition)?.codes;
        between(&codes.get(0), &codes.get(1), steps)
    }

    fn encode_given(&self, spec: &Sample, (split, examples): (Split, &[usize]), condition: Option<Tensor>) -> Result<Codes> {
        let model = self.sampling_model(spec)?;
        let x = self.points(split, examples, spec.batch)?;
        let flow = Flow::new(spec, &*model).map_err(|fault| fault.within("sample"))?.given(condition);
        let (codes, statistics) = flow.encode(&x)?;
        let off = flow.decode(&codes)?.0 - &x;
        let number = |x: Tensor| x.double_value(&[]);
        let round_trip = RoundTrip { largest: number(off.abs().max()), root_mean_square: number(off.square().mean(Kind::Double).sqrt()) };
        let protocol = json!({ "split": split, "solver": spec.solver, "t_min": spec.t_min, "path": spec.path });
        Ok(Codes { codes, report: CodesReport { count: examples.len(), cost: statistics.cost(), round_trip, protocol, against: None } })
    }

    /// Samples of codes [N, ...], given what `spec` says.
    pub fn decode(&self, spec: &Sample, codes: &Tensor) -> Result<Samples> {
        let expected: Vec<i64> = self.model_shape.iter().map(|&n| n as i64).collect();
        if codes.size().get(1..) != Some(&expected[..]) {
            let message = format!("the codes have shape {:?}, and the model's are [N, ...] with {expected:?}", codes.size());
            return Err(Error::Usage { message, help: "give codes that score-sde encode made of the same data".into() });
        }
        let model = self.sampling_model(spec)?;
        if let Some(GivenSpec::EachClass) = spec.given {
            let help = "give --set 'sample.given={classes=[3]}', or, for the codes of the first examples, \
                        --set 'sample.given={examples={split=\"test\",count=8}}'";
            let message = "codes have classes of their own, and sample.given = \"each-class\" takes turns".into();
            return Err(Error::Usage { message, help: help.into() });
        }
        let known = self.known(spec)?;
        let condition = known.as_ref().map(|known| known.of(0..codes.size()[0] as u64).to_device(self.device()));
        let flow = Flow::new(spec, &*model).map_err(|fault| fault.within("sample"))?.given(condition);
        self.decoded(flow.samples(&codes.to_device(self.device()), spec.denoise)?, spec.batch)
    }

    /// How far codes of these examples agree with those of another session, each in units of its prior's standard deviation: up to x / α and
    /// σ / α all processes with normal noise have one flow. Error: there are too few, or the two have no codes of the same data that could agree.
    pub fn agreement(&self, codes: &Tensor, split: Split, examples: &[usize], (other, spec): (&Session, &Sample)) -> Result<Agreement> {
        self.check_against(other, split, examples)?;
        // The same points, whatever noise the other would put on pixels.
        let ([slope, other_slope], [shift, other_shift]) = ([self, other].map(|of| of.affine().0), [self, other].map(|of| of.affine().1));
        let x = (self.located(split, examples)? * slope + (shift - other_shift)) / other_slope;
        let x = other.placed(&x, examples.iter().map(|&i| i as u64), spec.batch)?;
        let model = other.sampling_model(spec)?;
        let condition = other.conditions(split)?.map(|conditions| conditions.of(examples).to_device(other.device()));
        let flow = Flow::new(spec, &*model).map_err(|fault| fault.within("sample"))?.given(condition);
        let (of_other, _) = flow.encode(&x)?;
        Ok(Agreement::of(&(codes / self.model()?.sde().prior_std()), &(of_other / model.sde().prior_std())))
    }

    /// Error: their codes of these examples say nothing.
    fn check_against(&self, other: &Session, split: Split, examples: &[usize]) -> Result<()> {
        let refused = |message: &str, help: &str| Err(Error::Usage { message: message.into(), help: help.into() });
        if examples.len() < Agreement::LEAST {
            let help = format!("give --count, at least {}", Agreement::LEAST);
            return refused("there are too few examples for a correlation with an error", &help);
        }
        let why = |session: &Session| Ok::<_, Error>(session.model()?.sde().without_score());
        if let Some(why) = why(self)?.or(why(other)?) {
            return refused(&format!("the flow is another than that of the score: {why}"), "give two runs of scores");
        }
        if self.shape != other.shape || self.examples(split, examples)? != other.examples(split, examples)? {
            return refused("the two runs have other data", "give a run on the same data");
        }
        if self.model_shape != other.model_shape {
            return refused("the two runs have latent variables of other shapes", "give a run whose codes have the same shape");
        }
        Ok(())
    }

    /// Saves codes as `<name>.npz` and `<name>.json` of a run, compared with those of another one, if that is asked for; false where these are
    /// there already.
    pub fn encode_into(
        &self,
        spec: &Sample,
        (split, examples): (Split, &[usize]),
        against: Option<&Against>,
        run: &Run,
        (place, name): (&Run, &str),
    ) -> Result<bool> {
        let mut of = self.codes_subject(spec, run)?;
        of["split"] = json!(split);
        of["examples"] = json!(examples);
        if let Some(Against { session, spec, run }) = against {
            of["against"] = session.codes_subject(spec, run)?;
        }
        if place.is_done(name, &of)? {
            return Ok(false);
        }
        if let Some(Against { session, .. }) = against {
            self.check_against(session, split, examples)?;
        }
        let Codes { codes, mut report } = self.encode(spec, split, examples)?;
        let mut archive = Npz::new();
        archive.add(CODES, &sizes(&codes), &to_vec(&codes));
        archive.column("index", &examples.iter().map(|&i| i as u64).collect::<Vec<_>>());
        let RoundTrip { largest, root_mean_square } = report.round_trip;
        self.terminal().say(&format!("{} codes; back again {root_mean_square:.1e} off, at most {largest:.1e}", report.count));
        if let Some(Against { session, spec, .. }) = against {
            let agreement = self.agreement(&codes, split, examples, (session, spec))?;
            for (key, each) in [("correlation", &agreement.correlation), ("distance", &agreement.distance)] {
                archive.add(key, &sizes(each), &to_vec(each));
            }
            self.terminal().say(&agreement.report.line());
            report.against = Some(agreement.report);
        }
        let mut product = place.product(name, of);
        product.write(&format!("{name}.npz"), &archive.finish())?;
        product.write_json(&format!("{name}.json"), &report)?;
        product.finish()?;
        Ok(true)
    }

    /// What codes depend on but for their examples.
    fn codes_subject(&self, spec: &Sample, run: &Run) -> Result<Value> {
        let sample = json!({ "solver": spec.solver, "t_min": spec.t_min, "path": spec.path, "thresholding": spec.thresholding });
        Ok(json!({ "seed": self.plan.seed, "weights": self.average(run)?, "sample": sample }))
    }

    /// Saves the samples of codes as `samples/<name>.*`.
    pub fn decode_into(&self, spec: &Sample, codes: &Tensor, run: &Run, place: &Run, name: &str) -> Result<bool> {
        let Sample { solver, t_min, path, denoise, thresholding, given, .. } = spec;
        let sample =
            json!({ "solver": solver, "t_min": t_min, "path": path, "denoise": denoise, "thresholding": thresholding, "given": given });
        let mut of =
            json!({ "seed": self.plan.seed, "weights": self.average(run)?, "sample": sample, "codes_crc32": crc32(to_vec(codes)) });
        of["given_crc32"] = self.known(spec)?.and_then(|known| known.rows().map(|rows| crc32(to_vec(rows)))).into();
        self.save_samples(&sample, of, (run, place, name), Curves::OfResult, |_| self.decode(spec, codes))
    }

    /// Examples as points of the score's space, f64; `batch` latent variables at once.
    pub fn points(&self, split: Split, examples: &[usize], batch: usize) -> Result<Tensor> {
        self.placed(&self.located(split, examples)?, examples.iter().map(|&i| i as u64), batch)
    }

    /// Examples as points of the data's model space, as training sees them but not mirrored, f64.
    fn located(&self, split: Split, examples: &[usize]) -> Result<Tensor> {
        let (dataset, scale) = (&*self.dataset(split)?, self.scale());
        check_examples(dataset, examples)?;
        let places: Vec<(usize, usize)> = examples.iter().map(|&i| (i, 0)).collect();
        Ok(match scale {
            Scale::Pixels { dequantise: false, .. } => scale.centres(&chosen(dataset, examples)?),
            _ => dequantised(dataset, scale, &places, self.plan.seed)?,
        })
    }

    /// Points x [N, ...] of the data's model space in the score's: themselves, or latent variables with the noise of these places, `batch` at
    /// once.
    pub(super) fn placed(&self, x: &Tensor, places: impl Iterator<Item = u64>, batch: usize) -> Result<Tensor> {
        let x = x.to_device(self.device());
        let Some(space) = self.latent()? else { return Ok(x) };
        let places: Vec<(u64, u64)> = places.map(|i| (i, 0)).collect();
        let parts = x.split(batch as i64, 0).into_iter().zip(places.chunks(batch)).map(|(x, places)| {
            let noise = rng::rows_at(Law::Gaussian, self.plan.seed, Purpose::Importance, places, space.shape(), self.device());
            space.draw(&x, &noise).to_kind(Kind::Double)
        });
        Ok(Tensor::cat(&parts.collect::<Vec<_>>(), 0))
    }
}

fn sizes(x: &Tensor) -> Vec<usize> {
    x.size().iter().map(|&n| n as usize).collect()
}

/// Error: a split has no such example.
pub(super) fn check_examples(dataset: &dyn Dataset, examples: &[usize]) -> Result<()> {
    let Some(beyond) = examples.iter().find(|&&i| i >= dataset.len()) else { return Ok(()) };
    let message = format!("there is no example {beyond}: the split has {}, counted from 0", dataset.len());
    Err(Error::Usage { message, help: format!("give numbers up to {}", dataset.len() - 1) })
}

/// The codes in an archive. Error: there is none, or it holds none.
pub fn read_codes(path: &Path) -> Result<Tensor> {
    let file = crate::file::open(path).map_err(|error| Error::io("open", path, error))?;
    let wrong = |message: String| Error::data(path, message, "give the .npz that score-sde encode wrote");
    let mut archive = NpzReader::new(file).map_err(|error| wrong(format!("is no .npz archive: {error}")))?;
    let codes: ArrayD<f64> = archive.by_name(CODES).map_err(|error| wrong(format!("holds no codes: {error}")))?;
    let shape: Vec<i64> = codes.shape().iter().map(|&n| n as i64).collect();
    let values: Vec<f64> = codes.iter().copied().collect();
    if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
        return Err(wrong("holds no codes that are finite".into()));
    }
    Ok(Tensor::from_slice(&values).view(shape.as_slice()))
}
