"""What benches/rounds.rs does, in plain PyTorch: the other side of scripts/bench.

    twin.py eager|compile

It answers the same lines of its input. `prepare CASE FILE` reads what the library wrote to FILE, and ends with an error unless it comes to
the same numbers. Training, sampling and likelihood are done as in the PyTorch code of Song et al. 2021: the likelihood's right-hand side
takes two forward passes and one backward pass, and its solver sees the whole batch as one vector in numpy.
"""

import itertools
import json
import math
import sys
import time

import numpy as np
import torch
from safetensors import safe_open
from scipy.integrate import solve_ivp

import networks

# Samples of the SDE, and where the flow is asked for.
SAMPLES, MIDDLE = 1000, 0.5


class Vp:
    def __init__(self, beta_min, beta_max):
        self.beta_min, self.beta_max = beta_min, beta_max

    def marginal(self, t):
        log_alpha = -0.25 * t**2 * (self.beta_max - self.beta_min) - 0.5 * t * self.beta_min
        return log_alpha.exp(), torch.sqrt(-torch.expm1(2 * log_alpha))

    def coefficients(self, t):
        beta = self.beta_min + t * (self.beta_max - self.beta_min)
        return -0.5 * beta, beta.sqrt()

    prior_std = 1.0


class Ve:
    def __init__(self, sigma_min, sigma_max):
        self.sigma_min, self.prior_std = sigma_min, sigma_max

    def marginal(self, t):
        return torch.ones_like(t), self.sigma_min * (self.prior_std / self.sigma_min) ** t

    def coefficients(self, t):
        return torch.zeros_like(t), self.marginal(t)[1] * math.sqrt(2 * math.log(self.prior_std / self.sigma_min))


def column(numbers, x):
    """One number per example, shaped to be multiplied with x."""
    return numbers.to(x.dtype).reshape(-1, *[1] * (x.dim() - 1))


class Score:
    """∇ ln p_t(x) by a network with the preconditioning of its experiment; times are f64."""

    def __init__(self, network, experiment):
        ((name, constants),) = experiment["sde"].items()
        self.network, self.sde = network, {"vp": Vp, "ve": Ve}[name](**constants)
        ((self.precondition, constants),) = experiment["precondition"].items()
        self.sigma_data = constants.get("sigma_data")

    def __call__(self, x, t):
        alpha, sigma = self.sde.marginal(t)
        if self.precondition == "edm":
            variance = sigma**2 + (alpha * self.sigma_data) ** 2
            f = self.network(x * column(variance.rsqrt(), x), (0.25 * torch.log(sigma / alpha)).float())
            return f * column(alpha * self.sigma_data / (sigma * variance.sqrt()), x) - x * column(1 / variance, x)
        if isinstance(self.sde, Ve):
            return self.network(2 * x - 1, sigma.log().float()) / column(sigma, x)
        return -self.network(x, (999 * t).float()) / column(sigma, x)

    def velocity(self, x, t):
        """dx/dt of the probability flow."""
        f, g = self.sde.coefficients(t)
        return x * column(f, x) - 0.5 * column(g, x) ** 2 * self(x, t)

    def divergence(self, x, t, probe):
        """Of the velocity, after Hutchinson."""
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            projection = torch.sum(self.velocity(x, t) * probe)
            gradient = torch.autograd.grad(projection, x)[0]
        return torch.sum(gradient * probe, dim=tuple(range(1, x.dim())))


class Average:
    """The exponential moving average of the parameters."""

    def __init__(self, parameters, rate):
        self.rate, self.updates = rate, 0
        self.shadow = [p.detach().clone() for p in parameters]

    @torch.no_grad()
    def update(self, parameters):
        self.updates += 1
        decay = min(self.rate, (1 + self.updates) / (10 + self.updates))
        for shadow, p in zip(self.shadow, parameters):
            shadow.sub_((1 - decay) * (shadow - p))


