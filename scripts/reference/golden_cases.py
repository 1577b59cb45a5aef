#!/usr/bin/env python3
"""Golden cases that the reference implementation computes: predictor `none`, the last step of the probability flow, Gaussian probes.

    pip install torch==2.13.0 numpy scipy safetensors
    git clone --bare https://github.com/yang-song/score_sde_pytorch REFERENCE
    golden_cases.py REFERENCE

runs its code at cb1f359 with the networks of tests/golden and writes the cases in CASES there. In f64 it runs with its own casts to f32 made
casts to f64; everything else is as it was shipped. Noise is drawn here, in f32, and handed to it.
"""

import importlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import torch.utils.cpp_extension
from safetensors.numpy import load_file, save_file
from scipy.integrate import solve_ivp

GOLDEN = Path(__file__).resolve().parents[2] / "tests/golden"
COMMIT = "cb1f359"
CAST = [("torch.float32", "torch.float64"), (".float()", ".double()"), ("np.float32", "np.float64")]
SHAPE = (2, 3, 8, 8)
RHS_TIMES = [0.05, 0.5]
RANDN, RANDN_LIKE = torch.randn, torch.randn_like


def reference(git, precision):
    """Its modules, with computations in this precision."""
    folder = Path(tempfile.mkdtemp())
    tar = subprocess.run(["git", "-C", git, "archive", COMMIT], check=True, capture_output=True).stdout
    tarfile.open(fileobj=io.BytesIO(tar)).extractall(folder, filter="data")
    torch.set_default_dtype(torch.float64 if precision == "f64" else torch.float32)
    if precision == "f64":
        for file in folder.rglob("*.py"):
            text = file.read_text()
            for before, after in CAST:
                text = text.replace(before, after)
            file.write_text(text)
    sys.path.insert(0, str(folder))
    for name in [name for name in sys.modules if name.split(".")[0] in ("models", "op", "sampling", "likelihood", "sde_lib")]:
        del sys.modules[name]
    # The kernels for GPUs are never called.
    torch.utils.cpp_extension.load = lambda *_, **__: None
    modules = {name: importlib.import_module(name) for name in ("sampling", "likelihood", "sde_lib", "models.ncsnpp")}
    sys.path.pop(0)
    return SimpleNamespace(ncsnpp=modules.pop("models.ncsnpp"), **modules)


def tree(value):
    return SimpleNamespace(**{key: tree(v) for key, v in value.items()}) if isinstance(value, dict) else value


class Case:
    """One case in one precision."""

    def __init__(self, git, precision, index, description, sde):
        torch.randn, torch.randn_like = RANDN, RANDN_LIKE
        self.code = reference(git, precision)
        model = index["model_" + description["model"]]
        self.centered = model["config"]["data"]["centered"]
        self.network = self.code.ncsnpp.NCSNpp(tree(model["config"])).to(torch.get_default_dtype())
        weights = load_file(GOLDEN / model["file"])
        weights = {name[6:]: torch.from_numpy(value) for name, value in weights.items() if name.startswith("param.")}
        self.network.load_state_dict(weights)
        self.sde = getattr(self.code.sde_lib, {"vp": "VPSDE", "subvp": "subVPSDE", "ve": "VESDE"}[sde["name"]])(**sde["constants"])

    def inverse_scaler(self, x):
        return (x + 1) / 2 if self.centered else x

    def draw(self, prior, noise):
        """Lets its next normal draws be these."""
        draws = iter(torch.from_numpy(noise).to(torch.get_default_dtype()))
        torch.randn = lambda *_: torch.from_numpy(prior).to(torch.get_default_dtype())
        torch.randn_like = lambda _: next(draws)

    def record_solve(self, module, see):
        def solve(f, span, start, **options):
            solution = solve_ivp(f, span, start, **options)
            see(f, start, solution)
            return solution

        module.integrate = SimpleNamespace(solve_ivp=solve)


def pc(run, description, inputs):
    settings, states = description["settings"], []
    corrector = run.code.sampling.get_corrector(settings["corr"])

    class Recorded(corrector):
        def update_fn(self, x, t):
            x, mean = super().update_fn(x, t)
            states.append(x.numpy().copy())
            return x, mean

    results = {}
    for name, denoise in [("sample_denoise", True), ("sample_noisy", False)]:
        run.draw(inputs["prior_noise"], inputs["noise"])
        states.clear()
        sampler = run.code.sampling.get_pc_sampler(
            run.sde, SHAPE, run.code.sampling.get_predictor(settings["pred"]), Recorded, run.inverse_scaler, settings["snr"],
            n_steps=settings["n_steps"], continuous=settings["cont"], denoise=denoise, eps=settings["eps"], device="cpu",
        )
        results[name] = sampler(run.network)[0].numpy()
    results["x_after_corrector"] = np.stack(states).astype(np.float32)
    return results, {}


