//! What a module of others must do, tried before any work.

use tch::{CModule, Device, Kind, Tensor};

use super::{Interface, Spec, call};
use crate::error::Fault;
use crate::rng::{Purpose, normal};
use crate::tensor::to_vec;

/// What a module is called with.
pub struct Inputs {
    /// [B, ...]
    pub x: Tensor,
    /// The label `[B]`.
    pub noise: Tensor,
    /// [B, M]
    pub condition: Option<Tensor>,
}

impl Inputs {
    /// One example, all zeros, with the label ½.
    pub fn blank(interface: &Interface, kind: Kind) -> Inputs {
        let of = (kind, Device::Cpu);
        let shape: Vec<i64> = [1].into_iter().chain(interface.shape.iter().map(|n| *n as i64)).collect();
        let condition = (interface.condition > 0).then(|| Tensor::zeros([1, interface.condition as i64], of));
        Inputs { x: Tensor::zeros(&shape, of), noise: Tensor::full([1], 0.5, of), condition }
    }

    pub(super) fn tensors(&self) -> Vec<&Tensor> {
        [&self.x, &self.noise].into_iter().chain(&self.condition).collect()
    }

    /// One of the examples.
    fn row(&self, i: i64) -> Inputs {
        let row = |tensor: &Tensor| tensor.narrow(0, i, 1).contiguous();
        Inputs { x: row(&self.x), noise: row(&self.noise), condition: self.condition.as_ref().map(row) }
    }
}

const EXPORT: &str = "write it with torch.jit.save(torch.jit.script(module.eval()), FILE), or with torch.jit.trace (docs/your-network.md)";
const TRACED: &str = "a traced module keeps the shapes and the branches of its example: use torch.jit.script, or write the module with x.shape[0] \
                      in place of numbers; and call module.eval() before";
/// A traced module takes a Python number for a tensor in f64.
const KINDS: &str = "call module.float(), or module.double(), before it is saved, and make new tensors in the kind of x: dtype=x.dtype";

impl Spec {
    /// Whether the file is a module. A fault's key is relative to `[network.torchscript]`.
    pub fn check(&self) -> Result<(), Fault> {
        self.load(Device::Cpu).map(drop).map_err(|said| self.fault(format!("is no TorchScript module: {said}"), EXPORT))
    }

    /// Whether the module gives what a network must for these inputs of at least 3 examples: shape, kind, finite numbers, the same twice and
    /// whatever else is in the batch, with a gradient by x, and where it is trained by its parameters; `twice` where the gradient needs one.
    pub fn try_out(&self, outputs: usize, inputs: &Inputs, trained: bool, twice: bool) -> Result<(), Fault> {
        let module = self.load(Device::Cpu).map_err(|said| self.fault(said, EXPORT))?;
        let y = self.output(&module, outputs, inputs)?;
        self.check_rows(&module, outputs, inputs, &y)?;
        let parameters = module.named_parameters().unwrap_or_default();
        if trained && !parameters.iter().any(|(_, tensor)| tensor.requires_grad()) {
            let help = "save the module before torch.jit.freeze and with requires_grad, or remove [train] to use it as it is";
            return Err(self.fault("has no parameters that could be trained", help));
        }
        if let Some((one, other)) = twins(&parameters).filter(|_| trained) {
            let help = "let them be one torch.nn.Parameter, which two modules may share";
            return Err(self.fault(format!("has two parameters in one place of memory, {one} and {other}"), help));
        }
        if let Some((name, tensor)) = parameters.iter().find(|(_, tensor)| tensor.kind() != y.kind()) {
            return Err(
                self.fault(format!("has its parameter {name} in {}, but gives {}", self::name(tensor.kind()), self::name(y.kind())), KINDS)
            );
        }
        self.check_gradient(&module, &inputs.row(1), twice)
    }

    fn fault(&self, message: impl AsRef<str>, help: &str) -> Fault {
        Fault::new("file", format!("{} {}", self.file.display(), message.as_ref()), help)
    }

    fn output(&self, module: &CModule, outputs: usize, inputs: &Inputs) -> Result<Tensor, Fault> {
        let (x, told) = (&inputs.x, inputs.condition.is_some());
        let (kind, name) = (x.kind(), name(x.kind()));
        let before = inputs.tensors().into_iter().map(Tensor::copy).collect::<Vec<_>>();
        let y = call(module, &inputs.tensors()).map_err(|said| {
            let sizes: Vec<String> = inputs.tensors().iter().map(|tensor| format!("{:?}", tensor.size())).collect();
            let (signature, help) = match told {
                true => ("F(x, label, condition)", "its forward takes x, the label [B] and the condition [B, M], and returns one tensor"),
                false => {
                    ("F(x, label)", "its forward takes x and the label [B], and returns one tensor; a third argument is for [condition]")
                }
            };
            let help = if said.contains("dtype") { KINDS } else { help };
            self.fault(format!("can't do {signature} for {} in {name}: {said}", sizes.join(", ")), help)
        })?;
        let mut expected = x.size();
        expected[1] *= outputs as i64;
        if y.size() != expected {
            let twofold = if outputs > 1 { ", twice on the second axis, since it says variances" } else { "" };
            let message = format!("gives {:?} for x {:?}; expected {expected:?}", y.size(), x.size());
            return Err(self.fault(message, &format!("return a tensor of the shape of x{twofold}")));
        }
        if inputs.tensors().into_iter().zip(&before).any(|(after, before)| !after.equal(before)) {
            return Err(self.fault("changes its arguments in place", "write x = x * 2 in place of x *= 2 or x.mul_(2)"));
        }
        if y.kind() != kind {
            return Err(self.fault(format!("gives {} for x in {name}; expected f32 or f64 throughout", self::name(y.kind())), KINDS));
        }
        if y.isfinite().all().int64_value(&[]) == 0 {
            let labels = to_vec(&inputs.noise);
            let message = format!("gives numbers that are not finite, for x ~ N(0, 1) at the labels {labels:?}");
            return Err(self.fault(message, "look at its weights, and whether `precondition` gives the label that it was made for"));
        }
        Ok(y)
    }

