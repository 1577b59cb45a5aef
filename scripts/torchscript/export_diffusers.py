#!/usr/bin/env python3
"""A UNet2DModel of diffusers as a program.

    export_diffusers.py FOLDER net.pt

FOLDER is what save_pretrained wrote. A model that was trained with 1000 steps of DDPM: [precondition.discrete] levels = 1000,
output = "noise".
"""

import sys

import torch
from diffusers import UNet2DModel


class F(torch.nn.Module):
    def __init__(self, unet):
        super().__init__()
        self.unet = unet

    def forward(self, x, label):
        return self.unet(x, label, return_dict=False)[0]


def export(unet, file):
    x = torch.randn(2, unet.config.in_channels, unet.config.sample_size, unet.config.sample_size)
    torch.jit.save(torch.jit.trace(F(unet).eval(), (x, torch.tensor([999.0, 1.0]))), file)


if __name__ == "__main__":
    folder, file = sys.argv[1:]
    export(UNet2DModel.from_pretrained(folder), file)