class Prepared:
    def __init__(self, file, compiled):
        with safe_open(file, "pt") as tensors:
            self.experiment = json.loads(tensors.metadata()["experiment"])
            self.written = {name: tensors.get_tensor(name) for name in tensors.keys()}
        weights = {name.removeprefix("model."): self.written.pop(name) for name in list(self.written) if name.startswith("model.")}
        self.x0, self.z, self.x, self.t = (self.written[name] for name in ["x0", "z", "x", "t"])
        self.probe = self.written["probes"][0].reshape(self.x.shape)
        self.module = networks.build(self.experiment["network"], list(self.x.shape[1:]))
        self.module.load_state_dict(weights)
        self.parameters = list(self.module.parameters())
        self.score = Score(torch.compile(self.module) if compiled else self.module, self.experiment)

    def loss(self):
        alpha, sigma = self.score.sde.marginal(self.t)
        x = self.x0 * column(alpha, self.x0) + self.z * column(sigma, self.x0)
        errors = torch.square(self.score(x, self.t) * column(sigma, x) + self.z).flatten(1)
        half_sum = self.experiment["train"]["reduction"] == "half-sum"
        return torch.mean(0.5 * errors.sum(dim=1) if half_sum else errors.mean(dim=1))

    def slope(self, t):
        with torch.no_grad():
            velocity = self.score.velocity(self.x, t)
        return velocity, self.score.divergence(self.x, t, self.probe)

    def check(self):
        """The library's numbers again, or an end."""
        self.module.eval()
        loss = self.loss()
        norm = torch.sqrt(sum(g.square().sum() for g in torch.autograd.grad(loss, self.parameters)))
        with torch.no_grad():
            score = self.score(self.x, self.t)
        velocity, divergence = self.slope(torch.full_like(self.t, MIDDLE))
        flow = self.written["flow"]
        found = {
            "score": (score, self.written["score"], 1e-5),
            "loss": (loss.detach(), self.written["loss"], 1e-5),
            "gradient_norm": (norm, self.written["gradient_norm"], 1e-4),
            "velocity": (velocity.flatten(1), flow[:, :-1], 1e-5),
            "divergence": (-divergence, flow[:, -1], 1e-4),
        }
        apart = {name: float((a - b).abs().max() / b.abs().max()) for name, (a, b, _) in found.items()}
        wrong = [f"{name} is {apart[name]:.1e} off" for name, (_, _, most) in found.items() if not apart[name] <= most]
        if wrong:
            sys.exit(f"twin: not the same network: {', '.join(wrong)}; make networks.py and twin.py follow src/net and src/model again")
        return apart

    def forward(self, n):
        self.module.eval()
        with torch.no_grad():
            return repeated(n, lambda: self.score(self.x, self.t))

    def step(self, n):
        train = self.experiment["train"]
        self.module.train()
        adam = torch.optim.Adam(self.parameters, lr=train["lr"], betas=train["betas"], eps=train["eps"])
        average = Average(self.parameters, train["ema"])
        steps = itertools.count(train["warmup"])

        def step():
            adam.zero_grad()
            self.loss().backward()
            for group in adam.param_groups:
                group["lr"] = train["lr"] * min(next(steps) / train["warmup"], 1.0)
            torch.nn.utils.clip_grad_norm_(self.parameters, train["clip"])
            adam.step()
            average.update(self.parameters)

        return repeated(n, step)

    def flow(self, n):
        self.module.eval()
        t = torch.full_like(self.t, MIDDLE)
        return repeated(n, lambda: self.slope(t))

    def euler(self, count, steps, noisy):
        self.module.eval()
        sde = self.score.sde
        x = torch.randn(count, *self.x.shape[1:]) * sde.prior_std
        times = torch.linspace(1, self.experiment["sample"]["t_min"], steps + 1, dtype=torch.float64)
        with torch.no_grad(), timed() as answer:
            for now, h in zip(times[:-1], times.diff()):
                t = torch.full((count,), now, dtype=torch.float64)
                if noisy:
                    f, g = (column(c, x) for c in sde.coefficients(t))
                    x = x + (f * x - g**2 * self.score(x, t)) * h.float() + g * torch.sqrt(-h).float() * torch.randn_like(x)
                else:
                    x = x + self.score.velocity(x, t) * h.float()
        return answer

    def likelihood(self, n):
        self.module.eval()
        shape, probe = (n, *self.x.shape[1:]), self.probe[:n]

        def right_hand_side(t, state):
            x = torch.from_numpy(state[:-n].reshape(shape)).float()
            t = torch.full((n,), t, dtype=torch.float64)
            with torch.no_grad():
                velocity = self.score.velocity(x, t)
            divergence = self.score.divergence(x, t, probe)
            return np.concatenate([velocity.numpy().reshape(-1), divergence.numpy()])

        with timed() as answer:
            start = np.concatenate([self.x0[:n].numpy().reshape(-1), np.zeros(n)])
            span = (self.experiment["likelihood"]["t_min"], 1.0)
            solution = solve_ivp(right_hand_side, span, start, method="RK45", rtol=1e-5, atol=1e-5)
            end, change = solution.y[:-n, -1].reshape(n, -1), solution.y[-n:, -1]
            variance = self.score.sde.prior_std**2
            prior = -0.5 * (end.shape[1] * math.log(math.tau * variance) + (end**2).sum(axis=1) / variance)
            answer["nats"] = -float(np.mean(prior + change))
        return answer | {"evaluations": solution.nfev}

    def round(self, work, n):
        match work:
            case "ode":
                return self.euler(len(self.t), n, noisy=False)
            case "sde":
                return self.euler(SAMPLES, n, noisy=True)
            case "forward" | "step" | "flow" | "likelihood":
                return getattr(self, work)(n)


def repeated(n, work):
    """The seconds of n repeats, after one that is not counted."""
    work()
    with timed() as answer:
        for _ in range(n):
            work()
    return answer


class timed:
    """The seconds of what is inside."""

    def __enter__(self):
        self.answer, self.begun = {}, time.perf_counter()
        return self.answer

    def __exit__(self, *_):
        self.answer["seconds"] = time.perf_counter() - self.begun


def peak():
    """Linux's VmHWM, bytes."""
    with open("/proc/self/status") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM:"))


def main():
    compiled = {"eager": False, "compile": True}[sys.argv[1]]
    prepared = None
    for line in sys.stdin:
        match line.split():
            case ["threads", n]:
                torch.set_num_threads(int(n))
                answer = {"threads": torch.get_num_threads()}
            case ["prepare", _, file]:
                prepared = None
                prepared = Prepared(file, compiled)
                answer = {"apart": prepared.check()}
            case ["round", work, n]:
                answer = prepared.round(work, int(n))
            case ["memory"]:
                answer = {"peak": peak()}
        print(json.dumps(answer), flush=True)


main()
