//! Batches in model space: for training, assembled ahead of the step that needs them; for evaluation, on request.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

use rand::RngExt;
use rand::seq::SliceRandom;
use rayon::prelude::*;
use tch::Tensor;

use super::Dataset;
use crate::error::Result;
use crate::rng::{self, Purpose};
use crate::space::Scale;

/// Batches that wait for the training step.
const AHEAD: usize = 4;

/// Elements that are worth another thread.
const GRAIN: usize = 1 << 14;

/// A batch, and which examples it shows.
type Batch = (Tensor, Vec<usize>);

/// The endless sequence of training batches x0 [B, ...] (f32, CPU, model space), assembled by a thread of its own.
///
/// Place j of step k is position p = k B + j of the run. It shows example permutation(⌊p/n⌋)[p mod n], each epoch ⌊p/n⌋ having its own
/// random order of the n examples, flipped and dequantised by draws of (seed, p). So a batch is a function of (seed, step), whatever was
/// asked for before, and epochs need not end with a batch.
pub struct Batches {
    queue: Option<Receiver<Result<Batch>>>,
    thread: Option<JoinHandle<()>>,
}

impl Batches {
    /// The batches of steps `first_step`, `first_step + 1`, ... of `batch` examples each; `flip` mirrors every image, axes [C, H, W],
    /// with probability one half.
    pub fn start(dataset: Arc<dyn Dataset>, scale: Scale, flip: bool, seed: u64, batch: usize, first_step: u64) -> Batches {
        Batches::start_part(dataset, scale, flip, seed, (batch, 0..batch), first_step)
    }

    /// Of every batch the places `part` alone; no other example is read.
    pub fn start_part(
        dataset: Arc<dyn Dataset>,
        scale: Scale,
        flip: bool,
        seed: u64,
        (batch, part): (usize, Range<usize>),
        first_step: u64,
    ) -> Batches {
        let (sender, queue) = sync_channel(AHEAD);
        let mut assembly = Assembly { order: Order::new(seed, dataset.len()), dataset, scale, flip, seed, batch, part };
        let thread = thread::spawn(move || {
            for step in first_step.. {
                // the receiver is gone when the training loop has ended
                if sender.send(assembly.batch(step)).is_err() {
                    break;
                }
            }
        });
        Batches { queue: Some(queue), thread: Some(thread) }
    }

    /// The next step's batch. Error: an example of it can't be read.
    #[expect(clippy::should_implement_trait, reason = "the sequence has no end, so there is no Option to return")]
    pub fn next(&mut self) -> Result<Tensor> {
        Ok(self.shown()?.0)
    }

    /// The next step's batch, and which examples it shows. Error: one of them can't be read.
    pub fn shown(&mut self) -> Result<Batch> {
        let queue = self.queue.as_ref().expect("the queue lives until drop");
        queue.recv().expect("the assembling thread runs until the queue is dropped")
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Assembly {
    dataset: Arc<dyn Dataset>,
    scale: Scale,
    flip: bool,
    seed: u64,
    batch: usize,
    part: Range<usize>,
    order: Order,
}

impl Assembly {
    fn batch(&mut self, step: u64) -> Result<Batch> {
        let first = step * self.batch as u64;
        let positions: Vec<(u64, usize)> =
            self.part.clone().map(|place| first + place as u64).map(|p| (p, self.order.example(p))).collect();
        let x0 = gather(self.dataset.shape(), &positions, |&(position, i), out| self.example(position, i, out))?;
        Ok((x0, positions.into_iter().map(|(_, i)| i).collect()))
    }

    fn example(&self, position: u64, i: usize, out: &mut [f32]) -> Result<()> {
        self.dataset.read(i, out)?;
        let mut rng = rng::generator(self.seed, Purpose::Augment, position);
        if self.flip && rng.random() {
            let width = self.dataset.shape()[2];
            out.chunks_exact_mut(width).for_each(<[f32]>::reverse);
        }
        let dequantise = self.scale.dequantises();
        for value in out {
            // 16 bits of noise: p + u is then exact in f32, and never rounded up into the next pixel's bin
            let u = dequantise.then(|| f64::from(rng.random::<u16>()) / 65536.0);
            *value = self.scale.to_model(f64::from(*value), u) as f32;
        }
        Ok(())
    }
}

/// The order in which a run sees the examples.
struct Order {
    seed: u64,
    /// the epoch of `permutation`; none before the first
    epoch: Option<u64>,
    permutation: Vec<usize>,
}

impl Order {
    fn new(seed: u64, n: usize) -> Order {
        Order { seed, epoch: None, permutation: vec![0; n] }
    }

    fn example(&mut self, position: u64) -> usize {
        let n = self.permutation.len() as u64;
        let epoch = position / n;
        if self.epoch != Some(epoch) {
            self.permutation.iter_mut().enumerate().for_each(|(i, place)| *place = i);
            self.permutation.shuffle(&mut rng::generator(self.seed, Purpose::Order, epoch));
            self.epoch = Some(epoch);
        }
        self.permutation[(position % n) as usize]
    }
}

/// The examples that a run with `n` of them shows at some positions.
pub fn examples_at(seed: u64, n: usize, positions: Range<u64>) -> Vec<usize> {
    let mut order = Order::new(seed, n);
    positions.map(|position| order.example(position)).collect()
}

/// Raw values of consecutive examples, in data units: [n, ...], f32. Error: one can't be read.
pub fn examples(dataset: &dyn Dataset, range: Range<usize>) -> Result<Tensor> {
    chosen(dataset, &range.collect::<Vec<usize>>())
}

/// Raw values of the examples `indices`, in data units: [n, ...], f32. Error: one can't be read.
pub fn chosen(dataset: &dyn Dataset, indices: &[usize]) -> Result<Tensor> {
    gather(dataset.shape(), indices, |&i, out| dataset.read(i, out))
}

/// Points of model space that stand for (example, draw) where a likelihood is measured: [n, ...], f64. Pixels get noise u ~ U[0, 1),
/// whether or not training does; it is a function of (seed, example, draw). Error: an example can't be read.
pub fn dequantised(dataset: &dyn Dataset, scale: Scale, places: &[(usize, usize)], seed: u64) -> Result<Tensor> {
    let size = dataset.shape().iter().product();
    gather(dataset.shape(), places, |&(i, draw), out: &mut [f64]| {
        let mut values = vec![0f32; size];
        dataset.read(i, &mut values)?;
        let mut rng = rng::generator_of_draw(seed, Purpose::Dequantise, i as u64, draw as u64);
        out.iter_mut().zip(values).for_each(|(out, value)| *out = scale.to_model(f64::from(value), Some(rng.random())));
        Ok(())
    })
}

/// Fills one example for each item, in parallel, and stacks them: `[items, shape...]`. Error: the first that an item gives.
fn gather<T, A>(shape: &[usize], items: &[T], fill: impl Fn(&T, &mut [A]) -> Result<()> + Sync) -> Result<Tensor>
where
    T: Sync,
    A: tch::kind::Element + Default + Clone + Send,
{
    let size = shape.iter().product::<usize>();
    let mut values = vec![A::default(); items.len() * size];
    values.par_chunks_exact_mut(size).zip(items).with_min_len(GRAIN.div_ceil(size)).try_for_each(|(out, item)| fill(item, out))?;
    let sizes: Vec<i64> = std::iter::once(items.len()).chain(shape.iter().copied()).map(|n| n as i64).collect();
    Ok(Tensor::from_slice(&values).view(sizes.as_slice()))
}

#[cfg(test)]
mod tests;
