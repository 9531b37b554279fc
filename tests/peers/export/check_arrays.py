"""Loads the exponents with numpy, computes them anew from the weights, and maps the plan's shares as AlphaPruning does."""

import re

from common import ROOT, export, need

np, = need("numpy")
import json
import struct

model = ROOT / "sample_models/bytelm"
said = export(ROOT / "tests/golden/export/blocks.toml", model, "alphapruning", "alpha_mid.npy")
alphas, shares = np.load("alpha_mid.npy"), np.load("alpha_mid_shares.npy")
assert alphas.dtype == np.float64 and alphas.shape == shares.shape == (28,), (alphas.dtype, alphas.shape)

raw = (model / "model.safetensors").read_bytes()
size = struct.unpack("<Q", raw[:8])[0]
header = json.loads(raw[8:8 + size])


def weight(name):
    entry = header[name + ".weight"]
    a, b = entry["data_offsets"]
    bits = np.frombuffer(raw[8 + size + a:8 + size + b], "<u2").astype(np.uint32) << 16
    assert entry["dtype"] == "BF16"
    return bits.view(np.float32).reshape(entry["shape"]).astype(np.float64)


from common import LINEARS

worst, sizes = 0.0, []
names = [f"model.layers.{b}.{l}" for b in range(4) for l in LINEARS]
for name, alpha in zip(names, alphas):
    w = weight(name)
    sizes.append(w.size)
    eigs = np.sort(np.linalg.svd(w, compute_uv=False) ** 2)
    logs, i = np.log(eigs), len(eigs) // 2
    n = float(len(eigs) - i)
    want = 1 + n / (logs[i:].sum() - n * logs[i])
    worst = max(worst, abs(alpha / want - 1))
assert worst < 1e-5, worst

epsilon, = map(float, re.findall(r"layer_wise --epsilon (\S+)", said))
ratio, = map(float, re.findall(r"--sparsity_ratio (\S+?)`", said))
sizes = np.array(sizes, float)
phi = (shares - shares.min()) / (shares.max() - shares.min()) * 2 * epsilon + 1 - epsilon
got = phi * (sizes.sum() * ratio / (sizes * phi).sum())
planned = np.repeat([.3, .5, .6, .4], 7)
planned[13] = 0
assert np.abs(got - planned).max() < 1e-6, got - planned
print(f"ok arrays: 28 exponents, off by at most {worst:.1e} of numpy's; the plan's shares come back through AlphaPruning's "
      f"mapping, off by at most {np.abs(got - planned).max():.1e}")
