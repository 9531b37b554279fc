"""Reads a rank file as LEMS's loadconfig search does: a float is a share of the break-even rank, an integer above 1 a
rank, 1 and -1 are dense, a rank above break-even is skipped."""

import json

from common import ROOT, export, slimscope

model = ROOT / "sample_models/bytelm"
plan = ROOT / "tests/golden/export/mixed.toml"
said = export(plan, model, "lems", "ranks.json")
text = open("ranks.json").read()
read = {}
for layer in json.loads(slimscope("inspect", model, "--format", "json")[0])["layers"]:
    value = json.loads(text).get(layer["layer"], 1.0)
    m, n = layer["matrix"]
    even = int(m * n / (m + n))
    if value in (1, -1):
        continue
    rank = int(value * even) if isinstance(value, float) else value
    assert 0 < rank <= even, (layer["layer"], value)
    read[layer["layer"]] = rank
want = {"model.layers.1.self_attn.q_proj": 40, "model.layers.1.self_attn.k_proj": 1,
        "model.layers.1.self_attn.o_proj": 24, "model.layers.1.mlp.down_proj": 64,
        "model.layers.2.self_attn.q_proj": 40}
assert read == want, read
assert "model.layers.1.self_attn.v_proj: the rank saves nothing" in said, said
print(f"ok lems: {len(read)} ranks read back as planned, one of them 1; a rank above break-even told")
