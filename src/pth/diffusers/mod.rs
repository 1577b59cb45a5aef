//! A `UNet2DModel` of Hugging Face's diffusers as `[network.ddpm]`: the layout of the published models of Ho et al. 2020.
//!
//! ```text
//! config.json                            what the network is: config.rs holds it to ours
//! diffusion_pytorch_model.safetensors    its weights, by names that names.rs knows
//! scheduler_config.json                  the noise it was trained with, here or in ../scheduler: schedule.rs; it may be missing
//! ```

mod config;
mod names;
mod schedule;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Map, Value};
use tch::{Kind, Tensor, no_grad};

use crate::error::{Error, Result};
use crate::file;
use crate::net::ddpm;
use crate::optim::Parameters;
pub use schedule::Schedule;

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "diffusion_pytorch_model.safetensors";
const SCHEDULE: &str = "scheduler_config.json";

/// A folder that `UNet2DModel.save_pretrained` wrote.
pub struct Model {
    path: PathBuf,
    config: Map<String, Value>,
    weights: Vec<u8>,
    /// The noise it was trained with, where the folder says so.
    pub schedule: Option<Schedule>,
}

impl Model {
    /// Opens the folder at `path`. Errors: a file of it is missing, can't be read or is not JSON.
    pub fn open(path: &Path) -> Result<Model> {
        let help = "give the folder that UNet2DModel.save_pretrained(FOLDER) wrote, with config.json and the weights as safetensors";
        let needed = |name: &str| read(&path.join(name))?.ok_or_else(|| Error::data(path, format!("holds no {name}"), help));
        let config = object(&path.join(CONFIG), &needed(CONFIG)?)?;
        let places = [path.join(SCHEDULE), path.join("../scheduler").join(SCHEDULE)];
        let schedule = places.iter().find_map(|place| Some((place, read(place).transpose()?)));
        let schedule = schedule.map(|(place, bytes)| Schedule::read(place, &object(place, &bytes?)?)).transpose()?;
        Ok(Model { path: path.to_owned(), config, weights: needed(WEIGHTS)?, schedule })
    }

    /// Error: the network is not this one for images [channels, height, width] with so many outputs of that shape; the message says the first
    /// difference.
    pub fn check(&self, spec: &ddpm::Spec, shape: [usize; 3], outputs: usize) -> Result<()> {
        config::check(&self.config, spec, shape, outputs).map_err(|(message, help)| Error::data(self.path.join(CONFIG), message, help))
    }

    /// Copies the weights to `parameters`, those of the network that [`Model::check`] has passed. Nothing is copied unless everything fits.
    ///
    /// Errors: the file is damaged; tensors that are missing, too many or of another shape, each by its name.
    pub fn fill(&self, spec: &ddpm::Spec, width: usize, parameters: &Parameters) -> Result<()> {
        let path = self.path.join(WEIGHTS);
        let file = SafeTensors::deserialize(&self.weights)
            .map_err(|e| Error::data(&path, format!("is damaged: {e}"), "copy or download it again"))?;
        let mut theirs: BTreeMap<String, TensorView> = file.iter().map(|(name, view)| (names::today(name), view)).collect();
        let (mut copies, mut mismatches) = (Vec::new(), Vec::new());
        for (name, tensor, _) in parameters.named() {
            let Some(names::Place { name: there, transposed }) = names::of(spec, width, name) else {
                mismatches.push(format!("{name}: a UNet2DModel has none; remove [condition]"));
                continue;
            };
            let found = theirs.remove(&there).map(|view| (view.shape().to_vec(), tensor_of(&view)));
            match found {
                Some((_, Some(values))) if fits(&values, tensor, transposed) => copies.push((tensor.detach(), values, transposed)),
                Some((shape, Some(_))) => mismatches.push(format!("{there}: expected {}, found {shape:?}", shown(tensor, transposed))),
                Some((_, None)) => mismatches.push(format!("{there}: expected numbers of 16, 32 or 64 bits")),
                None => mismatches.push(format!("{there}: expected {}, found none", shown(tensor, transposed))),
            }
        }
        mismatches.extend(theirs.iter().map(|(name, view)| format!("{name}: expected none, found {:?}", view.shape())));
        if !mismatches.is_empty() {
            let rest = mismatches.len().saturating_sub(8);
            let more = if rest > 0 { format!("\n  and {rest} more") } else { String::new() };
            let shown: Vec<String> = mismatches.iter().take(8).map(|mismatch| format!("  {mismatch}")).collect();
            let message = format!("does not fit its config.json:\n{}{more}", shown.join("\n"));
            return Err(Error::data(path, message, "save the model anew: UNet2DModel.save_pretrained(FOLDER)"));
        }
        for (mut tensor, values, transposed) in copies {
            let values = if transposed { values.view([tensor.size()[1], tensor.size()[0]]).tr() } else { values };
            no_grad(|| tensor.copy_(&values));
        }
        Ok(())
    }
}

/// Whether the numbers of a file are for a tensor [I, O] as [O, I] or [O, I, 1, 1], or for one of the same shape.
fn fits(values: &Tensor, tensor: &Tensor, transposed: bool) -> bool {
    let (found, expected) = (values.size(), tensor.size());
    match (transposed, &expected[..]) {
        (true, [inputs, outputs]) => found == [*outputs, *inputs] || found == [*outputs, *inputs, 1, 1],
        _ => found == expected,
    }
}

fn shown(tensor: &Tensor, transposed: bool) -> String {
    let mut size = tensor.size();
    if transposed {
        size.reverse();
    }
    format!("{size:?}")
}

/// On the CPU; none of a type that no weights have.
fn tensor_of(view: &TensorView) -> Option<Tensor> {
    let kind = match view.dtype() {
        Dtype::F64 => Kind::Double,
        Dtype::F32 => Kind::Float,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        _ => return None,
    };
    let shape: Vec<i64> = view.shape().iter().map(|n| *n as i64).collect();
    Some(Tensor::from_data_size(view.data(), &shape, kind))
}

/// None where there is no such file.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    file::read(path).map_err(|error| Error::io("read", path, error))
}

fn object(path: &Path, bytes: &[u8]) -> Result<Map<String, Value>> {
    serde_json::from_slice(bytes).map_err(|e| Error::data(path, format!("is no JSON object: {e}"), "copy or download it again"))
}
