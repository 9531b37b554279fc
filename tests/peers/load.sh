#!/usr/bin/env bash
# Proves that others load what `slimscope apply` writes. Every sample model, as dense tensors and as factors: the
# safetensors package of Python reads every tensor, and numpy finds the names, types, shapes, shares of zeros, ranks and
# untouched bytes that the plan says. The byte model: transformers' AutoModelForCausalLM loads the dense results with
# nothing missing or unexpected, their logits are finite, and where the plan changes nothing that counts they are those
# of the original.
#
#     tests/peers/load.sh                          # builds slimscope first
#     SLIMSCOPE=/path/to/slimscope tests/peers/load.sh
#
# Needs python3 with venv, and a package registry. Packages go into a temporary environment. Exits with 77 (skipped)
# without numpy and safetensors; the part with transformers says why it is skipped where torch cannot be had.
set -Eeuo pipefail

skip() { echo "skipped: $*" >&2; exit 77; }
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
if [ -z "${SLIMSCOPE:-}" ]; then
  (cd "$root" && cargo build --release)
  SLIMSCOPE=${CARGO_TARGET_DIR:-$root/target}/release/slimscope
fi
SLIMSCOPE=$(realpath "$SLIMSCOPE")
export SLIMSCOPE
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
export SLIMSCOPE_CACHE_DIR=$dir/cache
python3 -m venv "$dir/venv" >"$dir/log" 2>&1 || skip "python3 has no venv: $(tail -n 1 "$dir/log")"
"$dir/venv/bin/pip" -q install numpy safetensors >"$dir/log" 2>&1 ||
  skip "numpy and safetensors cannot be installed: $(tail -n 1 "$dir/log")"

cat >"$dir/load.py" <<'PY'
import json, os, subprocess, sys
import numpy as np
from safetensors import safe_open

samples, out, tool = sys.argv[1], sys.argv[2], os.environ["SLIMSCOPE"]

def raw(path):
    """Header entries and bytes of every tensor, and what the package itself reads of those that numpy has a type for."""
    with open(path, "rb") as f:
        whole = f.read()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    meta = header.pop("__metadata__", None)
    data = {n: whole[8 + length + e["data_offsets"][0] : 8 + length + e["data_offsets"][1]] for n, e in header.items()}
    with safe_open(path, "np") as f:
        assert set(f.keys()) == set(header), "the package sees other names"
        assert f.metadata() == meta
        for name, e in header.items():
            assert f.get_slice(name).get_shape() == e["shape"] and f.get_slice(name).get_dtype() == e["dtype"]
            if e["dtype"] != "BF16":
                assert f.get_tensor(name).tobytes() == data[name], name
    return header, data

def array(entry, data):
    kind = entry["dtype"]
    if kind == "BF16":
        flat = (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)
    else:
        flat = np.frombuffer(data, {"F32": np.float32, "F16": np.float16, "F64": np.float64}[kind]).astype(np.float64)
    return flat.astype(np.float64).reshape(entry["shape"])

def run(*args):
    done = subprocess.run([tool, *args], capture_output=True, text=True)
    assert done.returncode == 0, f"{args}: {done.stderr}"
    return done.stdout

