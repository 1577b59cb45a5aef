"""Whole jobs on one exact score, this library beside diffusers, k-diffusion and a predictor-corrector sampler: seconds until samples are as
close to the law as asked for, and seconds until a likelihood has the error bar asked for. Called by scripts/bench jobs.

The score is that of experiments/exact_mixture.toml, in f32, on one thread. Processes take turns: a round has each setting of each once.
"""

import csv
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, HeunDiscreteScheduler, UniPCMultistepScheduler
from k_diffusion import sampling
from scipy.integrate import solve_ivp

TOP = Path(__file__).resolve().parent.parent.parent
EXPERIMENT = TOP / "experiments/exact_mixture.toml"
BETA_MIN, BETA_MAX, T_MIN = 0.1, 20.0, 1e-3
COUNT, POINTS = 10000, 512
EVALUATIONS = [5, 6, 8, 10, 12, 15, 20, 30, 50, 100]
DISTANCES = [3e-3, 1e-3]
ERRORS = [1e-2, 1e-3]
DDPM_STEPS = 1000


class Mixture:
    """α, σ of the VP process and ∇ ln p_t of the mixture under it."""

    def __init__(self, weights, means, covariances):
        self.log_weights = torch.tensor(weights, dtype=torch.float64).log()
        self.means = torch.tensor(means)
        values, vectors = torch.linalg.eigh(torch.tensor(covariances, dtype=torch.float64))
        self.values, self.vectors = values.float(), vectors.float()

    def level(self, t):
        log_alpha = -0.25 * t**2 * (BETA_MAX - BETA_MIN) - 0.5 * t * BETA_MIN
        return math.exp(log_alpha), math.sqrt(-math.expm1(2 * log_alpha))

    def score(self, x, alpha, sigma):
        """At x [N, 2], all of one level."""
        variances = alpha**2 * self.values + sigma**2
        # [K, N, 2], in the axes of each component.
        off = (x - alpha * self.means[:, None]) @ self.vectors
        scaled = off / variances[:, None]
        logits = (self.log_weights - 0.5 * variances.log().sum(1)).float()[:, None] - 0.5 * (off * scaled).sum(2)
        return -(logits.softmax(0)[..., None] * (scaled @ self.vectors.transpose(1, 2))).sum(0)

    def draw(self, n, generator):
        which = torch.multinomial(self.log_weights.exp(), n, True, generator=generator)
        z = torch.randn(n, 2, generator=generator) * self.values[which].sqrt()
        return self.means[which] + torch.einsum("nij,nj->ni", self.vectors[which], z)


def energy_distance(x, y):
    """2 E‖X - Y‖ - E‖X - X'‖ - E‖Y - Y'‖, unbiased (Székely & Rizzo 2013)."""
    x, y = x.double(), y.double()
    total = lambda a, b: sum(torch.cdist(part, b).sum().item() for part in a.split(1000))
    n, m = len(x), len(y)
    return 2 * total(x, y) / (n * m) - total(x, x) / (n * (n - 1)) - total(y, y) / (m * (m - 1))


def with_diffusers(scheduler, mixture, z, evaluations):
    scheduler.set_timesteps(evaluations)
    x = z * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        alpha2 = scheduler.alphas_cumprod[int(t)].item() if float(t).is_integer() else between(scheduler.alphas_cumprod, float(t))
        alpha, sigma = math.sqrt(alpha2), math.sqrt(1 - alpha2)
        state = scheduler.scale_model_input(x, t)
        x = scheduler.step(-sigma * mixture.score(state, alpha, sigma), t, x).prev_sample
    return x


def between(levels, t):
    """ᾱ at a time between two of the chain, as the schedulers have it: linear in t for ln σ/α."""
    low = min(int(t), len(levels) - 2)
    ratio = [0.5 * math.log((1 - level) / level) for level in levels[low : low + 2].tolist()]
    log_ratio = ratio[0] + (t - low) * (ratio[1] - ratio[0])
    return 1 / (1 + math.exp(2 * log_ratio))


def with_k_diffusion(sampler, schedule, mixture, z, steps):
    low, high = (sigma / alpha for alpha, sigma in (mixture.level(T_MIN), mixture.level(1.0)))

    def denoiser(x, sigma, **_):
        sigma = sigma[0].item()
        return x + sigma**2 * mixture.score(x, 1.0, sigma)

    return sampler(denoiser, z * high, schedule(steps, low, high), disable=True)


