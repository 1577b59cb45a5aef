"""Metrics of pairs of feature matrices, beside those of other packages: check.py MEASURE_FEATURES."""

import contextlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import scipy.linalg
import torch
from prdc import compute_prdc
from scipy.spatial.distance import cdist, pdist
from sklearn.metrics.pairwise import polynomial_kernel, rbf_kernel
from sklearn.neighbors import NearestNeighbors
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric
from vendi_score import vendi

TOLERANCE = 1e-6
NEIGHBOURS = 5
PART = 100


def frechet(x, y):
    a, b = (np.atleast_2d(np.cov(z, rowvar=False)) for z in (x, y))
    root = scipy.linalg.sqrtm(a @ b)
    return np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(a + b) - 2 * np.trace(root).real


def discrepancy(kernel, x, y):
    def within(x):
        values = kernel(x, x)
        return (values.sum() - np.trace(values)) / (len(x) * (len(x) - 1))

    return within(x) + within(y) - 2 * kernel(x, y).mean()


def blocks(x, count):
    """Consecutive ones, the last of which have one example more."""
    size, longer = divmod(len(x), count)
    ends = np.cumsum([size + (i >= count - longer) for i in range(count)])
    return np.split(x, ends[:-1])


def tf_gan_kid(x, y):
    count = -(-max(len(x), len(y)) // PART)
    kernel = lambda x, y: polynomial_kernel(x, y, degree=3, coef0=1)
    return np.mean([discrepancy(kernel, a, b) for a, b in zip(blocks(x, count), blocks(y, count))])


def torch_fidelity(x, y):
    """What its own functions say of both matrices."""
    a, b = torch.from_numpy(x), torch.from_numpy(y)
    kid = kid_features_to_metric(a, b, kid_subset_size=PART, verbose=False)
    prc = prc_features_to_metric(a, b, verbose=False)
    fid = fid_statistics_to_metric(fid_features_to_statistics(a), fid_features_to_statistics(b), False) if x.shape[1] > 1 else {}
    return {
        "torch_fidelity_kid": kid["kernel_inception_distance_mean"],
        "torch_fidelity_kid_deviation": kid["kernel_inception_distance_std"],
        "torch_fidelity_precision": prc["precision"],
        "torch_fidelity_recall": prc["recall"],
        **({"frechet": fid["frechet_inception_distance"]} if fid else {}),
    }


def energy(x, y):
    within = lambda x: 2 * pdist(x).sum() / (len(x) * (len(x) - 1))
    return 2 * cdist(x, y).mean() - within(x) - within(y)


def theirs(x, y):
    with contextlib.redirect_stdout(None):  # it prints counts
        prdc = compute_prdc(real_features=y, fake_features=x, nearest_k=NEIGHBOURS)
    median = np.median(pdist(np.concatenate([x, y])))
    near, places = NearestNeighbors(n_neighbors=1).fit(y).kneighbors(x)
    of_data = NearestNeighbors(n_neighbors=2).fit(y).kneighbors(y)[0][:, 1]
    return {
        "frechet": frechet(x, y),
        "kid": discrepancy(lambda x, y: polynomial_kernel(x, y, degree=3, coef0=1), x, y),
        "median_distance": median,
        "mmd": discrepancy(lambda x, y: rbf_kernel(x, y, gamma=0.5 / median**2), x, y),
        "precision": prdc["precision"],
        "recall": prdc["recall"],
        "density": prdc["density"],
        "coverage": prdc["coverage"],
        "vendi": vendi.score_dual(x, normalize=True),
        "nearest_distances": near[:, 0],
        "nearest_places": places[:, 0],
        "authenticity": np.mean(near[:, 0] > of_data[places[:, 0]]),
        "tf_gan_kid": tf_gan_kid(x, y),
        "energy": energy(x, y),
    }


def ours(program, x, y, folder):
    paths = [folder / "x.npy", folder / "y.npy"]
    for path, values in zip(paths, [x, y]):
        np.save(path, values)
    return json.loads(subprocess.run([program, *paths, str(NEIGHBOURS)], check=True, capture_output=True, text=True).stdout)


def pairs(rng):
    mixing = rng.normal(size=(16, 16))
    yield "16 features", rng.normal(size=(700, 16)) @ mixing, rng.normal(size=(900, 16)) @ (mixing + 0.1) + 0.3
    yield "far from the origin", rng.normal(size=(400, 3)) + 100, 1.2 * rng.normal(size=(300, 3)) + 100
    yield "128 features, few examples", rng.gamma(2, size=(200, 128)), rng.gamma(2.1, size=(150, 128))
    yield "one feature", rng.normal(size=(500, 1)), rng.standard_t(5, size=(400, 1))


def main():
    program = sys.argv[1]
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for name, x, y in pairs(np.random.default_rng(1)):
            measured = ours(program, x, y, Path(folder))
            print(name)
            for metric, expected in [*theirs(x, y).items(), *torch_fidelity(x, y).items()]:
                difference = np.max(np.abs(np.asarray(measured[metric]) - expected) / np.maximum(1, np.abs(expected)))
                worst = max(worst, difference)
                shown = "" if np.ndim(expected) else f"{expected:.9g}"
                print(f"  {metric:18} {shown:>14}  differs by {difference:.1e}")
    sys.exit(0 if worst < TOLERANCE else f"some differ by more than {TOLERANCE}")


main()
