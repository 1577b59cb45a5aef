//! Networks that are programs of others: modules F(x, label) of PyTorch, scripted or traced (TorchScript).
//!
//! They run in evaluation mode and operation by operation, without the optimiser of TorchScript, which profiles the first calls: so the first
//! call gives the bits of every other one, and gradients are those of LibTorch's operations, to any order.

mod features;
mod trial;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{CModule, Device, Kind, Tensor, jit};

use super::{Dropout, Interface, Network, Told};
use crate::error::{Error, Fault};
use crate::file::sha256;
use crate::optim::Builder;
pub use features::FeatureModule;
pub use trial::Inputs;

/// `[network.torchscript]`: a PyTorch module F(x, label), scripted or traced, or F(x, label, condition) with `[condition.*]`; x and F are
/// [B, ...], the label is `[B]`, the condition [B, M]. What the label and F are is said by `[precondition.plain]`, or another table of these.
/// The file is a program: it can do what its author wrote, and it runs because you name it. It begins with the file's weights; without
/// `[train]` it keeps them. Its dropout is off in training, too, and its buffers stay as they are in the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// What `torch.jit.save` wrote, relative to the experiment's folder or else to the working directory; in f32 or f64. The run keeps a copy, `network.pt`. Operational: its
    /// content counts.
    pub file: PathBuf,
    /// The file's SHA-256 in hexadecimal digits; left out, any file is taken. The experiment in the run folder has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// None until it is read.
    #[serde(skip)]
    program: Option<Program>,
}

/// The bytes of a file.
#[derive(Clone, PartialEq)]
struct Program(Arc<[u8]>);

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// The first line of a panic of a module that failed at work; its file and what it said are the others.
const FAILED: &str = "a module of network.torchscript failed at work";

impl Spec {
    /// Takes the bytes of the file. A fault's key is relative to `[network.torchscript]`: they are not those that `sha256` is of.
    pub fn take(&mut self, bytes: Vec<u8>) -> Result<(), Fault> {
        let found = sha256([&*bytes]);
        if let Some(stated) = self.sha256.as_ref().filter(|stated| !stated.eq_ignore_ascii_case(&found)) {
            let message = format!("the SHA-256 of the file is {found}, not {stated}");
            return Err(Fault::new("sha256", message, "give the file that the experiment is of, or remove sha256 to take this one"));
        }
        (self.sha256, self.program) = (Some(found), Some(Program(bytes.into())));
        Ok(())
    }

    /// With what changes no weights left out: where the file is, and, for whoever only compares, its content, which the SHA-256 stands for.
    pub fn without_operational(&self) -> Spec {
        Spec { file: PathBuf::new(), sha256: self.sha256.clone(), program: None }
    }

    /// What was taken.
    pub fn bytes(&self) -> Option<&[u8]> {
        self.program.as_ref().map(|program| &*program.0)
    }

    /// The module, in evaluation mode; what LibTorch says where the bytes are none.
    fn load(&self, device: Device) -> Result<CModule, String> {
        let mut bytes = self.bytes().ok_or("its file was not read")?;
        let mut module = CModule::load_data_on_device(&mut bytes, device).map_err(said)?;
        // A frozen module has no mode any more.
        let _ = module.f_set_eval();
        Ok(module)
    }

    /// f32, or f64 where the module gives f64 for x in f64 and no f32 for x in f32.
    pub fn kind(&self, interface: &Interface) -> Kind {
        let gives = |kind| {
            let inputs = Inputs::blank(interface, kind);
            self.load(Device::Cpu).and_then(|module| call(&module, &inputs.tensors())).is_ok_and(|y| y.kind() == kind)
        };
        if !gives(Kind::Float) && gives(Kind::Double) { Kind::Double } else { Kind::Float }
    }

    /// The network, its parameters adopted by `builder`. Its trial has passed.
    pub(super) fn build(&self, interface: &Interface, builder: &Builder) -> TorchScript {
        let module = self.load(builder.options().1).unwrap_or_else(|said| fail(&self.file, &said));
        for (name, tensor) in distinct(module.named_parameters().unwrap_or_default()) {
            builder.adopt(&name, &tensor, tensor.requires_grad());
        }
        TorchScript { module, file: self.file.clone(), condition: interface.condition }
    }
}

/// A parameter that several names share once, by the first of them.
fn distinct(parameters: Vec<(String, Tensor)>) -> Vec<(String, Tensor)> {
    let mut found: Vec<(String, Tensor)> = Vec::new();
    for (name, tensor) in parameters {
        if !found.iter().any(|(_, other)| tensor.numel() > 0 && other.data_ptr() == tensor.data_ptr()) {
            found.push((name, tensor));
        }
    }
    found
}

/// A module at work.
pub struct TorchScript {
    module: CModule,
    file: PathBuf,
    /// Numbers of a condition; 0 for none.
    condition: usize,
}

impl Network for TorchScript {
    fn forward(&self, x: &Tensor, told: &Told, _dropout: Option<&Dropout>) -> Tensor {
        let rows = x.size()[0];
        let noise = told.noise.expand([rows], false).contiguous();
        let condition = (self.condition > 0).then(|| match told.condition {
            Some(condition) => condition.to_kind(x.kind()).expand([rows, -1], false).contiguous(),
            None => Tensor::zeros([rows, self.condition as i64], (x.kind(), x.device())),
        });
        let inputs: Vec<&Tensor> = [x, &noise].into_iter().chain(&condition).collect();
        call(&self.module, &inputs).unwrap_or_else(|said| fail(&self.file, &said))
    }
}

/// As LibTorch's own operations do: a network gives no errors.
fn fail(file: &Path, said: &str) -> ! {
    panic!("{FAILED}\n{}\n{said}", file.display())
}

/// F; what TorchScript says where it fails.
fn call(module: &CModule, inputs: &[&Tensor]) -> Result<Tensor, String> {
    // Of the thread.
    jit::f_set_graph_executor_optimize(false).map_err(said)?;
    module.forward_ts(inputs).map_err(said)
}

/// The line of an error that is for the module's author.
fn said(error: impl fmt::Display) -> String {
    let text = error.to_string();
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let cause = lines().find(|line| line.contains("Error: ") && !line.starts_with("Internal torch error"));
    let line = cause.or(lines().next()).unwrap_or("nothing");
    let line = line.strip_prefix("Internal torch error: ").unwrap_or(line);
    line.strip_prefix("builtins.").unwrap_or(line).to_owned()
}

/// The error that a panic's message stands for, if it is of a module at work.
pub fn failed(message: &str) -> Option<Error> {
    let mut lines = message[message.find(FAILED)?..].lines().skip(1);
    let (file, said) = (lines.next()?, lines.next()?);
    let help = "what was saved before is intact; mend the module so that it serves every x and label that a run meets";
    Some(Error::data(file, format!("failed at work: {said}"), help))
}

#[cfg(test)]
mod tests;
