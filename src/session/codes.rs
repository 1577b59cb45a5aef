//! A session's codes: the ends of its probability flow.

use image::RgbImage;
use ndarray::ArrayD;
use ndarray_npy::NpzReader;
use serde::Serialize;
use serde_json::{Value, json};
use std::path::Path;
use tch::{Kind, Tensor};

use super::{Session, crc32};
use crate::data::{Split, chosen, dequantised};
use crate::error::{Error, Result};
use crate::rng::{self, Law, Purpose};
use crate::run::{Npz, Run};
use crate::sample::{Flow, Sample, Samples};
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
}

#[derive(Serialize)]
pub struct RoundTrip {
    pub largest: f64,
    pub root_mean_square: f64,
}

/// The array of codes in an archive.
const CODES: &str = "codes";

impl Session {
    /// The codes of some examples of a split, by the solver of `spec`. Error: the flow can't be followed, or there are no such examples.
    pub fn encode(&self, spec: &Sample, split: Split, examples: &[usize]) -> Result<Codes> {
        let model = self.sampling_model(spec.thresholding)?;
        let flow = Flow::new(spec, &*model).map_err(|fault| fault.within("sample"))?;
        let x = self.points(split, examples, spec.batch)?;
        let (codes, statistics) = flow.encode(&x)?;
        let off = flow.decode(&codes)?.0 - &x;
        let number = |x: Tensor| x.double_value(&[]);
        let round_trip = RoundTrip { largest: number(off.abs().max()), root_mean_square: number(off.square().mean(Kind::Double).sqrt()) };
        let protocol = json!({ "split": split, "solver": spec.solver, "t_min": spec.t_min });
        Ok(Codes { codes, report: CodesReport { count: examples.len(), cost: statistics.cost(), round_trip, protocol } })
    }

    /// Samples of codes [N, ...].
    pub fn decode(&self, spec: &Sample, codes: &Tensor) -> Result<Samples> {
        let expected: Vec<i64> = self.model_shape.iter().map(|&n| n as i64).collect();
        if codes.size().get(1..) != Some(&expected[..]) {
            let message = format!("the codes have shape {:?}, and the model's are [N, ...] with {expected:?}", codes.size());
            return Err(Error::Usage { message, help: "give codes that score-sde encode made of the same data".into() });
        }
        let model = self.sampling_model(spec.thresholding)?;
        let flow = Flow::new(spec, &*model).map_err(|fault| fault.within("sample"))?;
        let samples = flow.samples(&codes.to_device(self.device()), spec.denoise)?;
        Ok(match self.latent()? {
            Some(space) => samples.decoded(space, self.plan.seed, spec.batch),
            None => samples,
        })
    }

    /// Saves codes as `<name>.npz` and `<name>.json` of a run; false where these are there already.
    pub fn encode_into(&self, spec: &Sample, split: Split, examples: &[usize], run: &Run, place: &Run, name: &str) -> Result<bool> {
        let sample = json!({ "solver": spec.solver, "t_min": spec.t_min, "thresholding": spec.thresholding });
        let of = json!({ "seed": self.plan.seed, "weights": self.average(run)?, "sample": sample, "split": split, "examples": examples });
        if place.is_done(name, &of)? {
            return Ok(false);
        }
        let Codes { codes, report } = self.encode(spec, split, examples)?;
        let shape: Vec<usize> = codes.size().iter().map(|&n| n as usize).collect();
        let mut archive = Npz::new();
        archive.add(CODES, &shape, &to_vec(&codes));
        archive.column("index", &examples.iter().map(|&i| i as u64).collect::<Vec<_>>());
        let mut product = place.product(name, of);
        product.write(&format!("{name}.npz"), &archive.finish())?;
        product.write_json(&format!("{name}.json"), &report)?;
        product.finish()?;
        let RoundTrip { largest, root_mean_square } = report.round_trip;
        self.terminal().say(&format!("{} codes; back again {root_mean_square:.1e} off, at most {largest:.1e}", report.count));
        Ok(true)
    }

    /// Saves the samples of codes as `samples/<name>.*`.
    pub fn decode_into(&self, spec: &Sample, codes: &Tensor, run: &Run, place: &Run, name: &str) -> Result<bool> {
        let Sample { solver, t_min, denoise, thresholding, .. } = spec;
        let sample = json!({ "solver": solver, "t_min": t_min, "denoise": denoise, "thresholding": thresholding });
        let of = json!({ "seed": self.plan.seed, "weights": self.average(run)?, "sample": sample, "codes_crc32": crc32(to_vec(codes)) });
        self.save_samples(&sample, of, (place, name), |_: &RgbImage| Ok(()), |_| self.decode(spec, codes))
    }

    /// Examples as points of the model's space, as training sees them but not mirrored, f64; `batch` at once.
    pub fn points(&self, split: Split, examples: &[usize], batch: usize) -> Result<Tensor> {
        let dataset = &*self.dataset(split)?;
        if let Some(beyond) = examples.iter().find(|&&i| i >= dataset.len()) {
            let message = format!("there is no example {beyond}: the split has {}, counted from 0", dataset.len());
            return Err(Error::Usage { message, help: format!("give numbers up to {}", dataset.len() - 1) });
        }
        let (scale, latent) = (self.scale(), self.latent()?);
        let parts = examples.chunks(batch).map(|examples| {
            let places: Vec<(usize, usize)> = examples.iter().map(|&i| (i, 0)).collect();
            let x = match scale {
                Scale::Pixels { dequantise: false, .. } => scale.centres(&chosen(dataset, examples)),
                _ => dequantised(dataset, scale, &places, self.plan.seed),
            };
            let x = x.to_device(self.device());
            latent.map_or_else(
                || x.copy(),
                |space| {
                    let places: Vec<(u64, u64)> = examples.iter().map(|&i| (i as u64, 0)).collect();
                    let noise = rng::rows_at(Law::Gaussian, self.plan.seed, Purpose::Importance, &places, space.shape(), self.device());
                    space.draw(&x, &noise).to_kind(Kind::Double)
                },
            )
        });
        Ok(Tensor::cat(&parts.collect::<Vec<_>>(), 0))
    }
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
