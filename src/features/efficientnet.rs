//! Features of images by EfficientNet-Lite0: its weights as a file, and what images are made into before it sees them.

use std::path::Path;

use tch::{Device, Kind, Tensor, no_grad};

use crate::error::{Error, Result};
use crate::file::{self, sha256};
use crate::net::FeatureNetwork;
use crate::net::efficientnet::EfficientNetLite0;
use crate::pth::StateDict;

/// What is done to an image, pixels from 0 to 255, of any size: stretched to 224 x 224 by the bicubic filter of Pillow (Keys 1981, a = -½,
/// widened by the factor where it shrinks), in floating point; clipped to 0 to 255; (pixel - 127) / 128, as the network was trained; a grey one
/// three times. It has a name, which stands in reports beside the SHA-256 of the weights.
pub const PROTOCOL: &str = "bicubic-224";

const SIDE: i64 = 224;

/// Images that go through the network at once: what a layer makes of them stays near the processor.
const AT_ONCE: i64 = 16;

const CURE: &str = "run scripts/fetch-features, which brings data/features/efficientnet-lite0.pth, or correct the path";

/// The network with its weights.
pub struct EfficientNet {
    network: EfficientNetLite0,
    device: Device,
    /// Of the file, in hexadecimal digits.
    pub sha256: String,
}

impl EfficientNet {
    /// Reads the weights, a `.pth` file of either of PyTorch's layouts, of which nothing is run. Error: there is none, or it holds others.
    pub fn load(path: &Path, device: Device) -> Result<EfficientNet> {
        let bytes = file::read(path).map_err(|error| Error::io("read", path, error))?;
        let bytes = bytes.ok_or_else(|| Error::data(path, "there is no such file", CURE))?;
        let mut state = StateDict::parse(path, &bytes, CURE)?;
        let network = EfficientNetLite0::new(&mut |name, shape| Ok(state.tensor(name, shape)?.to_device(device)))?;
        Ok(EfficientNet { network, device, sha256: sha256([&*bytes]) })
    }

    /// Features [B, 1280] and logits [B, 1000] of images [B, C, H, W], f32, pixels from 0 to 255, all on the CPU. Error: these are no images.
    pub fn features_and_logits(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let features = self.of(x)?;
        let logits = no_grad(|| self.network.logits(&features.to_device(self.device))).to_device(Device::Cpu);
        Ok((features, logits))
    }
}

impl FeatureNetwork for EfficientNet {
    fn of(&self, x: &Tensor) -> Result<Tensor> {
        let [_, 1 | 3, _, _] = x.size()[..] else {
            let message = format!("efficientnet-lite0 takes images of 1 or 3 channels, and examples have the shape {:?}", &x.size()[1..]);
            return Err(Error::Usage { message, help: "compare them as they are, or by a TorchScript module that takes them".into() });
        };
        let features = |x: &Tensor| self.network.features(&prepared(&x.to_device(self.device))).to_device(Device::Cpu);
        Ok(no_grad(|| Tensor::cat(&x.split(AT_ONCE, 0).iter().map(features).collect::<Vec<_>>(), 0)))
    }
}

/// [`PROTOCOL`]: [B, C, H, W] → [B, 3, 224, 224].
fn prepared(x: &Tensor) -> Tensor {
    let x = x.to_kind(Kind::Float).internal_upsample_bicubic2d_aa([SIDE, SIDE], false, None, None);
    ((x.clamp(0.0, 255.0) - 127.0) / 128.0).expand([-1, 3, -1, -1], false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_of_the_right_size_keeps_its_pixels_and_others_their_range() {
        let real = (Kind::Float, Device::Cpu);
        let x = (Tensor::rand([2, 3, SIDE, SIDE], real) * 255.0).round();
        assert!((prepared(&x) * 128.0 + 127.0 - &x).abs().max().double_value(&[]) < 1e-3);
        let grey = Tensor::from_slice(&[0f32, 255.0, 0.0, 255.0, 255.0, 0.0]).view([1, 1, 2, 3]);
        let seen = prepared(&grey);
        assert_eq!(seen.size(), [1, 3, SIDE, SIDE]);
        assert_eq!((seen.min().double_value(&[]), seen.max().double_value(&[])), (-127.0 / 128.0, 1.0));
        assert_eq!(seen.narrow(1, 0, 1), seen.narrow(1, 2, 1));
    }

    /// Keys's filter with a = -½, and no other, keeps parabolas; where images shrink, a filter that is as wide as before keeps the noise.
    #[test]
    fn images_are_stretched_by_the_filter_that_is_said() {
        let real = (Kind::Float, Device::Cpu);
        let parabola = |places: &Tensor| places.square() + 40.0;
        let grown = prepared(&parabola(&Tensor::arange(14, real)).expand([1, 1, 14, 14], false)) * 128.0 + 127.0;
        let places = (Tensor::arange(SIDE, real) + 0.5) / 16.0 - 0.5;
        let (row, inner) = (grown.view([3, SIDE, SIDE]).get(0).get(100), |x: &Tensor| x.narrow(0, 32, SIDE - 64));
        assert!((inner(&row) - inner(&parabola(&places))).abs().max().double_value(&[]) < 1e-3);
        tch::manual_seed(1);
        let shrunk = prepared(&(Tensor::rand([1, 1, 4 * SIDE, 4 * SIDE], real).round() * 255.0)) * 128.0 + 127.0;
        let deviation = shrunk.std(true).double_value(&[]);
        assert!((20.0..50.0).contains(&deviation), "{deviation} of 127.5");
    }
}
