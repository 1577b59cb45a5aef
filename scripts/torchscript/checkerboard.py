#!/usr/bin/env python3
"""A network that PyTorch trained on a checkerboard, measured by score-sde and by SciPy's solve of the same equation: minutes on two cores.

    checkerboard.py score-sde [STEPS]

The probability flow under VP, dx/dt = -1/2 beta (x + s) with s = -F(x, t) / sigma, and its log-density with the exact trace, are solved from
t = 1e-3 to 1 for 100 points: here point by point with SciPy's DOP853, there in one batch.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import nn

from export_plain import export

BETA_MIN, BETA_MAX, T_MIN, SCALE = 0.1, 20.0, 1e-3, 2.0
TOLERANCE = 1e-9


class Net(nn.Module):
    """F(x, t), which predicts the noise."""

    def __init__(self):
        super().__init__()
        self.register_buffer("frequencies", 2 ** torch.arange(6) * torch.pi / 4)
        self.input, self.output = nn.Linear(2 + 24 + 12, 128), nn.Linear(128, 2)
        self.hidden = nn.ModuleList([nn.Linear(128, 128) for _ in range(3)])

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        of_x = (x[:, :, None] * self.frequencies).flatten(1)
        of_t = t[:, None] * self.frequencies
        h = self.input(torch.cat([x, of_x.sin(), of_x.cos(), of_t.sin(), of_t.cos()], dim=1))
        for layer in self.hidden:
            h = h + layer(nn.functional.silu(h))
        return self.output(nn.functional.silu(h))


def schedule(t):
    """beta, alpha and sigma."""
    integral = BETA_MIN * t + 0.5 * (BETA_MAX - BETA_MIN) * t * t
    return BETA_MIN + (BETA_MAX - BETA_MIN) * t, np.exp(-0.5 * integral), np.sqrt(-np.expm1(-integral))


def points(n, rng):
    """Uniform on the squares of side 2 of [-4, 4]^2 where floor(x / 2) + floor(y / 2) is even."""
    x = rng.uniform(-4, 4, (4 * n, 2))
    return x[np.floor(x / 2).sum(1) % 2 == 0][:n].astype(np.float32)


def train(steps, rng):
    net = Net()
    adam = torch.optim.Adam(net.parameters(), lr=1e-3)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for step in range(steps):
        x0, t = torch.from_numpy(points(512, rng)) / SCALE, rng.uniform(T_MIN, 1, 512)
        _, alpha, sigma = (torch.from_numpy(values).float()[:, None] for values in schedule(t))
        z = torch.randn_like(x0)
        loss = (net(alpha * x0 + sigma * z, torch.from_numpy(t).float()) - z).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        slower.step()
        if step % 2000 == 0:
            print(f"step {step:6}  loss {loss.item():.3f}", flush=True)
    return net.eval()


def by_scipy(net, x):
    """The code x_1 of a point of model space, and -ln p in data units."""

    def slope(t, state):
        beta, _, sigma = schedule(t)
        x = torch.from_numpy(state[:2])[None].requires_grad_()
        score = -net(x, torch.tensor([t], dtype=torch.float64)) / sigma
        rows = [torch.autograd.grad(score[0, i], x, retain_graph=True)[0][0, i].item() for i in range(2)]
        return [*(-0.5 * beta * (x + score))[0].tolist(), -0.5 * beta * (2 + sum(rows))]

    end = solve_ivp(slope, (T_MIN, 1.0), [*x, 0.0], method="DOP853", rtol=TOLERANCE, atol=TOLERANCE).y[:, -1]
    prior = -0.5 * end[:2] @ end[:2] - np.log(2 * np.pi)
    return end[:2], -(prior + end[2]) + 2 * np.log(SCALE)


EXPERIMENT = f"""seed = 1
[sde.vp]
beta_min = {BETA_MIN}
beta_max = {BETA_MAX}
[data.npy-vectors]
train = "points.npy"
test = "points.npy"
scale = {SCALE}
[network.torchscript]
file = "net.pt"
[precondition.plain]
label = "t"
output = "noise"
[sample]
count = 100
batch = 100
dynamics = "probability-flow"
solver.dop853 = {{ rtol = {TOLERANCE}, atol = {TOLERANCE} }}
t_min = {T_MIN}
denoise = false
[likelihood]
split = "test"
count = 100
batch = 100
t_min = {T_MIN}
below_t_min = "ignored"
solver.dop853 = {{ rtol = {TOLERANCE}, atol = {TOLERANCE} }}
solver_check = 0
trace.exact = {{}}
dequantisation = "none"
"""


def main():
    program, steps = str(Path(sys.argv[1]).resolve()), int((sys.argv[2:] or [20000])[0])
    os.chdir(tempfile.mkdtemp(prefix="checkerboard-"))
    torch.manual_seed(1)
    torch.set_num_threads(1)
    rng = np.random.default_rng(1)
    begun = time.time()
    net = train(steps, rng)
    print(f"trained in {time.time() - begun:.0f} s, in {os.getcwd()}")
    x = points(100, np.random.default_rng(2))
    np.save("points.npy", x)
    Path("net.toml").write_text(EXPERIMENT)
    net.double()
    truth = [by_scipy(net, point / SCALE) for point in x.astype(np.float64)]
    codes, nats = np.array([code for code, _ in truth]), np.array([nats for _, nats in truth])
    print(f"-ln p by SciPy            {nats.mean():.6f} nats (the law's own: {np.log(32):.4f})")
    for kind, dtype in [("f64", torch.float64), ("f32", torch.float32)]:
        export(net.to(dtype), "net.pt")
        for command in [["run", "net.toml", "--out", kind], ["encode", kind, "--count", "100"]]:
            subprocess.run([program, *command, "--quiet", "--threads", "1"], check=True, stdout=subprocess.DEVNULL)
        mean = json.loads(Path(kind, "likelihood.json").read_text())["nats"]["mean"]
        errors = [np.abs(np.load(f"{kind}/likelihood.npz")["nats"] - nats), np.abs(np.load(f"{kind}/codes.npz")["codes"] - codes)]
        print(f"-ln p by score-sde in {kind} {mean:.6f} nats; largest difference {errors[0].max():.1e} nats, of the codes {errors[1].max():.1e}")


if __name__ == "__main__":
    main()
