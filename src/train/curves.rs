//! What a point of training's curves has: numbers, a histogram, and now and then a picture.

use image::RgbImage;

use super::of_examples::{self, BINS};
use super::spec::Train;
use super::state::{State, Update};
use super::window::Means;
use crate::error::Result;
use crate::memory;
use crate::optim::{Part, Trained};
use crate::plot::{Bins, HeatMap, finite_mean};
use crate::run::log::{Log, Points, Tag};

/// Bars of the histogram of losses.
const BARS: usize = 30;
/// Heat maps of a whole training, which TensorBoard keeps so many pictures of.
const MAPS: u64 = 10;

/// The names of the curves.
pub(super) struct Curves {
    /// Of the losses' parts.
    parts: Vec<String>,
    by_log_snr: [String; BINS],
    network: Vec<Part>,
}

impl Curves {
    pub fn of(subject: &dyn Trained) -> Curves {
        let parts = subject.parts().into_iter().map(str::to_owned).collect();
        Curves { parts, by_log_snr: of_examples::tags(), network: subject.parameters().parts() }
    }

    /// Adds the point of a step, with the means since the last one. Error: what was logged before can't be read.
    pub fn log(&self, spec: &Train, state: &State, update: &Update, means: Means, log: &mut Log) -> Result<()> {
        let by_log_snr = means.of_examples.means();
        let mut pictures = Vec::new();
        if by_log_snr.iter().any(Option::is_some) && maps(spec, state.step) {
            pictures.push(("train_loss_by_log_snr".into(), self.map(log, state.step, by_log_snr)?));
        }
        let histograms = vec![("train/loss_of_examples".into(), Bins::new(&means.of_examples.recent(), BARS))];
        let scalars = self.scalars(spec, state, update, &means);
        log.add(&Points { group: "train", step: state.step, scalars, histograms, pictures });
        Ok(())
    }

    fn scalars(&self, spec: &Train, state: &State, update: &Update, means: &Means) -> Vec<(Tag, f64)> {
        let Means { loss, relative_std, norm, parts, of_examples, rate, waiting, writing } = means;
        let parameters = state.parameters.flat();
        let mut scalars: Vec<(Tag, f64)> = vec![
            ("train/loss".into(), *loss),
            ("train/loss_relative_std".into(), *relative_std),
            ("train/gradient_norm".into(), *norm),
            ("train/learning_rate".into(), update.lr),
            ("train/examples_per_second".into(), rate * spec.batch as f64),
            ("train/waiting_for_data".into(), *waiting),
            ("train/writing".into(), *writing),
            ("train/ema_drift".into(), state.ema.drift(parameters).double_value(&[])),
        ];
        scalars.extend(memory::used().map(|bytes| ("train/memory_gb".into(), bytes as f64 / 1e9)));
        scalars.extend(self.parts.iter().cloned().map(Tag::from).zip(parts.iter().copied()));
        let by_log_snr = self.by_log_snr.iter().zip(of_examples.means());
        scalars.extend(by_log_snr.filter_map(|(tag, mean)| Some((tag.clone().into(), mean?))));
        for (group, buffer) in [("train_gradient_norm", &update.gradient), ("train_weight_norm", parameters)] {
            let norms = self.network.iter().zip(Part::norms(&self.network, buffer));
            scalars.extend(norms.map(|(part, norm)| (format!("{group}/{}", part.name).into(), norm)));
        }
        scalars
    }

    /// The losses of every point so far, and of this one, by noise, each over the mean of its row.
    fn map(&self, log: &Log, step: u64, now: [Option<f64>; BINS]) -> Result<RgbImage> {
        let mut points = log.curves(&self.by_log_snr)?;
        points.push((step, now.map(|mean| mean.unwrap_or(f64::NAN))));
        let means: [f64; BINS] = std::array::from_fn(|row| finite_mean(points.iter().map(|(_, losses)| losses[row])));
        let over = |losses: [f64; BINS]| losses.iter().zip(means).map(|(loss, mean)| loss / mean).collect();
        let (at, columns) = points.into_iter().map(|(step, losses)| (step as f64, over(losses))).unzip();
        let rows = (0..BINS).map(of_examples::range).collect();
        let title = "loss of examples by ln α²/σ², over the mean of its row";
        Ok(HeatMap { title, along: "step", at, rows, columns }.picture())
    }
}

/// Whether a point has a heat map: where a tenth of training is done since the one before, and at the end.
fn maps(spec: &Train, step: u64) -> bool {
    let share = |step: u64| MAPS * step / spec.steps;
    let before = (step - 1) / spec.log_every * spec.log_every;
    share(step) > share(before)
}
