#!/usr/bin/env python3
"""Writes figures.json: what `measure` prints of single matrices, by numpy in float64 (and math.fsum), for every stored type.

Entries come from one integer recurrence on both sides (uniform of make.py), shaped by a family and rounded to the type.
Needs numpy and ml_dtypes.
"""
import json
import math
import os

import ml_dtypes
import numpy as np

from make import uniform

HERE = os.path.dirname(os.path.abspath(__file__))
TYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}
PATTERNS = [(1, 2), (2, 4), (4, 8), (1, 4), (1, 8), (2, 16), (1, 16)]
# Largest powers of two by which the entries of a family may be scaled in a type; see `figures_of_every_type` in golden.rs.
SCALES = {"F64": [0, 100, -90], "F32": [0, 120, -70, -130, -145], "F16": [0, 8], "BF16": [0, 110, -120]}


def entries(family, m, n, power):
    a = uniform(m * n, 7)
    if family == "heavy":
        a = a / (1.0 - np.abs(a) + 2.0**-12)
    elif family == "zeros":
        a = np.where(np.abs(a) < 0.4, 0.0, a)
    elif family == "constant":
        a = np.full(m * n, -0.75)
    elif family == "sparse":
        a = np.where(np.abs(a) < 0.97, 0.0, a)
    # A power of two moves no rounding.
    return (a * 2.0**power).reshape(m, n)


def relative(part, whole):
    return math.sqrt(part / whole) if whole > 0 else 0.0


def figures(w):
    # Scaled by a power of two, so that no square leaves float64.
    top = np.abs(w).max()
    shift = 2.0 ** -math.floor(math.log2(top)) if top > 0 else 1.0
    a = np.abs(w) * shift
    squares = np.sort((a**2).ravel())
    total = math.fsum(squares)
    flat = np.sort(a.ravel())
    d = flat.size
    roots, absolute = math.fsum(np.sqrt(flat)), math.fsum(flat)
    sigma = np.linalg.svd(a * np.sign(w), compute_uv=False)
    nuclear = sigma.sum()
    p = sigma[sigma > 0] / nuclear
    tail = np.concatenate([np.cumsum((sigma**2)[::-1])[::-1], [0.0]])
    nonzero = flat[flat > 0]
    nm = {}
    for keep, of in PATTERNS:
        whole = a[:, : a.shape[1] // of * of].reshape(a.shape[0], -1, of)
        removed = np.sort(whole, axis=2)[:, :, : of - keep]
        nm[f"{keep}:{of}"] = relative(math.fsum((removed**2).ravel()), total)
    back = 1.0 / shift
    return {
        "zero_fraction": float((flat == 0).mean()),
        "frobenius_norm": math.sqrt(total) * back,
        "linf": max(math.fsum(r) for r in a) * back,
        "l1": max(math.fsum(c) for c in a.T) * back,
        "min_nonzero": float(nonzero[0]) * back,
        "max": float(flat[-1]) * back,
        "median": float(np.median(flat)) * back,
        "quantiles": [float(np.quantile(flat, q)) * back for q in (0.5, 0.9, 0.99)],
        "pq_index": max(0.0, 1.0 - roots**2 / (d * absolute)),
        "prune_error": [relative(math.fsum(squares[: math.floor(r * d + 0.5)]), total) for r in (0.3, 0.5, 0.7, 0.9)],
        "nm_error": nm,
        "l12_nuclear_norm": math.fsum(sorted(np.sqrt((a**2).sum(axis=0)))[::-1][: min(a.shape)]) * back,
        "spectral_norm": sigma[0] * back,
        "nuclear_norm": nuclear * back,
        "stable_rank": total / sigma[0] ** 2,
        "effective_rank": math.exp(-(p * np.log(p)).sum()),
        "rank_for_energy": [int(np.argmax(tail <= (1 - e) * tail[0] * (1 + 1e-12))) for e in (0.9, 0.95, 0.99)],
    }


def main():
    cases = []
    for name, dtype in TYPES.items():
        for family in ["random", "heavy", "zeros", "constant", "sparse"]:
            for power in SCALES[name]:
                m, n = (48, 80)
                if family == "heavy":
                    # Up to 2¹² times larger than the others.
                    m, n, power = 57, 43, power - 12 if power > 0 else power
                w = entries(family, m, n, power)
                w = (w if name == "F64" else w.astype(np.float32)).astype(dtype).astype(np.float64)
                cases.append({"dtype": name, "family": family, "power": power, "shape": [m, n], "figures": figures(w)})
    with open(os.path.join(HERE, "figures.json"), "w") as f:
        json.dump({"cases": cases}, f, indent=0)
        f.write("\n")


main()