def ode(run, description, inputs):
    seen = {}
    run.record_solve(run.code.sampling, lambda f, start, solution: seen.update(solution=solution))
    run.draw(inputs["prior_noise"], np.zeros((1, *SHAPE), dtype=np.float32))
    sampler = run.code.sampling.get_ode_sampler(
        run.sde, SHAPE, run.inverse_scaler, denoise=description["denoise"], rtol=description["rtol"], atol=description["atol"],
        eps=description["eps"], device="cpu",
    )
    x, evaluations = sampler(run.network)
    solution = seen["solution"]
    results = {"x": x.numpy(), "y_end_f64": solution.y[:, -1], "t_accepted": solution.t}
    return results, {"nfe": evaluations, "accepted_steps": len(solution.t) - 1}


def likelihood(run, description, inputs):
    results = {}

    def see(f, start, solution):
        results["t_accepted"] = solution.t
        for t in RHS_TIMES:
            slope = f(t, start)
            results[f"drift_at_t{t}"], results[f"div_at_t{t}"] = slope[: -SHAPE[0]].reshape(SHAPE), slope[-SHAPE[0] :]

    run.record_solve(run.code.likelihood, see)
    run.draw(None, inputs["epsilon"][None])
    measure = run.code.likelihood.get_likelihood_fn(
        run.sde, run.inverse_scaler, description["hutchinson"], rtol=description["rtol"], atol=description["atol"], eps=description["eps"],
    )
    data = torch.from_numpy(inputs["data_scaled"]).to(torch.get_default_dtype())
    bits, _, evaluations = measure(run.network, data)
    results["bpd"] = bits.detach().numpy()
    return results, {"nfe": evaluations}


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def images(rng):
    return (2 * ((rng.integers(0, 256, SHAPE) + rng.random(SHAPE)) / 256) - 1).astype(np.float32)


SOLVE = {"method": "RK45", "kwargs": {}}
CASES = {
    "pc_none_ncsnpp_ve_ve_langevin": (
        pc,
        {
            "kind": "pc", "model": "ncsnpp_ve",
            "settings": {"N": 20, "cont": True, "corr": "langevin", "eps": 1e-5, "kind": "ve", "kw": {}, "model": "ncsnpp_ve",
                         "n_steps": 2, "pf": False, "pred": "none", "snr": 0.16},
        },
        lambda rng: {"prior_noise": normal(rng, *SHAPE), "noise": normal(rng, 40, *SHAPE)},
    ),
    "ode_denoise_ddpmpp_biggan_subvp": (
        ode,
        {"kind": "ode", "model": "ddpmpp_biggan", "sde": "subvp", "eps": 1e-3, "rtol": 1e-5, "atol": 1e-5, "denoise": True, **SOLVE},
        lambda rng: {"prior_noise": normal(rng, *SHAPE)},
    ),
    "ode_denoise_ncsnpp_ve_ve": (
        ode,
        {"kind": "ode", "model": "ncsnpp_ve", "sde": "ve", "eps": 1e-5, "rtol": 1e-5, "atol": 1e-5, "denoise": True, **SOLVE},
        lambda rng: {"prior_noise": normal(rng, *SHAPE)},
    ),
    "lik_ddpmpp_biggan_vp_Gaussian": (
        likelihood,
        {"kind": "likelihood", "model": "ddpmpp_biggan", "sde": "vp", "eps": 1e-5, "rtol": 1e-3, "atol": 1e-3, "hutchinson": "Gaussian", **SOLVE},
        lambda rng: {"data_scaled": images(rng), "epsilon": normal(rng, *SHAPE)},
    ),
}


def main(git):
    torch.set_num_threads(1)
    path = GOLDEN / "index.json"
    index = json.loads(path.read_text())
    for seed, (name, (compute, description, draw)) in enumerate(CASES.items()):
        inputs = draw(np.random.default_rng(seed))
        description = dict(description, file=f"{name}.safetensors")
        settings = description.get("settings", {"kind": description.get("sde"), "kw": description.get("kwargs")})
        constants = dict(settings["kw"], N=settings["N"]) if "N" in settings else settings["kw"]
        tensors = dict(inputs)
        for precision in ("f32", "f64"):
            run = Case(git, precision, index, description, {"name": settings["kind"], "constants": constants})
            results, counts = compute(run, description, inputs)
            tensors.update({f"{precision}.{key}": np.ascontiguousarray(value) for key, value in results.items()})
            description.update({f"{precision}_{key}": value for key, value in counts.items()})
        save_file(tensors, GOLDEN / description["file"])
        index[name] = description
        print(name, description)
    path.write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
