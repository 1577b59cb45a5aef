"""Reads the results of a run with NumPy alone: read_run.py RUN prints what is there; import it for the arrays themselves."""

import json
import struct
import sys
from pathlib import Path

import numpy as np

KINDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1", "BOOL": "?"}


def samples(run, name="samples"):
    """Pixels [N, H, W, C], u8, or vectors [N, D], f32."""
    return np.load(Path(run) / "samples" / f"{name}.npz")["samples"]


def likelihoods(run, name="likelihood"):
    """Of each example: `nats`, `bits_per_dim`, `index` in the split, `evaluations`, the parts of its error, each [N]."""
    with np.load(Path(run) / f"{name}.npz") as archive:
        return {key: archive[key] for key in archive}


def curves(run):
    """Steps and values of every tag of metrics.jsonl; what is not finite there is a word."""
    found = {}
    for line in (Path(run) / "metrics.jsonl").read_text().splitlines():
        point = json.loads(line)
        for tag in point.keys() - {"step", "wall_time"}:
            found.setdefault(tag, []).append((point["step"], float(point[tag])))
    return {tag: np.array(points).T for tag, points in sorted(found.items())}


def tensors(file):
    """The tensors of a safetensors file by name."""
    data = Path(file).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    about = {name: entry for name, entry in json.loads(data[8 : 8 + length]).items() if name != "__metadata__"}
    body = memoryview(data)[8 + length :]
    read = lambda entry: np.frombuffer(body[slice(*entry["data_offsets"])], KINDS[entry["dtype"]]).reshape(entry["shape"])
    return {name: read(entry) for name, entry in about.items()}


def weights(run, step=None, raw=False):
    """The averaged weights of a checkpoint, the newest one if no step is given, by the network's names; or the raw ones."""
    files = sorted((Path(run) / "checkpoints").glob("step-*.safetensors"))
    file = files[-1] if step is None else Path(run) / "checkpoints" / f"step-{step:08}.safetensors"
    everything, prefix = tensors(file), "model." if raw else "ema."
    # What is not trained, such as Fourier frequencies, has no average.
    fixed = {name[6:]: x for name, x in everything.items() if name.startswith("model.")}
    return fixed | {name[len(prefix) :]: x for name, x in everything.items() if name.startswith(prefix)}


if __name__ == "__main__":
    run = Path(sys.argv[1])
    for name in sorted(file.stem for file in (run / "samples").glob("*.npz")):
        print(f"samples {name}: {samples(run, name).shape}")
    if (run / "likelihood.npz").exists():
        nats = likelihoods(run)["nats"]
        print(f"likelihood: {nats.mean():.4f} ± {nats.std(ddof=1) / len(nats) ** 0.5:.4f} nats, of {len(nats)} examples")
    for tag, (steps, values) in curves(run).items():
        print(f"curve {tag}: {len(steps)} points, last {values[-1]:.6g}")
    if any((run / "checkpoints").glob("*.safetensors")):
        print(f"weights: {sum(x.size for x in weights(run).values())} numbers in {len(weights(run))} tensors")
