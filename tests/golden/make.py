#!/usr/bin/env python3
"""Writes the figures that tests/golden.rs compares with: numpy in float64, computed from the very same float32 data.

spectra.json: singular values of matrices that both sides build from one integer recurrence.
sample_layers.json: figures of every matrix of the sample models.
clustered.json: some of the singular values of matrices whose values lie close together or whose entries coincide, at
tall, wide and square shapes; written only with --clustered, which takes about a minute.
large.json: some of the singular values of matrices of up to 4096 rows and columns, and of pruned weights of a sample
model; written only with --large, which takes some minutes.
"""
import glob
import json
import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "sample_models"))
import stio


def uniform(n, seed):
    """n numbers in (-1, 1), the same in Rust: a 64-bit linear congruence, upper 24 bits."""
    a, c = 6364136223846793005, 1442695040888963407
    states = np.array([(seed * a + c) % (1 << 64)], np.uint64)
    while len(states) < n:
        # A jump by so many steps is a linear congruence as well.
        states = np.concatenate([states, states * np.uint64(a) + np.uint64(c)])
        a, c = a * a % (1 << 64), (a * c + c) % (1 << 64)
    return (states[:n] >> np.uint64(40)).astype(float) / (1 << 23) - 1


# Singular value j of k of matrices that are made of them.
LEVELS = {
    "orthogonal": lambda j, k: 1.0,
    "two_levels": lambda j, k: 1.0 if j % 2 == 0 else 1 - 1e-6,
    "rank_quarter": lambda j, k: 1.0 if j < k // 4 else 0.0,
    "halving": lambda j, k: 0.5 ** (6 * j // k),
    "one_above": lambda j, k: 1.0 if j == 0 else 0.5,
}


def cosines(n, k):
    """The first k columns of the orthogonal matrix of the discrete cosine transform."""
    i, j = np.arange(n)[:, None], np.arange(k)[None, :]
    return np.sqrt(np.where(j == 0, 1, 2) / n) * np.cos(np.pi * (2 * i + 1) * j / (2 * n))


def family(name, m, n):
    a = uniform(m * n, 1).reshape(m, n)
    if name == "random":
        pass
    elif name == "power_law":
        a = a / np.arange(1, m + 1)[:, None]
    elif name == "graded":
        a = a * 10.0 ** (-6.0 * np.arange(n) / max(n - 1, 1))[None, :]
    elif name == "low_rank":
        a = np.array([[(i % 3 + 1) * (j % 5 - 2) + (i % 2) * (j % 3) for j in range(n)] for i in range(m)], float)
    elif name == "outlier":
        a[m // 2, n // 3] = 1e4
    elif name == "zero":
        a = a * 0
    elif name == "pruned":
        a = np.where(np.abs(a) > 0.98, a, 0)
    elif name == "tiny":
        a = a * 1e-30
    elif name == "deficient":
        a = a[:, np.arange(n) % (n // 4)] * (1 + np.arange(n) % 3)[None, :]
    elif name == "pruned_999":
        a = np.where(np.abs(a) > 0.999, a, 0)
    elif name == "constant":
        a = np.full((m, n), 0.37)
    elif name == "rank_one_noise":
        a = 1 + 1e-4 * a
    elif name == "equal_rows":
        a = uniform(n, 2)[None, :] + 1e-4 * a
    elif name == "mean":
        a = 10 * uniform(n, 2)[None, :] + a
    elif name == "signs":
        a = np.where(a < 0, -1.0, 1.0)
    elif name == "four_bits":
        a = 0.013 * np.floor(7 * a + 0.5)
    elif name in LEVELS:
        k = min(m, n)
        a = (cosines(m, k) * np.array([LEVELS[name](j, k) for j in range(k)])) @ cosines(n, k).T
        a = np.where(uniform(m, 3) < 0, -1, 1)[:, None] * a
    return a.astype(np.float32)


def magnitude_pruned(w, share):
    """The share of smallest magnitudes set to zero, ties by index."""
    w = w.copy()
    order = np.argsort(np.abs(w), axis=None, kind="stable")
    w.flat[order[: round(share * w.size)]] = 0
    return w


def some_values(a):
    """Singular values at some places, from 0: densely at both ends."""
    s = np.linalg.svd(a.astype(np.float64), compute_uv=False)
    k = len(s)
    near = {0, 1, 2, 3, 5, 8, 13, 21, 34, 55}
    places = sorted(i for i in near | {k - 1 - i for i in near} | {k * j // 24 for j in range(24)} if 0 <= i < k)
    return {"places": places, "sigma": [float(f"{s[i]:.15g}") for i in places], "energy": float((s**2).sum())}


def clustered():
    cases = []
    names = ("constant", "rank_one_noise", "equal_rows", "mean", "signs", "four_bits", *LEVELS)
    for name in names:
        for m, n in ((300, 200), (200, 900), (512, 512), (768, 512), (9000, 200), (1024, 1024), (1100, 1500)):
            cases.append({"family": name, "shape": [m, n], **some_values(family(name, m, n))})
            print(name, m, n, flush=True)
    with open(os.path.join(HERE, "clustered.json"), "w") as f:
        json.dump({"numpy": np.__version__, "cases": cases}, f, indent=0)


def large():
    cases = []
    for name in ("random", "power_law", "graded", "deficient", "outlier", "pruned_999"):
        for m, n in ((1024, 1024), (2048, 600), (700, 3000), (4096, 4096)):
            cases.append({"family": name, "shape": [m, n], **some_values(family(name, m, n))})
            print(name, m, n, flush=True)
    weights = stio.load(os.path.join(ROOT, "sample_models", "fashion_mlp", "model.safetensors"))
    w = np.asarray(weights["fc1.weight"], np.float32)
    for share in (0.5, 0.9, 0.99, 0.995, 0.999):
        cases.append({"sample": "fashion_mlp", "tensor": "fc1.weight", "share": share, "shape": list(w.shape),
                      **some_values(magnitude_pruned(w, share))})
    with open(os.path.join(HERE, "large.json"), "w") as f:
        json.dump({"numpy": np.__version__, "cases": cases}, f, indent=0)


def main():
    if "--large" in sys.argv:
        return large()
    if "--clustered" in sys.argv:
        return clustered()
    spectra = []
    for name in ("random", "power_law", "graded", "low_rank", "outlier", "zero", "pruned", "tiny"):
        for m, n in ((40, 40), (64, 24), (24, 64), (1, 9), (9, 1), (130, 70)):
            s = np.linalg.svd(family(name, m, n).astype(np.float64), compute_uv=False)
            spectra.append({"family": name, "shape": [m, n], "sigma": [float(f"{x:.15g}") for x in s]})
    with open(os.path.join(HERE, "spectra.json"), "w") as f:
        json.dump({"numpy": np.__version__, "spectra": spectra}, f, indent=0)
    layers = []
    for path in sorted(glob.glob(os.path.join(ROOT, "sample_models", "*", "model.safetensors"))):
        for name, w in stio.load(path).items():
            if w.ndim < 2:
                continue
            w = w.reshape(w.shape[0], -1).astype(np.float64)
            s = np.linalg.svd(w, compute_uv=False)
            total = (s**2).sum()
            p = s / s.sum()
            magnitudes = np.sort(np.abs(w).ravel())
            error = lambda r: float(np.sqrt((magnitudes[: int(round(r * w.size))] ** 2).sum() / total))
            m, n = w.shape
            cols = n // 4 * 4
            groups = np.abs(w[:, :cols]).reshape(m, -1, 4)
            lost = np.sort(groups, -1)[..., :2]
            energy = np.cumsum(s**2)
            layers.append({
                "model": os.path.basename(os.path.dirname(path)), "tensor": name,
                "spectral_norm": float(s[0]), "nuclear_norm": float(s.sum()), "frobenius_norm": float(np.sqrt(total)),
                "stable_rank": float(total / s[0] ** 2), "effective_rank": float(np.exp(-(p[p > 0] * np.log(p[p > 0])).sum())),
                "rank_for_energy": [int((energy < e * total * (1 - 1e-12)).sum() + 1) for e in (0.9, 0.95, 0.99)],
                "linf": float(np.abs(w).sum(1).max()), "l1": float(np.abs(w).sum(0).max()),
                "prune_error": [error(r) for r in (0.3, 0.5, 0.7, 0.9)],
                "two_of_four": float(np.sqrt((lost**2).sum() / total)) if cols == n else None,
            })
    with open(os.path.join(HERE, "sample_layers.json"), "w") as f:
        json.dump({"numpy": np.__version__, "layers": layers}, f, indent=0)


if __name__ == "__main__":
    main()
