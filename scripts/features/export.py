"""Writes a network of torch-fidelity as a TorchScript module that `score-sde evaluate --features` takes:

    scripts/features/export inception-v3-compat inception.pt --shape 3 32 32
    scripts/features/export dinov2-vit-l-14 dinov2.pt --shape 3 32 32

The module takes x [B, C, H, W], f32, whole pixels from 0 to 255, of the one shape it is exported for, grey or in colour, and does all that
torch-fidelity does to it.
"""

import argparse
import warnings

import torch
from torch_fidelity.feature_extractor_dinov2 import MODEL_METADATA, FeatureExtractorDinoV2
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

INCEPTION = "inception-v3-compat"


class Features(torch.nn.Module):
    def __init__(self, extractor):
        super().__init__()
        self.extractor = extractor

    def forward(self, x):
        return self.extractor(x.expand(-1, 3, -1, -1).to(torch.uint8))[0].flatten(1)


def network(name, weights=None):
    """Of torch-fidelity; downloads its weights, unless there is a file of them."""
    if name == INCEPTION:
        return FeatureExtractorInceptionV3(name, ["2048"], feature_extractor_weights_path=weights, verbose=True)
    return FeatureExtractorDinoV2(name, ["dinov2"])


def export(extractor, shape, path):
    """Traced on two images and tried on five: what does not depend on the batch."""
    module = Features(extractor).eval()
    images = torch.randint(0, 256, (7, *shape)).float()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the shape of images becomes part of the module, as it is meant to
        traced = torch.jit.trace(module, images[:2], check_trace=False)
        expected, found = module(images[2:]), traced(images[2:])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * expected.std(0).max().item())
    torch.jit.save(traced, path)
    return expected.shape[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=[INCEPTION, *MODEL_METADATA])
    parser.add_argument("file", help="a .pt file, which is written")
    parser.add_argument("--shape", type=int, nargs=3, required=True, metavar=("C", "H", "W"), help="of an image; C is 1 or 3")
    parser.add_argument("--weights", help="a file of the weights of Inception in place of a download")
    arguments = parser.parse_args()
    if arguments.weights and arguments.network != INCEPTION:
        parser.error("--weights is for " + INCEPTION)
    features = export(network(arguments.network, arguments.weights), arguments.shape, arguments.file)
    print(f"{arguments.file}: {features} features of images {arguments.shape}")


if __name__ == "__main__":
    main()