def predictor_corrector(mixture, z, steps, snr=0.16):
    """Reverse diffusion and one Langevin step at each time (Song et al. 2021, algorithms 3 and 5)."""
    x = z
    for t in np.linspace(1.0, T_MIN, steps):
        alpha, sigma = mixture.level(t)
        beta = (BETA_MIN + t * (BETA_MAX - BETA_MIN)) / steps
        score, noise = mixture.score(x, alpha, sigma), torch.randn_like(x)
        step = 2 * (1 - beta) * (snr * noise.norm(dim=1).mean() / score.norm(dim=1).mean()) ** 2
        x = x + step * score + torch.sqrt(2 * step) * noise
        mean = (2 - math.sqrt(1 - beta)) * x + beta * mixture.score(x, alpha, sigma)
        x = mean + math.sqrt(beta) * torch.randn_like(x)
    return mean


def samplers():
    """Name -> (make samples of (mixture, z, number), evaluations of a number)."""
    betas = dict(beta_start=BETA_MIN / DDPM_STEPS, beta_end=BETA_MAX / DDPM_STEPS, num_train_timesteps=DDPM_STEPS)
    found = {}
    for name, make in {
        "DPM-Solver++ 2M": lambda: DPMSolverMultistepScheduler(**betas, solver_order=2, use_karras_sigmas=False),
        "DPM-Solver++ 3M": lambda: DPMSolverMultistepScheduler(**betas, solver_order=3, use_karras_sigmas=False),
        "DPM-Solver++ 2M, log-SNR": lambda: DPMSolverMultistepScheduler(**betas, solver_order=2, use_lu_lambdas=True),
        "UniPC 3": lambda: UniPCMultistepScheduler(**betas, solver_order=3),
    }.items():
        found[f"diffusers {name}"] = (lambda mixture, z, n, make=make: with_diffusers(make(), mixture, z, n), lambda n: n)
    for name, sampler, each in [
        ("DPM++ 2M", sampling.sample_dpmpp_2m, 1),
        ("DPM++ 3M SDE", sampling.sample_dpmpp_3m_sde, 1),
        ("Heun", sampling.sample_heun, 2),
        ("LMS", sampling.sample_lms, 1),
    ]:
        for grid, schedule in [("Karras", sampling.get_sigmas_karras), ("exponential", sampling.get_sigmas_exponential)]:
            make = lambda mixture, z, n, sampler=sampler, schedule=schedule, each=each: with_k_diffusion(sampler, schedule, mixture, z, n // each)
            found[f"k-diffusion {name}, {grid}"] = (make, lambda n, each=each: each * (n // each) - (each - 1))
    found["predictor-corrector"] = (lambda mixture, z, n: predictor_corrector(mixture, z, n), lambda n: 2 * n)
    return found


def numbers(name):
    return [50, 100, 200, 500, 1000] if name == "predictor-corrector" else EVALUATIONS


def of_python(mixture, truth, generator):
    """(name, evaluations) -> (seconds, energy distance), once each."""
    found = {}
    for name, (sample, evaluations) in samplers().items():
        for n in numbers(name):
            z = torch.randn(COUNT, 2, generator=generator)
            begun = time.perf_counter()
            with torch.no_grad():
                x = sample(mixture, z, n)
            seconds = time.perf_counter() - begun
            found[name, evaluations(n)] = (seconds, energy_distance(x, truth))
    return found


def of_ours(seed):
    """The same by score-sde lab."""
    solvers = "dpm-solver-pp-2,dpm-solver-pp-3,uni-pc-3,deis-rho-3,heun"
    with tempfile.TemporaryDirectory() as out:
        command = [str(TOP / "target/release/score-sde"), "lab", str(EXPERIMENT), "--solvers", solvers, "--nfe", ",".join(map(str, EVALUATIONS))]
        command += ["--grids", "log-snr,karras", "--count", str(COUNT), "--out", out, "--threads", "1", "--set", f"seed={seed}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(f"{out}/lab.csv", newline="") as file:
            lines = list(csv.DictReader(file))
    return {(f"ours {line['solver']}, {line['steps']}", float(line["evaluations"])): (float(line["seconds"]), float(line["energy"])) for line in lines}


def sampling_table(rounds, mixture, truth, generator):
    found = {}
    for turn in range(rounds):
        for key, value in (of_python(mixture, truth, generator) | of_ours(turn + 1)).items():
            found.setdefault(key, []).append(value)
    lines = []
    for distance in DISTANCES:
        for side in ["ours", "diffusers", "k-diffusion", "predictor-corrector"]:
            reached = [
                (statistics.median(seconds for seconds, _ in values), name, evaluations)
                for (name, evaluations), values in found.items()
                if name.startswith(side) and all(abs(energy) <= distance for _, energy in values)
            ]
            if reached:
                seconds, name, evaluations = min(reached)
                lines.append([f"energy distance {distance:g}", name, f"{evaluations:.0f}", f"{1e3 * seconds:.1f} ms"])
            else:
                lines.append([f"energy distance {distance:g}", side, "-", "not reached"])
    return lines


def likelihood(mixture, x, generator):
    """nats of x [N, 2], each with one Rademacher probe: the flow of all as one vector, two forward passes and a backward one each time, as in
    the PyTorch code of Song et al. 2021."""
    probe = torch.randint(0, 2, x.shape, generator=generator).float() * 2 - 1

    def flow(t, x):
        beta = BETA_MIN + t * (BETA_MAX - BETA_MIN)
        return -0.5 * beta * (x + mixture.score(x, *mixture.level(t)))

    def right_hand_side(t, state):
        x = torch.tensor(state[: x_size], dtype=torch.float32).reshape(shape)
        with torch.no_grad():
            velocity = flow(t, x)
        x.requires_grad_(True)
        (slope,) = torch.autograd.grad((flow(t, x) * probe).sum(), x)
        return np.concatenate([velocity.numpy().ravel(), (slope * probe).sum(1).numpy()])

    shape, x_size = x.shape, x.numel()
    start = np.concatenate([x.numpy().ravel(), np.zeros(len(x))])
    end = solve_ivp(right_hand_side, (1e-5, 1.0), start, rtol=1e-5, atol=1e-5, method="RK45").y[:, -1]
    prior = -0.5 * (end[:x_size].reshape(shape) ** 2).sum(1) - math.log(2 * math.pi)
    return -(prior + end[x_size:])


def our_likelihood(trace, seed):
    with tempfile.TemporaryDirectory() as out:
        settings = ["sample.count=20", "sample.batch=20", f"likelihood.count={POINTS}", f"likelihood.batch={POINTS}", f"seed={seed}", trace]
        command = [str(TOP / "target/release/score-sde"), "run", str(EXPERIMENT), "--out", f"{out}/run", "--threads", "1", "--quiet"]
        subprocess.run(command + [word for setting in settings for word in ("--set", setting)], check=True)
        return json.loads(Path(f"{out}/run/likelihood.json").read_text())


def likelihood_table(rounds, mixture, generator):
    x = mixture.draw(POINTS, generator)
    once, nats = [], []
    ours = []
    for turn in range(rounds):
        for _ in range(8):
            begun = time.perf_counter()
            nats.append(likelihood(mixture, x, generator))
            once.append(time.perf_counter() - begun)
        ours.append(our_likelihood("likelihood.trace={exact={}}", turn + 1)["seconds"])
    # The probes' part of the error of the mean, in bits/dim.
    error = float(np.sqrt(np.var(nats, axis=0, ddof=1).sum()) / POINTS) / (2 * math.log(2))
    lines = []
    for wanted in ERRORS:
        repeats = max(1, math.ceil((error / wanted) ** 2))
        label = f"error of the trace below {wanted:g} bits/dim"
        lines.append([label, "ours, exact trace", "1 solve", f"{1e3 * statistics.median(ours):.0f} ms"])
        lines.append([label, "one probe a solve, scipy", f"{repeats} solves", f"{1e3 * repeats * statistics.median(once):.0f} ms"])
    return lines


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(1)
    law = tomllib.loads(EXPERIMENT.read_text())["score"]["gaussian-mixture"]
    mixture = Mixture(law["weights"], law["means"], law["covariances"])
    truth = mixture.draw(COUNT, generator)
    table = [["job", "by", "evaluations", "time"], ["---"] * 4]
    table += sampling_table(rounds, mixture, truth, generator) + likelihood_table(rounds, mixture, generator)
    for cells in table:
        print(f"| {' | '.join(cells)} |")


main()
