#!/usr/bin/env python3
"""Times all singular values (values only, f32) of slimscope against numpy and torch, on this machine's CPU.

The rivals take turns within each round, in one run, and medians are printed as a Markdown table. Ours is the program
`serve.rs` beside this file, built by cargo unless `--serve` names it. Each rival is a Python with numpy and, as a rule, torch,
in a process of its own: this one unless `--rivals` names others, so that several versions and BLAS libraries compete
at once. Torch is timed in both orientations with 1 and 2 threads; "torch best" is the fastest of all those by
median. numpy computes in f64 whatever it is given. Variables like OPENBLAS_NUM_THREADS are taken away.

Needs numpy. torch is optional: without it numpy alone is timed, and the heading says so. threadpoolctl is advised: a BLAS
with threads of its own (OpenBLAS on pthreads) does not heed `torch.set_num_threads`.

    python benches/peers/spectra.py                                    # the default shapes, some minutes
    python benches/peers/spectra.py --large                            # and 4096x11008
    python benches/peers/spectra.py --shapes 384x384 1024x1024 --rounds 1
    python benches/peers/spectra.py --model DIR                        # a checkpoint's 2-D F32 tensors, all of them
    python benches/peers/spectra.py --rivals mkl/bin/python /usr/bin/python3
"""
import os

for variable in list(os.environ):
    if variable.startswith(("OPENBLAS_", "MKL_", "OMP_", "GOTO_")):
        del os.environ[variable]  # read when numpy and torch load

import argparse
import datetime
import json
import math
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

try:
    import torch
    torch_missing = None
except (ImportError, OSError) as error:
    torch, torch_missing = None, error
try:
    import threadpoolctl
except ImportError:
    threadpoolctl = None

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHAPES = "384x384 1024x1024 1536x384 768x3072 1024x4096 2048x2048 2048x5632 4096x4096".split()
VIEWS = {
    "as stored": lambda a: a,
    "transposed": lambda a: a.T,
    "tall": lambda a: a if a.shape[0] >= a.shape[1] else a.T,
    "wide": lambda a: a if a.shape[0] <= a.shape[1] else a.T,
}


def ours(path):
    """Our side: `serve.rs`, built unless given."""
    if not path:
        command = "cargo bench --bench serve --no-run --message-format=json".split()
        output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
        messages = [m for m in map(json.loads, output.splitlines()) if m.get("executable")]
        path = next(m["executable"] for m in messages if m["target"]["name"] == "serve")
    return start([path, "--bench"])


def start(command):
    """Runs a program that answers a line for a line, and returns the function that asks it."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(line):
        print(line, file=process.stdin, flush=True)
        return process.stdout.readline().strip() or sys.exit(f"{command[0]} ended at `{line}`")
    return ask


def give(ask, others, folder, tensors):
    path = folder / "model.safetensors"
    save(path, tensors)
    for name, to in [("serve", ask), *others.items()]:
        if (found := to(f"open {path}")) != str(len(tensors)):
            sys.exit(f"{name} found {found} matrices, not {len(tensors)}")


def weights(m, n):
    """Noise, a power law of strong directions, and a few outlying columns, as trained weights have."""
    rng = np.random.default_rng(1)
    rank = min(m, n, 64)
    strengths = (0.1 / np.arange(1, rank + 1)).astype(np.float32)
    a = 0.02 * rng.standard_normal((m, n), np.float32)
    a += rng.standard_normal((m, rank), np.float32) * strengths @ rng.standard_normal((rank, n), np.float32)
    a[:, rng.choice(n, n // 256 + 1, replace=False)] *= 4
    return a


def save(path, tensors):
    """A safetensors file: the header's length in 8 bytes, the header, the raw data."""
    header, end = {}, 0
    for name, a in tensors.items():
        header[name] = {"dtype": "F32", "shape": a.shape, "data_offsets": [end, end + a.nbytes]}
        end += a.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for a in tensors.values():
            file.write(np.ascontiguousarray(a, "<f4").data)


