//! Parameters as one flat buffer with named views.
//!
//! The weights [outputs, inputs, k, k] of a convolution of ours have their inputs last in memory: a convolution with such weights makes images
//! whose channels are last in memory, which it reads and writes as they are; any other order it would copy before and after. Adopted tensors,
//! whose programs may count on it, have theirs in the order of the axes, and so do files.

use std::cell::RefCell;
use std::fmt::Display;
use std::rc::Rc;

use rand::RngExt;
use rand_distr::StandardNormal;
use tch::{Device, Kind, Tensor, no_grad};

use crate::rng::{self, Purpose};

/// The law of an initial value.
#[derive(Clone, Copy, Debug)]
pub enum Init {
    Constant(f64),
    /// U(-bound, bound)
    Uniform(f64),
    /// N(0, std²)
    Normal(f64),
}

struct Entry {
    name: String,
    tensor: Tensor,
    trainable: bool,
    /// Whether the second of its axes is last in memory.
    inputs_last: bool,
}

impl Entry {
    /// The axes of a tensor of this shape in the order of memory.
    fn in_memory(&self, tensor: &Tensor) -> Tensor {
        if self.inputs_last { tensor.permute([0, 2, 3, 1]) } else { tensor.shallow_clone() }
    }

    /// The part of a flat buffer, from `offset` on, that has this place and this shape.
    fn view(&self, flat: &Tensor, offset: i64) -> Tensor {
        let size = self.in_memory(&self.tensor).size();
        let part = flat.narrow(0, offset, self.tensor.numel() as i64).view(size.as_slice());
        if self.inputs_last { part.permute([0, 3, 1, 2]) } else { part }
    }
}

/// Hands out parameters to the layers of a network under construction; cheap to clone, carries the name's prefix.
#[derive(Clone)]
pub struct Builder {
    entries: Rc<RefCell<Vec<Entry>>>,
    prefix: String,
    /// None: a dry builder.
    seed: Option<u64>,
    kind: Kind,
    device: Device,
}

impl Builder {
    pub fn new(seed: u64, kind: Kind, device: Device) -> Builder {
        Builder { entries: Rc::default(), prefix: String::new(), seed: Some(seed), kind, device }
    }

    /// A builder that takes down names and shapes alone: it draws and stores no numbers, so a network of any size costs nothing. What it
    /// builds is for [`Builder::inventory`], not for running.
    pub fn dry() -> Builder {
        Builder { entries: Rc::default(), prefix: String::new(), seed: None, kind: Kind::Float, device: Device::Cpu }
    }

    /// The builder of a part: its parameters are named `<prefix><name>.…`.
    pub fn part(&self, name: impl Display) -> Builder {
        Builder { prefix: format!("{}{name}.", self.prefix), ..self.clone() }
    }

    /// A trainable tensor. Registration order is the order in the flat buffer.
    pub fn parameter(&self, name: &str, shape: &[i64], init: Init) -> Tensor {
        self.register(name, shape, init, true)
    }

    /// A frozen tensor (random Fourier frequencies): saved with the weights, never trained.
    pub fn frozen(&self, name: &str, shape: &[i64], init: Init) -> Tensor {
        self.register(name, shape, init, false)
    }

    /// A tensor that is there already, on the builder's device and in its kind: its values are the initial ones, and all its handles stay valid
    /// and become views of the flat buffer where it is trained.
    pub fn adopt(&self, name: &str, tensor: &Tensor, trainable: bool) {
        let _ = tensor.set_requires_grad(trainable);
        self.enter(name, tensor, trainable, false);
    }

    /// The kind and device of every parameter, for constants that must match them.
    pub fn options(&self) -> (Kind, Device) {
        (self.kind, self.device)
    }

    /// Name, shape and whether it is trained, of every parameter so far, in registration order.
    pub fn inventory(&self) -> Vec<(String, Vec<i64>, bool)> {
        self.entries.borrow().iter().map(|e| (e.name.clone(), e.tensor.size(), e.trainable)).collect()
    }

    /// Trainable numbers so far.
    pub fn trainable(&self) -> usize {
        self.entries.borrow().iter().filter(|e| e.trainable).map(|e| e.tensor.numel()).sum()
    }

