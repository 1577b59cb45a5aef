"""The networks of scripts/bench in plain PyTorch, their parameters named as in src/net.

Of the NCSN++ family there is what the experiments of the bench use: BigGAN blocks, sums divided by the root of 2, no progressive output.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F


def positional(label, size):
    """[sin, cos] of frequencies from 1 to 1e-4."""
    frequencies = torch.exp(torch.arange(size // 2, device=label.device, dtype=label.dtype) * (-math.log(1e4) / (size // 2 - 1)))
    angle = label[:, None] * frequencies[None, :]
    return torch.cat([angle.sin(), angle.cos()], dim=1)


class Fourier(nn.Module):
    """[sin, cos] of random frequencies that are not trained."""

    def __init__(self, size):
        super().__init__()
        self.register_buffer("W", torch.empty(size))

    def forward(self, label):
        angle = label[:, None] * self.W[None, :] * math.tau
        return torch.cat([angle.sin(), angle.cos()], dim=1)


def group_norm(channels):
    return nn.GroupNorm(min(channels // 4, 32), channels, eps=1e-6)


class Filter(nn.Module):
    """Half or twice the size: 2x2 means and nearest neighbours, or a separable FIR filter."""

    def __init__(self, taps):
        super().__init__()
        self.fir = taps is not None
        if self.fir:
            taps = torch.tensor(taps, dtype=torch.float64)
            taps = taps / taps.sum()
            self.register_buffer("kernel", torch.outer(taps, taps).float()[None, None], persistent=False)

    def per_channel(self, x):
        return self.kernel.flip(2, 3).expand(x.shape[1], 1, -1, -1)

    def down(self, x):
        if not self.fir:
            return F.avg_pool2d(x, 2)
        return F.conv2d(x, self.per_channel(x), stride=2, padding=self.kernel.shape[-1] // 2 - 1, groups=x.shape[1])

    def up(self, x):
        if not self.fir:
            return F.interpolate(x, scale_factor=2, mode="nearest")
        weight = (4 * self.kernel).expand(x.shape[1], 1, -1, -1)
        return F.conv_transpose2d(x, weight, stride=2, padding=self.kernel.shape[-1] // 2 - 1, groups=x.shape[1])


class PyramidDown(Filter):
    """The filter, then a convolution at every second place."""

    def __init__(self, inputs, outputs, taps):
        super().__init__(taps)
        self.Conv2d_0 = nn.Conv2d(inputs, outputs, 3, stride=2)

    def forward(self, x):
        return self.Conv2d_0(F.conv2d(x, self.per_channel(x), padding=self.kernel.shape[-1] // 2, groups=x.shape[1]))


class Block(nn.Module):
    """A residual block; `resize` is None, "down" or "up"."""

    def __init__(self, inputs, outputs, embedding, dropout, taps=None, resize=None):
        super().__init__()
        self.GroupNorm_0 = group_norm(inputs)
        self.Conv_0 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.Dense_0 = nn.Linear(embedding, outputs)
        self.GroupNorm_1 = group_norm(outputs)
        self.dropout = nn.Dropout(dropout)
        self.Conv_1 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.Conv_2 = nn.Conv2d(inputs, outputs, 1) if resize or inputs != outputs else nn.Identity()
        self.resize = getattr(Filter(taps), resize) if resize else nn.Identity()

    def forward(self, x, embedding):
        h = self.Conv_0(self.resize(F.silu(self.GroupNorm_0(x))))
        h = h + self.Dense_0(embedding)[:, :, None, None]
        h = self.Conv_1(self.dropout(F.silu(self.GroupNorm_1(h))))
        return (self.Conv_2(self.resize(x)) + h) / math.sqrt(2)


class Nin(nn.Module):
    """A linear map of the last axis."""

    def __init__(self, channels):
        super().__init__()
        self.W = nn.Parameter(torch.empty(channels, channels))
        self.b = nn.Parameter(torch.empty(channels))

    def forward(self, x):
        return x @ self.W + self.b


class Attention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.GroupNorm_0 = group_norm(channels)
        self.NIN_0, self.NIN_1, self.NIN_2, self.NIN_3 = (Nin(channels) for _ in range(4))

    def forward(self, x):
        pixels = self.GroupNorm_0(x).flatten(2).transpose(1, 2)[:, None]
        h = F.scaled_dot_product_attention(self.NIN_0(pixels), self.NIN_1(pixels), self.NIN_2(pixels))
        return (x + self.NIN_3(h)[:, 0].transpose(1, 2).reshape(x.shape)) / math.sqrt(2)


class UNet(nn.Module):
    """`spec` is [network.ncsnpp] of an experiment, `shape` that of an image."""

    def __init__(self, spec, shape):
        super().__init__()
        images, _, size = shape
        self.channels, self.blocks, multipliers = spec["channels"], spec["blocks"], spec["multipliers"]
        self.fourier = spec["embedding"] != "positional"
        self.residual = spec["progressive_input"] == "residual"
        self.levels = len(multipliers)
        self.attends = [size >> level in spec["attention"] for level in range(self.levels)]
        taps = None if spec["resample"] == "naive" else spec["resample"]["fir"]
        embedding = 4 * self.channels
        layers = [Fourier(self.channels)] if self.fourier else []
        layers += [nn.Linear((1 + self.fourier) * self.channels, embedding), nn.Linear(embedding, embedding)]
        layers.append(nn.Conv2d(images, self.channels, 3, padding=1))

        def block(inputs, outputs, resize=None):
            layers.append(Block(inputs, outputs, embedding, spec["dropout"], taps, resize))

        now, pyramid, kept = self.channels, images, [self.channels]
        for level, multiplier in enumerate(multipliers):
            for _ in range(self.blocks):
                block(now, self.channels * multiplier)
                now = self.channels * multiplier
                layers.extend([Attention(now)] * self.attends[level])
                kept.append(now)
            if level + 1 < self.levels:
                block(now, now, "down")
                if self.residual:
                    layers.append(PyramidDown(pyramid, now, taps))
                    pyramid = now
                kept.append(now)
        block(now, now)
        layers.append(Attention(now))
        block(now, now)
        for level, multiplier in reversed(list(enumerate(multipliers))):
            for _ in range(self.blocks + 1):
                block(now + kept.pop(), self.channels * multiplier)
                now = self.channels * multiplier
            layers.extend([Attention(now)] * self.attends[level])
            if level > 0:
                block(now, now, "up")
        layers += [group_norm(now), nn.Conv2d(now, images, 3, padding=1)]
        self.all_modules = nn.ModuleList(layers)

    def forward(self, x, label):
        layers = iter(self.all_modules)
        waves = next(layers)(label) if self.fourier else positional(label, self.channels)
        embedding = next(layers)(waves)
        embedding = F.silu(next(layers)(F.silu(embedding)))
        h = next(layers)(x)
        pyramid, kept = x, [h]
        for level in range(self.levels):
            for _ in range(self.blocks):
                h = next(layers)(h, embedding)
                if self.attends[level]:
                    h = next(layers)(h)
                kept.append(h)
            if level + 1 < self.levels:
                h = next(layers)(h, embedding)
                if self.residual:
                    h = pyramid = (next(layers)(pyramid) + h) / math.sqrt(2)
                kept.append(h)
        h = next(layers)(h, embedding)
        h = next(layers)(h)
        h = next(layers)(h, embedding)
        for level in reversed(range(self.levels)):
            for _ in range(self.blocks + 1):
                h = next(layers)(torch.cat([h, kept.pop()], dim=1), embedding)
            if self.attends[level]:
                h = next(layers)(h)
            if level > 0:
                h = next(layers)(h, embedding)
        h = F.silu(next(layers)(h))
        return next(layers)(h)


class ProjectedInput(nn.Linear):
    """x with sines and cosines of random projections that are not trained, then a linear map."""

    def __init__(self, dimension, count, width):
        super().__init__(dimension + 2 * count, width)
        self.register_buffer("W", torch.empty(dimension, count))

    def forward(self, x):
        angle = x @ self.W * math.tau
        return super().forward(torch.cat([x, angle.sin(), angle.cos()], dim=1))


class MlpBlock(nn.Module):
    def __init__(self, width, waves):
        super().__init__()
        self.hidden, self.condition, self.out = nn.Linear(width, width), nn.Linear(waves, width), nn.Linear(width, width)

    def forward(self, h, waves):
        return h + self.out(F.silu(self.hidden(h) + self.condition(waves)))


class Mlp(nn.Module):
    """`spec` is [network.mlp] of an experiment with Fourier features on both sides."""

    def __init__(self, spec, shape):
        super().__init__()
        width, waves = spec["width"], 2 * (spec["width"] // 4)
        self.embedding = Fourier(waves // 2)
        self.input = ProjectedInput(shape[0], spec["input"]["fourier"]["count"], width)
        self.condition = nn.Linear(waves, width)
        self.blocks = nn.ModuleList(MlpBlock(width, waves) for _ in range(spec["depth"]))
        self.output = nn.Linear(width, shape[0])

    def forward(self, x, label):
        waves = self.embedding(label)
        h = self.input(x) + self.condition(waves)
        for block in self.blocks:
            h = block(h, waves)
        return self.output(F.silu(h))


def build(spec, shape):
    """The network of an experiment's [network], as a dictionary."""
    ((name, spec),) = spec.items()
    return {"mlp": Mlp, "ncsnpp": UNet}[name](spec, shape)