def load(path, part):
    """All 2-D F32 tensors of a safetensors file that have `part` in their name."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        start, tensors = file.tell(), {}
        for name, entry in header.items():
            if part in name and entry.get("dtype") == "F32" and len(entry["shape"]) == 2:
                file.seek(start + entry["data_offsets"][0])
                tensors[name] = np.fromfile(file, "<f4", math.prod(entry["shape"])).reshape(entry["shape"])
    return tensors


def runs(matrices):
    """What a rival can run: by (library, view, threads), the number of the BLAS's threads and the function."""
    runs = {("numpy", "as stored", "2T"): (2, lambda: [np.linalg.svd(a, compute_uv=False) for a in matrices])}
    for view in VIEWS if torch else []:
        tensors = [VIEWS[view](torch.from_numpy(a)) for a in matrices]
        loop = lambda tensors=tensors: [torch.linalg.svdvals(t) for t in tensors]
        for threads in (1, 2):
            runs["torch", view, f"{threads}T"] = (threads, loop)
        pool = lambda tensors=tensors: list(ThreadPoolExecutor(2).map(torch.linalg.svdvals, tensors))
        runs["torch", view, "2 Python threads of 1T"] = (1, pool)
    return runs


def seconds(threads, run):
    if threadpoolctl:
        threadpoolctl.threadpool_limits(threads)
    if torch:
        torch.set_num_threads(threads)
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def answer():
    """A rival's side, a line for a line: `about`, `open FILE`, `run LIBRARY, VIEW, THREADS` in seconds, `values`."""
    matrices, known = [], {}
    for line in sys.stdin:
        command, _, rest = line.strip().partition(" ")
        if command == "about":
            pools = [p for p in threadpoolctl.threadpool_info() if p["user_api"] == "blas"] if threadpoolctl else []
            blas = ", ".join(sorted({f"{p['internal_api']} {p['version']} {p.get('architecture', '')}" for p in pools}))
            print(json.dumps({"python": platform.python_version(), "numpy": np.__version__,
                              "torch": torch.__version__ if torch else None, "missing": str(torch_missing),
                              "mkl": bool(torch and torch.backends.mkl.is_available()), "blas": blas}), flush=True)
        elif command == "open":
            matrices = list(load(pathlib.Path(rest), "").values())
            known = runs(matrices)
            print(len(matrices), flush=True)
        elif command == "values":
            values = torch.linalg.svdvals(torch.from_numpy(matrices[0])).tolist() if torch else []
            print(" ".join(map(str, values)) or "-", flush=True)
        else:
            print(seconds(*known[tuple(rest.split(", "))]), flush=True)


def competitors(pythons):
    """The rivals by name, and what each says of itself."""
    others, about = {}, []
    for python in pythons:
        ask = start([python, __file__, "--answer"])
        told = json.loads(ask("about"))
        library = "MKL" if told["mkl"] else told["blas"].split(",")[0] or "unknown BLAS"
        name = f"torch {told['torch'].split('+')[0]} ({library})" if told["torch"] else f"numpy {told['numpy']}"
        others[name] = ask
        about.append(f"{name}: Python {told['python']}, numpy {told['numpy']}, BLAS {told['blas'] or 'unknown'}"
                     + ("" if told["torch"] else f", no torch ({told['missing']}): numpy alone"))
    return others, about


def medians(ask, others, commands, views, rounds):
    """Seconds by who and what; commands are ours."""
    turns = {("slimscope", c): lambda c=c: float(ask(c)) for c in commands}
    for name, other in others.items():
        keys = [("numpy", "as stored", "2T")]
        threads = ["1T", "2T"] + (["2 Python threads of 1T"] if "spread 2" in commands else [])
        keys += [("torch", view, t) for view in views for t in threads] if name.startswith("torch") else []
        turns.update({(name, *key): lambda other=other, key=key: float(other("run " + ", ".join(key))) for key in keys})
    times = {key: [] for key in turns}
    for number in range(rounds):
        for key in list(turns)[:: -1 if number % 2 else 1]:
            time.sleep(0.1)  # until idle threads of the last turn have gone to sleep
            times[key].append(turns[key]())
            print(f"  round {number + 1}, {', '.join(key)}: {times[key][-1]:.4f} s", file=sys.stderr)
    return {key: statistics.median(t) for key, t in times.items()}


def fastest(times, *having):
    """The fastest of those with these words in their key."""
    chosen = {k: t for k, t in times.items() if all(h in k for h in having)}
    return min(chosen.items(), key=lambda item: item[1]) if chosen else (None, math.nan)


def error(values, exact):
    values = np.sort(np.asarray(values, np.float64))[::-1]
    assert values.shape == exact.shape
    return f"{np.abs(values - exact).max() / exact[0]:.0e}"


def row(*cells):
    def text(c):
        return c if isinstance(c, str) else "–" if math.isnan(c) else f"{c:.3g}" if c < 10 else f"{c:.1f}"
    print("| " + " | ".join(map(text, cells)) + " |", flush=True)