    fn register(&self, name: &str, shape: &[i64], init: Init, trainable: bool) -> Tensor {
        let tensor = match self.seed {
            Some(seed) => self.draw(seed, shape, init).set_requires_grad(trainable),
            None => Tensor::zeros([1], self.options()).expand(shape, false),
        };
        self.enter(name, &tensor, trainable, shape.len() == 4);
        tensor
    }

    fn enter(&self, name: &str, tensor: &Tensor, trainable: bool, inputs_last: bool) {
        let name = format!("{}{name}", self.prefix);
        self.entries.borrow_mut().push(Entry { name, tensor: tensor.shallow_clone(), trainable, inputs_last });
    }

    fn draw(&self, seed: u64, shape: &[i64], init: Init) -> Tensor {
        let n = shape.iter().product::<i64>() as usize;
        let mut rng = rng::generator(seed, Purpose::Init, self.entries.borrow().len() as u64);
        let values: Vec<f32> = match init {
            Init::Constant(c) => vec![c as f32; n],
            Init::Uniform(bound) => (0..n).map(|_| bound as f32 * (2.0 * rng.random::<f32>() - 1.0)).collect(),
            Init::Normal(std) => (0..n).map(|_| std as f32 * rng.sample::<f32, _>(StandardNormal)).collect(),
        };
        Tensor::from_slice(&values).view(shape).to_kind(self.kind).to_device(self.device)
    }

    /// Moves every trainable tensor into one flat buffer; the layers' handles stay valid and become views of it.
    pub fn finish(self) -> Parameters {
        let mut entries = self.entries.take();
        no_grad(|| {
            let trainable: Vec<Tensor> =
                entries.iter().filter(|e| e.trainable).map(|e| e.in_memory(&e.tensor.detach()).flatten(0, -1)).collect();
            let flat = if trainable.is_empty() { Tensor::zeros([0], (self.kind, self.device)) } else { Tensor::cat(&trainable, 0) };
            let mut offset = 0;
            for entry in entries.iter_mut().filter(|e| e.trainable) {
                entry.tensor.set_data(&entry.view(&flat, offset));
                offset += entry.tensor.numel() as i64;
            }
            Parameters { flat, entries }
        })
    }
}

/// All parameters of a network.
pub struct Parameters {
    flat: Tensor,
    entries: Vec<Entry>,
}

impl Parameters {
    /// The buffer of all trainable numbers `[P]`; writing to it changes the network.
    pub fn flat(&self) -> &Tensor {
        &self.flat
    }

    /// Trainable numbers, P.
    pub fn count(&self) -> usize {
        self.flat.numel()
    }

    /// Names, shapes and tensors in registration order; the flag is false for frozen ones.
    pub fn named(&self) -> impl Iterator<Item = (&str, &Tensor, bool)> {
        self.entries.iter().map(|e| (e.name.as_str(), &e.tensor, e.trainable))
    }

    /// The trainable parameters' names with views of another flat buffer `[P]` of the same layout, such as an average or a moment.
    pub fn views_of(&self, buffer: &Tensor) -> Vec<(&str, Tensor)> {
        let mut offset = 0;
        let mut views = Vec::new();
        for entry in self.entries.iter().filter(|e| e.trainable) {
            views.push((entry.name.as_str(), entry.view(buffer, offset)));
            offset += entry.tensor.numel() as i64;
        }
        views
    }

    /// A flat buffer `[P]` as files hold it: each parameter's numbers in the order of its axes.
    pub fn by_axes(&self, buffer: &Tensor) -> Tensor {
        no_grad(|| Tensor::cat(&self.views_of(buffer).into_iter().map(|(_, view)| view.flatten(0, -1)).collect::<Vec<_>>(), 0))
    }

    /// The way back: fills `buffer` `[P]` with what [`Parameters::by_axes`] made.
    pub fn fill_by_axes(&self, buffer: &Tensor, written: &Tensor) {
        let mut offset = 0;
        for (_, mut view) in self.views_of(buffer) {
            let n = view.numel() as i64;
            no_grad(|| view.copy_(&written.narrow(0, offset, n).view(view.size().as_slice())));
            offset += n;
        }
    }

