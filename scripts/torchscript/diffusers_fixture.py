#!/usr/bin/env python3
"""Writes tests/fixtures/diffusers (PyTorch 2.13, diffusers 0.42): a UNet2DModel whose weights are given by a formula, what it is and gives.

    diffusers_fixture.py

Element i of the weight that is the k-th by name is ((37 i + 101 k) mod 257 - 128) / 1024, and 1 more where the name ends with norm1.weight,
norm2.weight, group_norm.weight or conv_norm_out.weight. A test can make the safetensors file from names.json.
"""

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DModel

FOLDER = Path(__file__).resolve().parents[2] / "tests/fixtures/diffusers"
KINDS = dict(down_block_types=["DownBlock2D", "AttnDownBlock2D"], up_block_types=["AttnUpBlock2D", "UpBlock2D"])
PUBLISHED = dict(attention_head_dim=None, norm_eps=1e-6, flip_sin_to_cos=False, freq_shift=1, downsample_padding=0)


def main():
    model = UNet2DModel(sample_size=8, in_channels=1, out_channels=1, block_out_channels=[32, 64], layers_per_block=1, **KINDS, **PUBLISHED)
    state = model.eval().state_dict()
    for k, name in enumerate(sorted(state)):
        i = torch.arange(state[name].numel())
        values = ((37 * i + 101 * k) % 257 - 128).view(state[name].shape) / 1024
        state[name].copy_(values + (name.endswith(("norm1.weight", "norm2.weight", "group_norm.weight", "conv_norm_out.weight"))))
    FOLDER.mkdir(parents=True, exist_ok=True)
    model.save_config(FOLDER)
    DDPMScheduler().save_config(FOLDER)
    (FOLDER / "names.json").write_text(json.dumps({name: list(state[name].shape) for name in sorted(state)}, indent=0))
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    label = torch.tensor([999.0, 400.0, 0.0])
    with torch.no_grad():
        y = model.double()(x.double(), label, return_dict=False)[0]
    np.savez(FOLDER / "case.npz", x=x.numpy(), label=label.numpy(), y=y.numpy())
    for file in sorted(FOLDER.iterdir()):
        print(f"{file.stat().st_size:8} {file.name}")


if __name__ == "__main__":
    main()
