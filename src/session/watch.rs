//! What a session shows of a checkpoint while training goes on.

use image::RgbImage;
use tch::{Device, Kind, Tensor, no_grad};

use super::Session;
use crate::data::Split;
use crate::error::Result;
use crate::experiment::Family;
use crate::law::noise_rows;
use crate::model::{At, Given, Model as _};
use crate::plot;
use crate::progress::Terminal;
use crate::rng::Purpose;
use crate::run::Run;
use crate::run::checkpoint::Choice;
use crate::sample::{Draw, Sample, Samples, first_two};
use crate::sde::Level;

/// Samples that a picture shows at most, of images and of vectors, and examples that it shows denoised.
const SAMPLES: [usize; 2] = [64, 1000];
const EXAMPLES: [usize; 2] = [16, 1000];
/// ln α²/σ² of the noise that these are denoised from: a fifth of the signal, as much, five times as much.
const LOG_SNRS: [f64; 3] = [3.0, 0.0, -3.0];

impl Session {
    /// A session of the averaged weights of a checkpoint that says nothing while it works.
    pub fn of_checkpoint(&self, run: &Run, step: u64) -> Result<Session> {
        let session = Session { terminal: Terminal::new(true), ..self.again() };
        session.average_of(run, Choice::Step(step))?;
        Ok(session)
    }

    /// One of two numbers: that for images, or for vectors.
    fn of_kind<T: Copy>(&self, [images, vectors]: [T; 2]) -> T {
        if self.shape.len() == 1 { vectors } else { images }
    }

    /// The first of the samples that the plan draws, before any classifier is trained; none where it draws none. They begin at the same
    /// noise for every checkpoint.
    pub fn first_samples(&self, run: &Run) -> Result<Option<Samples>> {
        let most = self.of_kind(SAMPLES);
        match (&self.plan.sample, &self.plan.draw) {
            (Some(spec), _) => {
                let spec = Sample { count: spec.count.min(most), trajectory: Vec::new(), ..spec.clone() };
                self.sample_early(&spec, run).map(Some)
            }
            (None, Some(spec)) => self.draw(&Draw { count: spec.count.min(most), ..spec.clone() }).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// The first test examples and, beside them, E[x_0 | x_t] of their noised states at three levels, as a picture: a row of images each, or a
    /// scatter plot for each level. None where there is no score. Every checkpoint gets the same noise.
    pub fn denoised(&self) -> Result<Option<RgbImage>> {
        let Family::Score(learned) = &self.plan.family else { return Ok(None) };
        let count = self.of_kind(EXAMPLES).min(self.dataset(Split::Test)?.len());
        let examples: Vec<usize> = (0..count).collect();
        let x = self.points(Split::Test, &examples, count)?.to_kind(Kind::Float);
        let condition = self.conditions(Split::Test)?.map(|conditions| conditions.of(&examples).to_device(self.device()));
        let model = Given { model: &*self.model()?, condition };
        let sde = learned.sde.get();
        let z = noise_rows(sde.noise(), self.plan.seed, Purpose::Watched, 0..count as u64, 0, &x.size()[1..], self.device());
        let t_min = learned.training.as_ref().map_or(0.0, |(matching, _)| matching.t_min);
        let denoised = LOG_SNRS.map(|log_snr| {
            let t = sde.time_of_log_snr(log_snr).clamp(t_min, model.last_time());
            let Level { t, alpha, sigma } = model.level(t);
            no_grad(|| model.data(&At::whole(&(&x * alpha + &z * sigma), &vec![t; count])))
        });
        let all = Samples { x: Tensor::cat(&std::iter::once(x).chain(denoised).collect::<Vec<_>>(), 0), ..Samples::bare() };
        let all = self.scale().to_data(&self.decoded(all, count)?.x).to_device(Device::Cpu);
        Ok(Some(columns(&all.split(count as i64, 0))))
    }
}

/// Examples [n, ...] in data units, and what was denoised of them: images in rows, two of each of which stand side by side; or a scatter plot each.
fn columns(x: &[Tensor]) -> RgbImage {
    match x[0].size()[..] {
        [n, c, h, w] => {
            let pixels = Tensor::stack(x, 1).contiguous().view(-1);
            let pixels: Vec<u8> = Vec::try_from(pixels).expect("pixels are bytes");
            let columns = x.len();
            plot::strips(&pixels, &[columns * n as usize, c as usize, h as usize, w as usize], 2 * columns)
        }
        _ => {
            let titles = std::iter::once("data".to_owned()).chain(LOG_SNRS.map(|log_snr| format!("denoised from ln α²/σ² = {log_snr}")));
            plot::scatters_alike(&titles.zip(x.iter().map(first_two)).collect::<Vec<_>>(), 2)
        }
    }
}
