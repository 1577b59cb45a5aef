#!/usr/bin/env python3
"""Each export script on a small network with random weights: F and v^T dF/dx of PyTorch, before the export, beside those of score-sde.

    check.py ask_a_network score-sde [--reference CHECKOUT] [--edm CHECKOUT]
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
import export_diffusers
import export_plain

EXPERIMENT = """seed = 1
{sde}
[data.npy-{data}]
train = "data.npy"
test = "data.npy"
{keys}
[network.torchscript]
file = "net.pt"
[precondition.plain]
label = "t"
output = "noise"
{more}"""
VP, VE = "[sde.vp]\nbeta_min = 0.1\nbeta_max = 20.0", "[sde.ve]\nsigma_min = 0.01\nsigma_max = 50.0"
IMAGES = 'layout = "nchw"\nrange = [-1.0, 1.0]\nflip = false\ndequantise = false\n'


class Plain(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(4, 64), torch.nn.GELU(), torch.nn.Linear(64, 3))

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return self.layers(torch.cat([x, label[:, None]], dim=1))


def numbers(f, x, label, condition, v):
    """F and its product with v, of eager PyTorch."""
    x = torch.from_numpy(x).requires_grad_()
    more = [] if condition is None else [torch.from_numpy(condition)]
    y = f(x, torch.from_numpy(label), *more)
    return y.detach().numpy(), torch.autograd.grad((y * torch.from_numpy(v)).sum(), x)[0].numpy()


def compare(name, ask, f, export, shape, labels, classes=0, sde=VP):
    rng = np.random.default_rng(1)
    x, v = (rng.standard_normal((len(labels), *shape)).astype(np.float32) for _ in range(2))
    label = np.array(labels, dtype=np.float32)
    condition = np.eye(classes, dtype=np.float32)[np.arange(len(labels)) % classes] if classes else None
    for parameter in f.parameters():  # many networks begin as F = 0
        with torch.no_grad():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)) * 0.02)
    truth = numbers(f, x, label, condition, v)
    export("net.pt")
    if len(shape) == 1:
        np.save("data.npy", x)
        data, keys = "vectors", "scale = 1.0"
    else:
        np.save("data.npy", rng.integers(0, 256, (4, *shape), dtype=np.uint8))
        data, keys = "images", IMAGES
    more = ""
    if classes:
        np.save("labels.npy", np.arange(4 if len(shape) > 1 else len(x)) % classes)
        keys, more = keys + 'labels = { train = "labels.npy", test = "labels.npy" }\n', "[condition.class]\ndropout = 0.0\n"
    Path("net.toml").write_text(EXPERIMENT.format(sde=sde, data=data, keys=keys, more=more))
    beside(name, ask, "net.toml", dict(x=x, label=label, v=v) | ({} if condition is None else {"condition": condition}), truth)


def beside(name, ask, subject, inputs, truth):
    """F and the product of `subject`, an experiment or a run, beside PyTorch's."""
    np.savez("in.npz", **inputs)
    subprocess.run([ask, subject, "in.npz", "out.npz"], check=True)
    found = np.load("out.npz")
    errors = [np.abs(found[key] - value).max() / np.abs(value).max() for key, value in zip(("y", "vjp"), truth)]
    print(f"{name:28} F {errors[0]:.1e}   vjp {errors[1]:.1e}", flush=True)
    assert max(errors) < 2e-5, name


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ask", type=Path)
    parser.add_argument("program", type=Path)
    parser.add_argument("--reference", type=Path, help="a checkout of the reference's PyTorch code")
    parser.add_argument("--edm", type=Path, help="a checkout of EDM's code")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="torchscript-"))
    ask, program, reference, edm = (path and path.resolve() for path in (given.ask, given.program, given.reference, given.edm))
    os.chdir(folder)
    torch.manual_seed(1)

    plain = Plain()
    compare("plain", ask, plain, lambda file: export_plain.export(plain, file), (3,), [0.1, 0.5, 1.0])

    from diffusers import UNet2DModel

    unet = UNet2DModel(sample_size=16, in_channels=3, out_channels=3, block_out_channels=(32, 64), layers_per_block=1,
                       down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D")).eval()  # fmt: skip
    f = export_diffusers.F(unet)
    compare("diffusers UNet2DModel", ask, f, lambda file: export_diffusers.export(unet, file), (3, 16, 16), [0.0, 321.0, 999.0])
    imported(ask, program)
    if reference:
        of_reference(ask, reference)
    if edm:
        of_edm(ask, edm)


def imported(ask, program):
    """The network of the published model for CIFAR-10, with random weights, as [network.ddpm]."""
    from diffusers import DDPMScheduler, UNet2DModel

    down = ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"]
    up = [kind.replace("Down", "Up") for kind in reversed(down)]
    unet = UNet2DModel(sample_size=32, block_out_channels=(128, 256, 256, 256), layers_per_block=2, down_block_types=down, up_block_types=up,
                       attention_head_dim=None, norm_eps=1e-6, flip_sin_to_cos=False, freq_shift=1, downsample_padding=0).eval()  # fmt: skip
    unet.save_pretrained("model")
    DDPMScheduler().save_pretrained("model")
    np.save("data.npy", np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), dtype=np.uint8))
    text = (Path(__file__).resolve().parents[2] / "experiments/ddpm_cifar.toml").read_text()
    begin, end = text.index("[data.cifar10]"), text.index("[network.ddpm]")
    data = '[data.npy-images]\ntrain = "data.npy"\ntest = "data.npy"\n' + IMAGES
    Path("ddpm.toml").write_text(text[:begin] + data + text[end : text.index("[sample]")])
    subprocess.run([program, "import", "model", "--layout", "diffusers", "--experiment", "ddpm.toml", "--out", "imported"], check=True)
    x, v = (torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(seed)).numpy() for seed in (1, 2))
    label = np.array([999.0, 10.0], dtype=np.float32)
    truth = numbers(export_diffusers.F(unet), x, label, None, v)
    beside("import of a UNet2DModel", ask, "imported", dict(x=x, label=label, v=v), truth)


def of_reference(ask, checkout):
    import torch.utils.cpp_extension

    import export_reference

    for config, labels, sde in [("configs/ve/cifar10_ncsnpp_continuous.py", [0.02, 1.0, 40.0], VE), ("configs/vp/cifar10_ddpmpp_continuous.py", [1.0, 300.5, 999.0], VP)]:
        net, config = export_reference.network(checkout, config)
        config.model.nf, config.model.num_res_blocks, config.model.dropout = 32, 1, 0.0
        net = type(net)(config).eval()
        name = f"reference {config.model.name} {'VE' if sde == VE else 'VP'}"
        compare(name, ask, net, lambda file: export_reference.export(net, config, file), (3, 32, 32), labels, sde=sde)


def of_edm(ask, checkout):
    sys.path.insert(0, str(checkout))
    import export_edm
    from training.networks import EDMPrecond

    for name, classes, more in [("SongUNet", 0, {}), ("DhariwalUNet", 3, {"channel_mult": [1, 2]})]:
        net = EDMPrecond(img_resolution=16, img_channels=3, label_dim=classes, model_type=name, model_channels=32, num_blocks=1, dropout=0.0, **more).eval()
        compare(f"EDM {name}", ask, export_edm.F(net), lambda file: export_edm.export(net, file), (3, 16, 16), [-1.5, 0.0, 1.0], classes, VE)


if __name__ == "__main__":
    main()
