//! What the curves of training are made of.

use std::time::{Duration, Instant};

use super::of_examples::OfExamples;
use super::state::{Progress, Update};

/// Sums over the steps since the last point of the curves.
pub(super) struct Window {
    loss: f64,
    square: f64,
    norm: f64,
    /// Of [`Losses::parts`](crate::optim::Losses::parts); empty before the first step.
    parts: Vec<f64>,
    of_examples: OfExamples,
    steps: u64,
    /// Those of an earlier process, whose time is not known.
    before: u64,
    begun: Instant,
    waiting: Duration,
    writing: Duration,
}

/// Means over a window.
pub(super) struct Means {
    pub loss: f64,
    /// Standard deviation of an example's loss over the mean loss: what the law of t is chosen for.
    pub relative_std: f64,
    pub norm: f64,
    pub parts: Vec<f64>,
    pub of_examples: OfExamples,
    /// Steps per second.
    pub rate: f64,
    /// The share of the time since the last point in which the step waited for its batch.
    pub waiting: f64,
    /// The share that curves and checkpoints took.
    pub writing: f64,
}

impl Window {
    fn new() -> Window {
        Window::after(&Progress::default())
    }

    /// Goes on with the sums that a checkpoint has.
    pub fn after(progress: &Progress) -> Window {
        let [loss, square, norm, steps] = progress.window;
        let steps = steps as u64;
        Window {
            loss,
            square,
            norm,
            parts: progress.parts.clone(),
            of_examples: progress.of_examples.clone(),
            steps,
            before: steps,
            begun: Instant::now(),
            waiting: Duration::ZERO,
            writing: Duration::ZERO,
        }
    }

    pub fn save(&self, progress: &mut Progress) {
        progress.window = [self.loss, self.square, self.norm, self.steps as f64];
        progress.parts.clone_from(&self.parts);
        progress.of_examples.clone_from(&self.of_examples);
    }

    /// A step, and ln α²/σ² of its examples where they have noise.
    pub fn add(&mut self, update: &Update, log_snr: Option<&[f64]>) {
        self.loss += update.loss;
        self.square += update.square;
        self.norm += update.norm;
        self.parts.resize(update.parts.len(), 0.0);
        self.parts.iter_mut().zip(&update.parts).for_each(|(sum, part)| *sum += part);
        self.of_examples.add(&update.of_examples, log_snr);
        self.steps += 1;
    }

    /// Waits for a batch.
    pub fn waiting<T>(&mut self, wait: impl FnOnce() -> T) -> T {
        timed(&mut self.waiting, wait)
    }

    /// Writes curves or a checkpoint.
    pub fn writing<T>(&mut self, write: impl FnOnce() -> T) -> T {
        timed(&mut self.writing, write)
    }

    /// Begins the next window.
    pub fn close(&mut self) -> Means {
        let n = self.steps as f64;
        let window = std::mem::replace(self, Window::new());
        let Window { loss, square, norm, parts, of_examples, before, begun, waiting, writing, .. } = window;
        let seconds = begun.elapsed().as_secs_f64();
        let variance = (square / n - (loss / n).powi(2)).max(0.0);
        Means {
            loss: loss / n,
            relative_std: variance.sqrt() / (loss / n).abs(),
            norm: norm / n,
            parts: parts.into_iter().map(|sum| sum / n).collect(),
            of_examples,
            rate: (n - before as f64) / seconds,
            waiting: waiting.as_secs_f64() / seconds,
            writing: writing.as_secs_f64() / seconds,
        }
    }
}

/// Does it, and adds the time it takes.
fn timed<T>(total: &mut Duration, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let result = work();
    *total += begun.elapsed();
    result
}

#[cfg(test)]
mod tests {
    use tch::Tensor;

    use super::*;

    #[test]
    fn a_window_has_the_spread_of_all_its_losses() {
        let mut window = Window::new();
        for losses in [[1.0, 3.0], [5.0, 7.0]] {
            let mean = |f: &dyn Fn(f64) -> f64| losses.iter().map(|loss| f(*loss)).sum::<f64>() / 2.0;
            let (loss, square, parts) = (mean(&|x| x), mean(&|x| x * x), vec![mean(&|x| 2.0 * x)]);
            let (of_examples, gradient) = (losses.to_vec(), Tensor::from_slice(&[2.0]));
            window.add(&Update { loss, square, norm: 2.0, lr: 0.1, parts, of_examples, gradient }, Some(&[-1.0, 1.0]));
        }
        let Means { loss, relative_std, norm, parts, of_examples, .. } = window.close();
        assert_eq!((loss, norm, &parts[..]), (4.0, 2.0, &[8.0][..]));
        assert!((relative_std - 5f64.sqrt() / 4.0).abs() < 1e-12, "{relative_std}");
        assert_eq!(of_examples.means()[3..5], [Some(3.0), Some(5.0)]);
        assert_eq!((window.steps, window.square, window.of_examples.recent().len()), (0, 0.0, 0));
    }

    #[test]
    fn a_window_knows_what_its_time_went_to() {
        let mut window = Window::new();
        window.waiting(|| std::thread::sleep(Duration::from_millis(30)));
        window.writing(|| std::thread::sleep(Duration::from_millis(60)));
        let Means { waiting, writing, .. } = window.close();
        assert!(waiting > 0.1 && writing > 1.3 * waiting && waiting + writing <= 1.0, "{waiting}, {writing}");
        let Means { waiting, writing, .. } = window.close();
        assert_eq!((waiting, writing), (0.0, 0.0));
    }
}
