#!/usr/bin/env python3
"""Checkpoints of the reference implementation, written and read by real PyTorch (torch 2.13, numpy, safetensors).

    pth_roundtrip.py fixtures                writes tests/fixtures/pth/
    pth_roundtrip.py check score-sde [DIR]   run -> export -> .pth in both layouts -> import -> the same samples and the same training,
                                             with the program `score-sde`, in DIR or a temporary folder

The network of the fixtures is NCSN++ with one level of 4 channels for grey 8x8 images, conditioned on ln sigma by Fourier features. Its
weights are dyadic fractions given by a formula (`number`), so that a test can know them without PyTorch.
"""

import copy
import os
import pickle
import subprocess
import sys
import tempfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import nn

FIXTURES = Path(__file__).resolve().parents[2] / "tests/fixtures/pth"
WEIGHTS, AVERAGES, FIRST_MOMENTS, SECOND_MOMENTS = range(4)


def shapes():
    """Names and shapes of the parameters in order of registration."""

    def group_norm(name, channels):
        return [(f"{name}.weight", [channels]), (f"{name}.bias", [channels])]

    def linear(name, inputs, outputs):
        return [(f"{name}.weight", [outputs, inputs]), (f"{name}.bias", [outputs])]

    def convolution(name, inputs, outputs, size):
        return [(f"{name}.weight", [outputs, inputs, size, size]), (f"{name}.bias", [outputs])]

    def block(name, inputs, outputs):
        layers = group_norm(f"{name}.GroupNorm_0", inputs) + convolution(f"{name}.Conv_0", inputs, outputs, 3)
        layers += linear(f"{name}.Dense_0", 16, outputs) + group_norm(f"{name}.GroupNorm_1", outputs)
        layers += convolution(f"{name}.Conv_1", outputs, outputs, 3)
        return layers + (convolution(f"{name}.Conv_2", inputs, outputs, 1) if inputs != outputs else [])

    def attention(name, channels):
        nin = [(f"{name}.NIN_{i}.{part}", shape) for i in range(4) for part, shape in (("W", [channels] * 2), ("b", [channels]))]
        return group_norm(f"{name}.GroupNorm_0", channels) + nin

    at = "all_modules.{}".format
    layers = [(at(0) + ".W", [4])] + linear(at(1), 8, 16) + linear(at(2), 16, 16) + convolution(at(3), 1, 4, 3) + block(at(4), 4, 4)
    layers += block(at(5), 4, 4) + attention(at(6), 4) + block(at(7), 4, 4)
    layers += block(at(8), 8, 4) + block(at(9), 8, 4) + group_norm(at(10), 4) + convolution(at(11), 4, 1, 3)
    return layers


def number(kind, index, shape):
    """Element i of tensor `index`: ((37 i + 101 index + 59 kind) mod 257 - 128) / 512; second moments are its absolute value."""
    i = torch.arange(int(np.prod(shape)), dtype=torch.int64)
    value = (((37 * i + 101 * index + 59 * kind) % 257 - 128) / 512).to(torch.float32).view(shape)
    return value.abs() if kind == SECOND_MOMENTS else value


def network(named, frozen, sigmas):
    """A module with these parameters under these names, wrapped as the reference wraps its networks."""
    root = nn.Module()
    root.register_buffer("sigmas", torch.as_tensor(sigmas, dtype=torch.float64))
    for name, value in named:
        *path, last = name.split(".")
        module = root
        for part in path:
            if part not in module._modules:
                module.add_module(part, nn.Module())
            module = module._modules[part]
        module.register_parameter(last, nn.Parameter(value, requires_grad=name not in frozen))
    return nn.DataParallel(root)


def checkpoint(named, averages, moments, step, frozen=("all_modules.0.W",), sigmas=None, decay=0.999):
    """The reference's dict: `named` weights; `averages` of those that are trained; `moments` (first, second) or None for a new Adam."""
    sigmas = np.exp(np.linspace(np.log(50.0), np.log(0.01), 10)) if sigmas is None else sigmas
    model = network(named, frozen, sigmas)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    if moments is not None:
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        sum(parameter.sum() for parameter in trained).backward()
        before = copy.deepcopy(model.state_dict())
        optimizer.step()
        model.load_state_dict(before)
        for parameter, first, second in zip(trained, *moments):
            state = optimizer.state[parameter]
            state["step"] = torch.tensor(float(step))
            state["exp_avg"].copy_(first)
            state["exp_avg_sq"].copy_(second)
    # The reference warms up with numpy.minimum, so its learning rate is a number of NumPy's.
    optimizer.param_groups[0]["lr"] = 2e-4 * np.minimum(step / 5000, 1.0)
    ema = {"decay": decay, "num_updates": step, "shadow_params": [average.clone().detach() for average in averages]}
    return {"optimizer": optimizer.state_dict(), "model": model.state_dict(), "ema": ema, "step": step}