def shapes(ask, others, folder, args):
    torches = [name for name in others if name.startswith("torch")]
    row("shape", "rounds", "slimscope 1T, s", "slimscope 2T, s", *[f"{name} best, s" for name in torches], "torch best",
        "numpy 2T, s", "torch best / slimscope 2T", "torch as stored 2T / slimscope 2T",
        "torch best 1T / slimscope 1T", "numpy / slimscope 2T", "slimscope max dσ/σ₁", "torch max dσ/σ₁")
    row(*["---"] * (12 + len(torches)))
    for m, n in args.shapes:
        a = weights(m, n)
        give(ask, others, folder, {"layer.weight": a})
        rounds = args.rounds or (3 if min(m, n) >= 2048 else 5)
        print(f"{m}x{n}", file=sys.stderr)
        t = medians(ask, others, ["each 1", "each 2"], ["as stored", "transposed"], rounds)
        ours1, ours2 = t["slimscope", "each 1"], t["slimscope", "each 2"]
        numpy2, (which, best) = fastest(t, "numpy")[1], fastest(t, "torch")
        errors = ["–", "–"]
        if min(m, n) <= args.check:
            exact = np.linalg.svd(a.astype(np.float64), compute_uv=False)
            told = lambda to: error([float(v) for v in to("values").split()], exact)
            errors = [told(ask), "–" if which is None else told(others[which[0]])]
        row(f"{m}x{n}", str(rounds), ours1, ours2, *[fastest(t, name, "torch")[1] for name in torches],
            f"{which[0]}, {which[2]}, {which[3]}" if which else "–", numpy2, best / ours2,
            fastest(t, "torch", "as stored", "2T")[1] / ours2, fastest(t, "torch", "1T")[1] / ours1, numpy2 / ours2, *errors)


def model(ask, others, folder, args):
    files = sorted(args.model.glob("*.safetensors")) if args.model.is_dir() else [args.model]
    tensors = {name: a for file in files for name, a in load(file, args.names).items()}
    if not tensors:
        sys.exit(f"no 2-D F32 tensor with `{args.names}` in its name in {args.model}")
    give(ask, others, folder, tensors)
    rounds = args.rounds or 5
    t = medians(ask, others, ["spread 2"], ["as stored", "tall", "wide"], rounds)
    ours = t["slimscope", "spread 2"]
    print(f"{len(tensors)} matrices (2-D, F32, `{args.names}` in the name), rounds: {rounds}\n")
    row("all singular values of all matrices", "s", "/ slimscope")
    row(*["---"] * 3)
    for key, time_ in sorted(t.items(), key=lambda item: item[1]):
        row(", ".join(key), time_, time_ / ours)


def setting(about):
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    cpu = next((l.split(": ")[1] for l in lines if l.startswith("model name")), platform.processor())
    print(f"{datetime.date.today()}, {cpu}, {os.cpu_count()} CPUs; medians, the rivals alternating in each round")
    print("\n".join(about))
    print("numpy computes in f64; 1T and 2T: 1 and 2 threads, as far as the BLAS heeds them\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shape = lambda text: tuple(int(e) for e in text.split("x", 1))
    parser.add_argument("--serve", metavar="PATH", help="the built bench `serve`, instead of building it")
    parser.add_argument("--rivals", nargs="+", metavar="PYTHON", default=[sys.executable],
                        help="Pythons with numpy and torch to compete with (this one)")
    parser.add_argument("--shapes", nargs="+", type=shape, metavar="MxN", default=[shape(s) for s in SHAPES])
    parser.add_argument("--large", action="store_true", help="also 4096x11008")
    parser.add_argument("--rounds", type=int, help="default: 5, and 3 where both sides are 2048 or more")
    parser.add_argument("--check", type=int, default=2048, metavar="N",
                        help="compare the values with numpy's in f64 up to this smaller side (2048)")
    parser.add_argument("--model", type=pathlib.Path, metavar="DIR", help="a checkpoint, instead of the shapes")
    parser.add_argument("--names", default="encoder.layer.", help="which tensors of it: part of the name (%(default)s)")
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.answer:
        return answer()
    if args.large:
        args.shapes.append((4096, 11008))
    ask = ours(args.serve)
    others, about = competitors(args.rivals)
    setting(about)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        give(ask, others, folder, {"layer.weight": weights(256, 256)})
        print("warming up", file=sys.stderr)
        medians(ask, others, ["each 1", "each 2"], list(VIEWS), 1)
        (model if args.model else shapes)(ask, others, folder, args)


if __name__ == "__main__":
    main()
