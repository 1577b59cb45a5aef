//! Features of examples by a module of others.

use std::path::{Path, PathBuf};

use tch::{CModule, Device, Kind, Tensor};

use super::super::FeatureNetwork;
use super::{call, said};
use crate::error::{Error, Result};
use crate::file::{self, sha256};

/// A PyTorch module, scripted or traced, x [B, ...] -> features [B, D]. x is f32 and in data units, pixels from 0 to 255, [B, C, H, W]: what
/// it is resized to and divided by is part of the module.
pub struct FeatureModule {
    module: CModule,
    path: PathBuf,
    device: Device,
    /// Of the file, in hexadecimal digits.
    pub sha256: String,
}

const EXPORT: &str = "write it with torch.jit.save(torch.jit.script(module.eval()), FILE) (docs/evaluate.md)";
const TAKES: &str = "its forward takes x [B, ...] in f32, pixels from 0 to 255, and returns one tensor [B, D]; a resize is part of it";

impl FeatureModule {
    /// Error: there is no such file, or it is no module.
    pub fn load(path: &Path, device: Device) -> Result<FeatureModule> {
        let bytes = file::read(path).map_err(|error| Error::io("read", path, error))?;
        let bytes = bytes.ok_or_else(|| Error::data(path, "there is no such file", EXPORT))?;
        let mut module = CModule::load_data_on_device(&mut &bytes[..], device)
            .map_err(|error| Error::data(path, format!("is no TorchScript module: {}", said(error)), EXPORT))?;
        // A frozen module has no mode any more.
        let _ = module.f_set_eval();
        Ok(FeatureModule { module, path: path.to_owned(), device, sha256: sha256([&*bytes]) })
    }
}

impl FeatureNetwork for FeatureModule {
    fn of(&self, x: &Tensor) -> Result<Tensor> {
        let _no_grad = tch::no_grad_guard();
        let wrong = |message: String, help: &str| Err(Error::data(&self.path, message, help));
        let features = match call(&self.module, &[&x.to_device(self.device)]) {
            Ok(features) => features,
            Err(said) => return wrong(format!("can't do F(x) for x {:?} in f32: {said}", x.size()), TAKES),
        };
        match features.size()[..] {
            [rows, width] if rows == x.size()[0] && width > 0 => Ok(features.to_kind(Kind::Float).to_device(Device::Cpu)),
            _ => {
                let expected = format!("[{}, D]", x.size()[0]);
                wrong(format!("gives {:?} for x {:?}; expected {expected}", features.size(), x.size()), "return y.flatten(1)")
            }
        }
    }

    /// Whether these examples, at least two, have the same features when each is alone, and the second time.
    fn try_out(&self, x: &Tensor) -> Result<()> {
        let together = self.of(x)?;
        let far = |a: &Tensor, b: &Tensor| {
            let size = together.abs().max().double_value(&[]).max(f64::MIN_POSITIVE);
            (a - b).abs().max().double_value(&[]) > 1e-3 * size
        };
        let help = "call module.eval() before it is saved: no dropout, and no statistics of the batch";
        if far(&self.of(x)?, &together) {
            return Err(Error::data(&self.path, "gives something else for the same x the second time", help));
        }
        match far(&self.of(&x.narrow(0, 1, 1))?, &together.narrow(0, 1, 1)) {
            true => Err(Error::data(&self.path, "gives an example something else when it is alone than in a batch", help)),
            false => Ok(()),
        }
    }
}