    /// ∂loss/∂parameters as one flat tensor `[P]`; parameters the loss does not use have gradient zero.
    pub fn gradient(&self, loss: &Tensor) -> Tensor {
        let entries: Vec<&Entry> = self.entries.iter().filter(|e| e.trainable).collect();
        let grads = Tensor::run_backward(&[loss], &entries.iter().map(|e| &e.tensor).collect::<Vec<_>>(), false, false);
        let grads: Vec<Tensor> = grads
            .into_iter()
            .zip(entries)
            .map(|(grad, e)| e.in_memory(&if grad.defined() { grad } else { e.tensor.zeros_like() }).flatten(0, -1))
            .collect();
        Tensor::cat(&grads, 0)
    }

    /// Ends training: no graph is kept for the weights any more, which halves what a backward pass to the input holds.
    pub fn freeze(&self) {
        for entry in &self.entries {
            let _ = entry.tensor.set_requires_grad(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_see_the_flat_buffer_and_gradients_come_back_flat() {
        let builder = Builder::new(0, Kind::Double, Device::Cpu);
        let a = builder.parameter("a", &[2], Init::Constant(3.0));
        let b = builder.part("layer").parameter("b", &[2, 2], Init::Normal(1.0));
        let unused = builder.parameter("c", &[1], Init::Uniform(1.0));
        let w = builder.frozen("w", &[4], Init::Constant(1.0));
        let parameters = builder.finish();
        assert_eq!(parameters.count(), 7);
        let names: Vec<&str> = parameters.named().map(|(name, _, _)| name).collect();
        assert_eq!(names, ["a", "layer.b", "c", "w"]);

        let loss = (&a * &a).sum(Kind::Double) + b.sum(Kind::Double) * 2.0;
        let gradient = Vec::<f64>::try_from(parameters.gradient(&loss)).unwrap();
        assert_eq!(gradient, [6.0, 6.0, 2.0, 2.0, 2.0, 2.0, 0.0]);

        let _ = no_grad(|| parameters.flat().shallow_clone().fill_(5.0));
        assert_eq!(a.double_value(&[1]), 5.0);
        assert_eq!(b.double_value(&[1, 1]), 5.0);
        assert_eq!(unused.double_value(&[0]), 5.0);
        assert_eq!(w.double_value(&[0]), 1.0);
        assert!(!w.requires_grad() && a.requires_grad());
    }

    #[test]
    fn convolutions_have_their_inputs_last_in_memory_and_files_do_not() {
        let builder = Builder::new(0, Kind::Double, Device::Cpu);
        let shape = [2, 3, 5, 5];
        let weight = builder.parameter("weight", &shape, Init::Normal(1.0));
        let bias = builder.parameter("bias", &[2], Init::Normal(1.0));
        let drawn = weight.detach().copy();
        let parameters = builder.finish();
        assert!(weight.equal(&drawn));
        assert_eq!(weight.stride(), [75, 1, 15, 3]);
        let by_axes = parameters.by_axes(parameters.flat());
        assert!(by_axes.equal(&Tensor::cat(&[drawn.flatten(0, -1), bias.detach()], 0)));
        assert!(!by_axes.equal(parameters.flat()));
        let again = parameters.flat().zeros_like();
        parameters.fill_by_axes(&again, &by_axes);
        assert!(again.equal(parameters.flat()));

        let weights = Tensor::arange(150, (Kind::Double, Device::Cpu)).view(&shape[..]);
        let gradient = parameters.gradient(&((&weight * &weights).sum(Kind::Double) + bias.sum(Kind::Double)));
        assert!(parameters.views_of(&gradient)[0].1.equal(&weights), "in the order of the buffer");
    }

    #[test]
    fn a_dry_builder_takes_down_what_a_real_one_registers() {
        let layers = |builder: &Builder| {
            let _ = builder.part(3).parameter("weight", &[2, 3], Init::Normal(1.0));
            let _ = builder.frozen("w", &[4], Init::Constant(1.0));
            builder.inventory()
        };
        let expected = vec![("3.weight".to_string(), vec![2, 3], true), ("w".to_string(), vec![4], false)];
        assert_eq!(layers(&Builder::dry()), expected);
        assert_eq!(layers(&Builder::new(0, Kind::Float, Device::Cpu)), expected);
        assert_eq!(Builder::dry().parameter("huge", &[1 << 20, 1 << 20], Init::Uniform(1.0)).size(), [1 << 20, 1 << 20]);
    }
}