    /// `y` is what it gave for all inputs.
    fn check_rows(&self, module: &CModule, outputs: usize, inputs: &Inputs, y: &Tensor) -> Result<(), Fault> {
        let far = |a: &Tensor, b: &Tensor| {
            let rounding = if y.kind() == Kind::Double { 1e-9 } else { 1e-3 };
            (a - b).abs().max().double_value(&[]) > rounding * y.abs().max().double_value(&[]).max(f64::MIN_POSITIVE)
        };
        if far(&self.output(module, outputs, inputs)?, y) {
            return Err(self.fault(
                "gives something else for the same x the second time",
                "call module.eval() before it is saved: no dropout, no noise",
            ));
        }
        let alone = self.output(module, outputs, &inputs.row(1)).map_err(|fault| Fault {
            message: format!("{} (of a batch of 1, where {} went well)", fault.message, inputs.x.size()[0]),
            help: TRACED.into(),
            ..fault
        })?;
        match far(&alone, &y.narrow(0, 1, 1)) {
            true => Err(self.fault("gives an example something else when it is alone than in a batch of 3", TRACED)),
            false => Ok(()),
        }
    }

    fn check_gradient(&self, module: &CModule, inputs: &Inputs, twice: bool) -> Result<(), Fault> {
        let x = inputs.x.detach().copy().set_requires_grad(true);
        let inputs = Inputs {
            x: x.shallow_clone(),
            noise: inputs.noise.shallow_clone(),
            condition: inputs.condition.as_ref().map(Tensor::shallow_clone),
        };
        let cure = "leave out torch.no_grad, detach and in-place changes of x; likelihoods, guidance and training need the gradient";
        let missing = |of: &str| self.fault(format!("has no {of} by x"), cure);
        let y = call(module, &inputs.tensors()).map_err(|said| self.fault(said, cure))?;
        let along = normal(1, Purpose::Init, 1, &y.size(), Device::Cpu).to_kind(y.kind());
        let gradient = gradients(&(y * along), &[&x], twice).and_then(|found| found.into_iter().next().filter(Tensor::defined));
        let gradient = gradient.ok_or_else(|| missing("gradient"))?;
        if gradient.isfinite().all().int64_value(&[]) == 0 {
            return Err(self.fault("has a gradient by x that is not finite", cure));
        }
        let parameters = module.named_parameters().unwrap_or_default();
        let trained: Vec<&Tensor> = parameters.iter().map(|(_, tensor)| tensor).filter(|tensor| tensor.requires_grad()).collect();
        match twice && gradients(&gradient.square(), &trained, false).is_none() {
            true => Err(missing("second gradient")),
            false => Ok(()),
        }
    }
}

/// The names of two tensors with one memory; one tensor by two names is none of these.
fn twins(parameters: &[(String, Tensor)]) -> Option<(&str, &str)> {
    let pairs = parameters.iter().enumerate().flat_map(|(i, one)| parameters[i + 1..].iter().map(move |other| (one, other)));
    let mut shared = pairs.filter(|((_, one), (_, other))| one.numel() > 0 && one.data_ptr() == other.data_ptr());
    // What is one tensor has one mark.
    let distinct = |one: &Tensor, other: &Tensor| {
        let (mark, before) = (one.requires_grad(), other.requires_grad());
        let _ = one.set_requires_grad(!mark);
        let apart = other.requires_grad() == before;
        let _ = one.set_requires_grad(mark);
        apart
    };
    shared.find(|((_, one), (_, other))| distinct(one, other)).map(|((one, _), (other, _))| (&**one, &**other))
}

fn name(kind: Kind) -> String {
    match kind {
        Kind::Float => "f32".into(),
        Kind::Double => "f64".into(),
        other => format!("{other:?}"),
    }
}

/// Of the sum of `y`; none where there are none.
fn gradients(y: &Tensor, by: &[&Tensor], keep: bool) -> Option<Vec<Tensor>> {
    y.requires_grad().then(|| Tensor::f_run_backward(&[y.sum(y.kind())], by, keep, keep).ok())?
}
