"""The script asks llama-quantize for the planned types: patterns are matched, first match first, against gguf's names of
the tensors, numbered as after the blocks were left out. With llama-quantize on the path nothing more is done."""

import os
import re
import subprocess
from pathlib import Path

from common import LINEARS, ROOT, export, need

gguf, = need("gguf")
export(ROOT / "tests/golden/export/dropped.toml", ROOT / "sample_models/bytelm", "llama-cpp", "quantize.sh")
stub = Path("llama-quantize").absolute()
stub.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
stub.chmod(0o755)
arguments = subprocess.run(["sh", "quantize.sh", "in.gguf", "out.gguf"], env={**os.environ, "LLAMA_QUANTIZE": str(stub)},
                           capture_output=True, text=True, check=True).stdout.splitlines()
assert arguments[-3:] == ["in.gguf", "out.gguf", "Q4_0"], arguments
assert arguments[arguments.index("--prune-layers") + 1] == "1"
patterns = [a.rsplit("=", 1) for a, before in zip(arguments[1:], arguments) if before == "--tensor-type"]
types = {n.name.lower() for n in gguf.GGMLQuantizationType}
assert all(kind in types for _, kind in patterns), patterns

names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 4)
kept = [0, 2, 3]
want = {"model.layers.0.mlp.up_proj": "q4_0", "model.layers.2.mlp.up_proj": "q4_0",
        "model.layers.3.mlp.down_proj": "q6_k", "lm_head": "q8_0"}
checked = 0
for layer in [f"model.layers.{b}.{l}" for b in kept for l in LINEARS] + ["lm_head", "model.embed_tokens"]:
    name = names.get_name(layer + ".weight", try_suffixes=(".weight",))
    name = re.sub(r"^blk\.(\d+)", lambda m: f"blk.{kept.index(int(m[1]))}", name)
    got = next(kind for pattern, kind in patterns if re.search(pattern, name))
    assert got == want.get(layer, "bf16"), (layer, name, got)
    checked += 1
print(f"ok llama-cpp: {checked} tensors by gguf's names, {len(want)} of them rounded, the others 16-bit; block 1 left out")