plans = {
    "prune 50 %": ["--prune", ".5"],
    "2:4": ["--pattern", "2:4"],
    "rows 30 %": ["--prune", ".3", "--pattern", "row"],
    "rank 25 %": ["--keep-rank", ".25"],
    "rank 25 % + 10 % of the rest": None,
}
print(f"{'model':12} {'plan':30} {'form':9} {'tensors':>7} {'treated':>7}  worst error against the plan")
for model in sorted(d for d in os.listdir(samples) if os.path.isfile(f"{samples}/{d}/model.safetensors")):
    source = f"{samples}/{model}"
    head, data = raw(f"{source}/model.safetensors")
    for title, options in plans.items():
        toml = f"{out}/plan.toml"
        if options is None:
            run("plan", source, "-o", toml, "--keep-rank", ".25")
            text = open(toml).read().split("[[layer]]")
            more = '\nprune = { remove = 0.9, criterion = "magnitude", pattern = "unstructured" }\n'
            open(toml, "w").write("[[layer]]".join(text[:1] + [t.rstrip() + more for t in text[1:]]))
        else:
            run("plan", source, "-o", toml, *options)
        for form in ("dense", "factored"):
            result = f"{out}/{model}.{title.replace(' ', '_').replace('%', '')}.{form}"
            told = json.loads(run("apply", toml, source, "-o", result, "--as", form, "--format", "json"))
            assert told["verified"] is True and told["written"] == ["model.safetensors"]
            new, bytes_ = raw(f"{result}/model.safetensors")
            config, before = (json.load(open(f"{d}/config.json")) for d in (result, source))
            ranks = config.pop("rank_dict", {})
            assert list(config.items()) == list(before.items()), "config.json changed"
            names, treated, worst = set(), 0, 0.0
            layers = {l["layer"]: l for l in told["layers"]}
            for name, entry in head.items():
                layer = layers.get(name.removesuffix(".weight")) if name.endswith(".weight") else None
                if layer is None or layer["treatment"] == "dense":
                    names.add(name)
                    assert new[name]["dtype"] == entry["dtype"] and new[name]["shape"] == entry["shape"]
                    assert bytes_[name] == data[name], f"{name} changed"
                    continue
                treated += 1
                old = array(entry, data[name])
                view = old.reshape(old.shape[0], -1)
                parts = ["mod_a", "mod_b", "mod_s"] if "prune" in layer["treatment"] else ["mod_a", "mod_b"]
                if layer["rank"] and form == "factored":
                    parts = {p: f"{layer['layer']}.{p}.weight" for p in parts}
                    names.update(parts.values())
                    got = {p: array(new[n], bytes_[n]) for p, n in parts.items()}
                    assert all(new[n]["dtype"] == entry["dtype"] for n in parts.values())
                    rank = ranks.pop(layer["layer"])
                    assert rank == layer["rank"]
                    taps = [1] * (old.ndim - 2)
                    assert list(got["mod_a"].shape) == [rank, *old.shape[1:]]
                    assert list(got["mod_b"].shape) == [old.shape[0], rank, *taps]
                    hat = got["mod_b"].reshape(-1, rank) @ got["mod_a"].reshape(rank, -1)
                    assert np.linalg.matrix_rank(hat) <= rank
                    if "mod_s" in got:
                        sparse = got["mod_s"].reshape(view.shape)
                        assert abs(np.mean(sparse == 0) - 0.9) < 1 / sparse.size
                        hat = hat + sparse
                else:
                    names.add(name)
                    assert new[name]["dtype"] == entry["dtype"] and new[name]["shape"] == entry["shape"]
                    hat = array(new[name], bytes_[name]).reshape(view.shape)
                    if layer["rank"] is None:
                        stays = hat != 0
                        assert (hat[stays] == view[stays]).all(), "what stays is what it was"
                        if layer["pattern"] == "2:4":
                            groups = hat[:, : hat.shape[1] // 4 * 4].reshape(len(hat), -1, 4)
                            assert ((groups != 0).sum(-1) <= 2).all()
                        if layer["pattern"] == "row":
                            gone = int(np.floor(0.3 * len(hat) + 0.5))
                            assert (~stays.any(1)).sum() >= gone
                        if layer["pattern"] == "unstructured":
                            assert stays.sum() == layer["params_after"]
                eps = {"BF16": 2**-8, "F16": 2**-11}.get(entry["dtype"], 4e-6)
                found = np.linalg.norm(view - hat) / np.linalg.norm(view)
                said = layer["relative_error"]
                if said["bound"] == "exact":
                    worst = max(worst, abs(found - said["value"]))
                    assert abs(found - said["value"]) <= 2 * eps + 2e-3 * said["value"], f"{name}: {found} {said}"
            assert names == set(new), f"{names ^ set(new)}"
            assert not ranks, f"rank_dict names {ranks}"
            print(f"{model:12} {title:30} {form:9} {len(new):7} {treated:7}  {worst:.1e}")
PY
"$dir/venv/bin/python" "$dir/load.py" "$root/sample_models" "$dir"
echo "safetensors: every result loads and is what its plan says"

# --- transformers, on a torch that is there already, or Debian's, or the registry's.
why=
torch=
old_torch='transformers==4.38.2 safetensors==0.4.5 huggingface-hub<0.24 numpy<2'
environment() { # PYTHON PACKAGES...: an environment that sees the packages of that python
  rm -rf "$dir/torch"
  "$1" -m venv --system-site-packages "$dir/torch" >"$dir/log" 2>&1 || { why="no venv: $(tail -n 1 "$dir/log")"; return 1; }
  shift
  "$dir/torch/bin/pip" -q install "$@" >"$dir/log" 2>&1 || { why="pip: $(tail -n 1 "$dir/log")"; return 1; }
  "$dir/torch/bin/python" -c 'import torch; from transformers import AutoModelForCausalLM' >"$dir/log" 2>&1 ||
    { why="import: $(tail -n 1 "$dir/log")"; return 1; }
  torch=$dir/torch/bin/python
}
debian() { [ -x /usr/bin/python3 ] && /usr/bin/python3 -c 'import torch' 2>/dev/null; }
if ! debian && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
  { apt-get update -qq &&
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-torch libopenblas0-pthread python3-venv
  } >"$dir/log" 2>&1 || true
fi
if debian; then
  # shellcheck disable=SC2086
  environment /usr/bin/python3 $old_torch || true
fi
[ -n "$torch" ] || environment python3 torch transformers numpy safetensors || true
if [ -z "$torch" ]; then
  echo "SKIPPED: transformers and torch cannot be had here ($why)"
  exit 0
fi
byte=$root/sample_models/bytelm
for share in .5 .3; do
  "$SLIMSCOPE" plan "$byte" -o "$dir/half.toml" --prune $share >/dev/null
  "$SLIMSCOPE" apply "$dir/half.toml" "$byte" -o "$dir/byte$share" >/dev/null
done
"$SLIMSCOPE" plan "$byte" -o "$dir/rank.toml" --keep-rank .5 >/dev/null
"$SLIMSCOPE" apply "$dir/rank.toml" "$byte" -o "$dir/byterank" >/dev/null
# A plan without effect: a share of the entries so small that it rounds to none.
"$SLIMSCOPE" plan "$byte" -o "$dir/none.toml" --prune .0000001 >/dev/null
"$SLIMSCOPE" apply "$dir/none.toml" "$byte" -o "$dir/bytenone" >/dev/null
cat >"$dir/logits.py" <<'PY'
import sys, warnings
warnings.filterwarnings("ignore")
import torch, transformers
from transformers import AutoModelForCausalLM

transformers.logging.set_verbosity_error()
torch.set_num_threads(1)
tokens = torch.tensor([list(b"In the beginning God created the heaven and the earth.")])

def logits(folder):
    model, told = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32, output_loading_info=True)
    assert not any(told[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys")), told
    with torch.no_grad():
        out = model.eval()(tokens).logits
    assert torch.isfinite(out).all()
    return out

original, none, *others = map(logits, sys.argv[1:])
assert torch.equal(original, none), "a plan without effect changes the logits"
far = [float((o - original).norm() / original.norm()) for o in others]
assert all(f > 1e-3 for f in far), far
names = [a.rsplit("/", 1)[-1].removeprefix("byte") for a in sys.argv[3:]]
print("transformers", transformers.__version__, "torch", torch.__version__ + ":",
      "logits finite, equal where the plan has no effect; otherwise off by",
      ", ".join(f"{f:.2f} ({n})" for n, f in zip(names, far)))
PY
"$torch" "$dir/logits.py" "$byte" "$dir/bytenone" "$dir/byte.5" "$dir/byte.3" "$dir/byterank"
