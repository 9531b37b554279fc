"""The module is Python, and its ratios give the planned ranks as AIMET finds them: the largest rank whose cost in
memory does not exceed the ratio's. With aimet_torch at hand its own classes take the parameters."""

import json
from decimal import Decimal

from common import ROOT, export, slimscope

folder = ROOT / "sample_models/fashion_cnn"
export(ROOT / "tests/golden/export/cnn.toml", folder, "aimet", "aimet_plan.py")
plan = {}
exec(open("aimet_plan.py").read(), plan)
shapes = {l["layer"]: l["shape"] for l in json.loads(slimscope("inspect", folder, "--format", "json")[0])["layers"]}


def rank(cost, whole, most, ratio):
    return max(r for r in range(most + 1) if cost(r) <= whole * ratio)


(name, ratio), = plan["WEIGHT_SVD"]
n, m = shapes[name]
assert isinstance(ratio, Decimal) and rank(lambda r: r * (m + n), m * n, m, ratio) == 32, (name, ratio)
(name, ratio), = plan["SPATIAL_SVD"]
n, m, kh, kw = shapes[name]
assert rank(lambda r: m * r * kh + r * n * kw, m * n * kh * kw, min(m * kh, n * kw), ratio) == 12, (name, ratio)
assert plan["CHANNEL_PRUNING"] == [("conv3", Decimal("0.5"))]
try:
    from aimet_torch import defs
    tool = "aimet_torch's classes are there: " + defs.__name__
except Exception as error:
    tool = f"without aimet_torch ({type(error).__name__})"
print(f"ok aimet: ranks 32 and 12 read back, 0.5 of the channels; {tool}")