class Call:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def fixtures():
    FIXTURES.mkdir(parents=True, exist_ok=True)
    names = shapes()
    trained = [(index, shape) for index, (name, shape) in enumerate(names) if name != "all_modules.0.W"]
    of = lambda kind: [number(kind, index, shape) for index, shape in trained]
    named = [(name, number(WEIGHTS, index, shape)) for index, (name, shape) in enumerate(names)]
    state = checkpoint(named, of(AVERAGES), (of(FIRST_MOMENTS), of(SECOND_MOMENTS)), step=1000)
    torch.save(state, FIXTURES / "ncsnpp.pth")
    # As PyTorch 1.5 and older wrote it: numbers of steps were plain.
    for entry in state["optimizer"]["state"].values():
        entry["step"] = 1000
    torch.save(state, FIXTURES / "ncsnpp_legacy.pth", _use_new_zipfile_serialization=False)

    # One storage, seen in many ways.
    base = torch.arange(24, dtype=torch.float32)
    odd = {
        "base": base,
        "transposed": base.view(4, 6).t(),
        "part": base.view(4, 6)[1:3, ::2],
        "expanded": base[5:6].expand(3, 4),
        "scalar": base[7],
        "empty": base[:0].view(0, 3),
        "parameter": nn.Parameter(base[2:6].view(2, 2)),
        "half": base[:3].half(),
        "bfloat16": base[:3].bfloat16(),
        "double": base[:3].double() / 3,
        "long": torch.tensor([-1, 1 << 40]),
        "bool": torch.tensor([True, False]),
        "words": OrderedDict(text="Wörter", number=-12345678901, half=0.5, none=None, tuple=(1, (2, ()))),
    }
    torch.save(odd, FIXTURES / "odd.pth")
    torch.save(odd, FIXTURES / "odd_legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(odd, FIXTURES / "odd_protocol_4.pth", pickle_protocol=4)

    harmless = {"model": OrderedDict(), "ema": {}, "step": 0}
    torch.save(harmless | {"optimizer": Call(os.system, "touch called-by-zip")}, FIXTURES / "malicious.pth")
    legacy = FIXTURES / "malicious_legacy.pth"
    torch.save(harmless | {"optimizer": Call(eval, "open('called-by-legacy', 'w')")}, legacy, _use_new_zipfile_serialization=False)
    (FIXTURES / "malicious_pickle.pth").write_bytes(pickle.dumps(Call(exec, "open('called-by-pickle', 'w')"), protocol=4))
    for file in sorted(FIXTURES.iterdir()):
        print(f"{file.stat().st_size:8} {file.name}")


EXPERIMENT = """
seed = 3
[sde.ve]
sigma_min = 0.01
sigma_max = 50.0
[data.npy-images]
train = "{data}"
test = "{data}"
layout = "nchw"
range = [0.0, 1.0]
flip = false
dequantise = true
[network.ncsnpp]
channels = 4
multipliers = [1, 2]
blocks = 1
attention = [4]
dropout = 0.1
block = "biggan"
resample.fir = [1, 3, 3, 1]
resample_with_convolution = true
progressive_output = "none"
progressive_input = "residual"
combine = "sum"
embedding.fourier.scale = 16.0
skip_rescale = true
init_scale = 0.0
conditional = true
[precondition.reference]
[train]
steps = {steps}
batch = 4
lr = 1e-3
warmup = 2
clip = 1.0
betas = [0.9, 0.999]
eps = 1e-8
weight_decay = 0.0
ema = 0.999
objective = "denoising"
weighting = "variance"
reduction = "half-sum"
time = "uniform"
importance = true
stratified = false
t_min = 1e-5
checkpoint_every = 4
keep = 9
[sample]
count = 4
batch = 4
dynamics = "reverse-sde"
solver.euler.grid.uniform.steps = 10
t_min = 1e-5
denoise = true
"""


def check(program, folder):
    from safetensors import safe_open
    from safetensors.torch import load_file

    os.chdir(folder)
    np.save("data.npy", np.random.default_rng(0).integers(0, 256, (16, 1, 8, 8), dtype=np.uint8))
    for steps in (4, 8):
        Path(f"{steps}.toml").write_text(EXPERIMENT.format(data=Path("data.npy").resolve(), steps=steps))

    def score_sde(*arguments, fails=None):
        done = subprocess.run([program, "--quiet", "--threads", "1", *map(str, arguments)], capture_output=True, text=True)
        assert (done.returncode == 0) == (fails is None), f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert fails is None or fails in done.stderr, done.stderr
        return done.stderr

    def samples(run, name="samples"):
        return np.load(f"{run}/samples/{name}.npz")["samples"]

    score_sde("run", "8.toml", "--out", "whole")
    score_sde("run", "4.toml", "--out", "half")
    score_sde("export", "half", "--to", "pth-names")
    score_sde("export", "half", "--to", "safetensors")

    state = load_file("half/weights-pth-names.safetensors")
    plain = load_file("half/weights.safetensors")
    with safe_open("half/weights-pth-names.safetensors", "pt") as file:
        names = [name for name in file.offset_keys() if name != "module.sigmas"]
        print("export: ", len(names), "tensors,", file.metadata())
    assert [name.removeprefix("module.") for name in names] == [*safe_open("half/weights.safetensors", "pt").offset_keys()]
    assert all(torch.equal(state[name], plain[name.removeprefix("module.")]) for name in names)
    levels = np.exp(np.linspace(np.log(50.0), np.log(0.01), 1000))
    assert np.allclose(state["module.sigmas"].numpy(), levels, rtol=1e-13, atol=0)

    # The run's own checkpoint has everything; its tensors go into PyTorch's objects and out again through torch.save.
    saved = load_file("half/checkpoints/step-00000004.safetensors")
    frozen = ("all_modules.0.W",)
    order = [name.removeprefix("module.") for name in names]
    trained = [name for name in order if name not in frozen]
    assert all(torch.equal(plain[name], saved[f"ema.{name}"]) for name in trained)
    named = [(name, saved[f"model.{name}"]) for name in order]
    lengths = [saved[f"model.{name}"].numel() for name in trained]
    moments = [
        [part.view(saved[f"model.{name}"].shape) for name, part in zip(trained, saved[f"adam.{which}"].split(lengths))]
        for which in ("first_moment", "second_moment")
    ]
    whole = checkpoint(named, [saved[f"ema.{name}"] for name in trained], moments, 4, frozen, state["module.sigmas"])
    model = network([(name, torch.zeros_like(value)) for name, value in named], frozen, np.zeros(1000))
    model.load_state_dict(state, strict=True)

    for layout, new in (("zip", True), ("legacy", False)):
        torch.save(whole, f"{layout}.pth", _use_new_zipfile_serialization=new)
        warnings = score_sde("import", f"{layout}.pth", "--experiment", "8.toml", "--out", layout)
        assert warnings == "", warnings
        score_sde("sample", layout, "--name", "again")
        assert np.array_equal(samples(layout, "again"), samples("half")), f"{layout}: other samples"
        score_sde("run", "8.toml", "--out", layout)
        here, there = (load_file(f"{run}/checkpoints/step-00000008.safetensors") for run in (layout, "whole"))
        assert here.keys() == there.keys() and all(torch.equal(here[name], there[name]) for name in here), f"{layout}: other training"
        print(f"{layout}: {os.path.getsize(layout + '.pth')} bytes, the same samples, the same weights after 4 more steps")

    torch.save({"model": Call(os.system, "touch called")}, "evil.pth")
    score_sde("import", "evil.pth", "--experiment", "8.toml", "--out", "evil", fails="refusing to call `posix.system`")
    assert not os.path.exists("called") and not os.path.exists("evil")
    for length in range(0, os.path.getsize("zip.pth"), 9973):
        Path("cut.pth").write_bytes(Path("zip.pth").read_bytes()[:length])
        score_sde("import", "cut.pth", "--experiment", "8.toml", "--out", "cut", fails="cut.pth")
    print("malicious and truncated files are refused")


if __name__ == "__main__":
    if sys.argv[1:] == ["fixtures"]:
        fixtures()
    elif sys.argv[1:2] == ["check"] and len(sys.argv) in (3, 4):
        program = str(Path(sys.argv[2]).resolve())
        if len(sys.argv) == 4:
            os.makedirs(sys.argv[3], exist_ok=True)
            check(program, sys.argv[3])
        else:
            with tempfile.TemporaryDirectory() as folder:
                check(program, folder)
    else:
        sys.exit(__doc__)
