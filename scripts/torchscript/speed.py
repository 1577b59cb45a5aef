#!/usr/bin/env python3
"""The same networks built in and as TorchScript, with the same weights, in turns.

    speed.py time_networks score-sde

The quickstart's MLP on 1024 vectors, and DDPM++ with 32 channels on 16 images of 28 x 28, on one thread.
"""

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "scripts/reference"))
from networks import build  # noqa: E402


def data(shape):
    if len(shape) == 1:
        np.save("data.npy", np.zeros((4, *shape), dtype=np.float32))
        return '[data.npy-vectors]\ntrain = "data.npy"\ntest = "data.npy"\nscale = 1.0\n'
    np.save("data.npy", np.zeros((4, *shape), dtype=np.uint8))
    keys = 'layout = "nchw"\nrange = [-1.0, 1.0]\nflip = false\ndequantise = false\n'
    return f'[data.npy-images]\ntrain = "data.npy"\ntest = "data.npy"\n{keys}'


def toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(value)


def compare(time_networks, program, experiment, shape, batch, rounds, **settings):
    text = (TOP / "experiments" / experiment).read_text()
    begin, network = text.index("[data."), text.index("[network.")
    precondition, end = text.index("[precondition."), text.index("[sample]")
    table = tomllib.loads(text[network:precondition])["network"]
    (name,) = table
    table[name] |= settings
    head, tail = text[:begin] + data(shape), text[precondition:end]
    keys = "".join(f"{key} = {toml(value)}\n" for key, value in table[name].items())
    Path("ours.toml").write_text(f"{head}[network.{name}]\n{keys}{tail}")
    one_step = ["--set", "train.steps=1", "--set", "train.batch=2", "--set", "train.checkpoint_every=1"]
    for command in (["run", "ours.toml", "--out", name, "--quiet", *one_step], ["export", name, "--to", "safetensors"]):
        subprocess.run([program, *command], check=True, stdout=subprocess.DEVNULL)
    twin = build(table, shape)
    twin.load_state_dict(load_file(f"{name}/weights.safetensors"), strict=True)
    torch.jit.save(torch.jit.trace(twin.eval(), (torch.randn(3, *shape), torch.rand(3))), "net.pt")
    Path("torchscript.toml").write_text(f'{head}[network.torchscript]\nfile = "net.pt"\n{tail}')
    print(f"{name}, batch {batch}", flush=True)
    subprocess.run([time_networks, str(batch), str(rounds), "ours.toml", "torchscript.toml"], check=True)


def main():
    time_networks, program = (str(Path(path).resolve()) for path in sys.argv[1:])
    os.chdir(tempfile.mkdtemp(prefix="speed-"))
    compare(time_networks, program, "quickstart.toml", [2], 1024, 200)
    small = dict(channels=32, multipliers=[1, 2, 2], blocks=2, attention=[7], dropout=0.0)
    compare(time_networks, program, "vp_cifar.toml", [1, 28, 28], 16, 30, **small)


if __name__ == "__main__":
    main()
