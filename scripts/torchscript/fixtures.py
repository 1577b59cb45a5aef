#!/usr/bin/env python3
"""Writes tests/fixtures/torchscript (PyTorch 2.13): modules that a test can run, and modules that must be refused.

    fixtures.py
"""

import math
from pathlib import Path

import torch
from torch import nn

FOLDER = Path(__file__).resolve().parents[2] / "tests/fixtures/torchscript"


class Net(nn.Module):
    """Trainable: sines of the label by a buffer of frequencies, two layers, and a tied pair of weights."""

    def __init__(self, condition: int = 0):
        super().__init__()
        self.register_buffer("frequencies", torch.tensor([1.0, 0.1, 0.01]))
        self.input = nn.Linear(2 + 6 + condition, 16)
        self.hidden = nn.Linear(16, 16)
        self.again = self.hidden
        self.output = nn.Linear(16, 2)
        self.unused = nn.Parameter(torch.zeros(2, 1, 1, 1), requires_grad=False)
        self.dropout = nn.Dropout(0.5)

    def features(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        angle = label[:, None] * self.frequencies
        return torch.cat([x, angle.sin(), angle.cos()], dim=1)

    def layers(self, h: torch.Tensor) -> torch.Tensor:
        h = self.dropout(nn.functional.silu(self.input(h)))
        return self.output(nn.functional.silu(self.again(nn.functional.silu(self.hidden(h)))))

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return self.layers(self.features(x, label))


class Told(Net):
    """The same with a condition of 3 numbers."""

    def __init__(self):
        super().__init__(3)

    def forward(self, x: torch.Tensor, label: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        return self.layers(torch.cat([self.features(x, label), condition], dim=1))


class Mixture(nn.Module):
    """The score of experiments/exact_mixture.toml under its [sde.vp], of x and t itself."""

    def __init__(self):
        super().__init__()
        means = [[-1.0, 0.6], [1.0, 0.6], [0.0, -1.2]]
        covariances = [[[0.10, 0.05], [0.05, 0.10]], [[0.10, -0.05], [-0.05, 0.10]], [[0.20, 0.0], [0.0, 0.05]]]
        self.register_buffer("means", torch.tensor(means, dtype=torch.float64))
        self.register_buffer("covariances", torch.tensor(covariances, dtype=torch.float64))

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        variance = -torch.expm1(-(0.1 * t + 0.5 * 19.9 * t * t))[:, None]
        alpha = (1.0 - variance).sqrt()
        a, c = (alpha * alpha)[:, :, None, None], variance[:, :, None, None]
        matrices = a * self.covariances + c * torch.eye(2, dtype=x.dtype, device=x.device)
        p, q, r = matrices[..., 0, 0], matrices[..., 0, 1], matrices[..., 1, 1]
        determinant = p * r - q * q
        residual = x[:, None, :] - alpha[:, :, None] * self.means
        u, v = residual[..., 0], residual[..., 1]
        solved = torch.stack([r * u - q * v, p * v - q * u], dim=-1) / determinant[..., None]
        weights = (-0.5 * (residual * solved).sum(-1) - 0.5 * determinant.log()).softmax(1)
        return -(weights[..., None] * solved).sum(1)


class Image(nn.Module):
    """Trainable, for images: its convolution is followed by a view that counts on the order of the axes."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 2, 3, padding=1)
        self.output = nn.Linear(2 * 64, 64)

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        h = nn.functional.silu(self.convolution(x) + label[:, None, None, None])
        return self.output(h.view(x.shape[0], -1)).view(x.shape)


class Wrong(nn.Module):
    """F = W x, done wrong in one way."""

    def __init__(self, how: str):
        super().__init__()
        self.how = how
        self.layer = nn.Linear(2, 2)
        self.norm = nn.BatchNorm1d(2, track_running_stats=False)

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        if self.how == "shape":
            return self.layer(x)[:, :1]
        if self.how == "nan":
            return self.layer(x) / (label[:, None] * 0.0)
        if self.how == "batch":
            return self.norm(self.layer(x))
        if self.how == "noise":
            return self.layer(x) + torch.randn_like(x)
        if self.how == "kind":
            return self.layer(x).to(torch.bfloat16)
        if self.how == "gradient":
            return self.layer(x.detach())
        if self.how == "inplace":
            return self.layer(x.mul_(2.0))
        if self.how == "late":
            assert float(label.min()) > 2.0, "the label is too small"
        return self.layer(x)


class Shared(nn.Module):
    """Two parameters with one memory."""

    def __init__(self):
        super().__init__()
        self.one = nn.Parameter(torch.ones(2))
        self.other = nn.Parameter(self.one.data)

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return x * self.one + label[:, None] * self.other


class Features(nn.Module):
    """Of pixels [B, 1, 8, 8] from 0 to 255: the means of rows and columns; or, done wrong, something else."""

    def __init__(self, how: str):
        super().__init__()
        self.how = how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x[:, 0] / 127.5 - 1.0
        if self.how == "batch":
            x = x - x.mean(0)
        if self.how == "shape":
            return x
        features = torch.cat([x.mean(1), x.mean(2)], dim=1)
        return features / 0.0 if self.how == "nan" else features


def baked(x, label):
    return x.reshape(3, 2) * 2.0 + label[:, None]


def main():
    torch.manual_seed(1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    save = lambda module, name: torch.jit.save(module, str(FOLDER / f"{name}.pt"))
    net = Net()
    save(torch.jit.script(net), "net")
    save(torch.jit.freeze(torch.jit.script(net.eval())), "frozen")
    save(torch.jit.optimize_for_inference(torch.jit.script(net.eval())), "inference")
    save(torch.jit.trace(net.eval(), (torch.zeros(3, 2), torch.zeros(3))), "traced")
    save(torch.jit.script(Told()), "told")
    save(torch.jit.script(Image()), "image")
    save(torch.jit.script(Mixture()), "mixture-f64")
    save(torch.jit.script(Mixture().float()), "mixture-f32")
    for how in ["shape", "nan", "batch", "noise", "kind", "gradient", "inplace", "late"]:
        save(torch.jit.script(Wrong(how)), f"wrong-{how}")
    save(torch.jit.script(Shared()), "wrong-shared")
    save(torch.jit.trace(baked, (torch.zeros(3, 2), torch.zeros(3))), "wrong-baked")
    save(torch.jit.script(Features("right")), "features")
    for how in ["batch", "shape", "nan"]:
        save(torch.jit.script(Features(how)), f"wrong-features-{how}")
    torch.save(net.state_dict(), FOLDER / "wrong-state.pt")
    for file in sorted(FOLDER.iterdir()):
        print(f"{file.stat().st_size:8} {file.name}")


if __name__ == "__main__":
    main()
