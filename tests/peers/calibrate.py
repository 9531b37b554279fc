#!/usr/bin/env python3
"""Compares `slimscope calibrate` with PyTorch: every tensor of the file, for the byte model and the small classifiers.

    python3 tests/peers/calibrate.py [--slimscope target/debug/slimscope]

Builds the sample models as PyTorch modules, runs the function of assets/calibrate.py and the command on the same slice
of their eval.safetensors, and compares. Images get noise: on a flat background max pooling has ties, whose derivative
PyTorch gives to one of the tied and slimscope to all of them in equal parts. Needs torch, safetensors and numpy; exits with 77 where they are not there.
"""
import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SAMPLES = os.path.join(ROOT, "sample_models")
try:
    import numpy as np
    import torch
    import torch.nn.functional as F
    from safetensors.torch import load_file
    from torch import nn
except ImportError as error:
    print(f"skipped: {error}", file=sys.stderr)
    sys.exit(77)
sys.path.insert(0, SAMPLES)
import stio


def module(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


peer = module("calibrate_script", os.path.join(ROOT, "assets/calibrate.py"))


def weights(folder, model):
    stored = {k: torch.tensor(np.array(v)) for k, v in stio.load(os.path.join(folder, "model.safetensors")).items()}
    missing, unknown = model.load_state_dict(stored, strict=False)
    assert not unknown and all("num_batches_tracked" in m for m in missing), (missing, unknown)
    return model.eval()


def bytelm(folder, count, path):
    train = module("train_bytelm", os.path.join(folder, "train.py"))
    text = stio.load(path)["text"][:count]
    ids = torch.tensor(text.astype(np.int64))
    windows = [w[None] for w in ids.split(train.CONTEXT) if len(w) > 1]
    loss = lambda model, w: F.cross_entropy(model(w)[0, :-1], w[0, 1:], reduction="sum")
    return weights(folder, train.Model()), windows, loss, windows


def noisy(folder, path, count):
    """The first images of a sample with noise on every pixel."""
    data = stio.load(os.path.join(folder, "eval.safetensors"))
    pixels, top = data["images"][:count], data["images"].max()
    noise = np.random.default_rng(1).integers(0, int(top) // 8 + 1, pixels.shape)
    pixels = np.minimum(pixels + noise, top).astype(np.uint8)
    stio.save(path, {"images": pixels, "labels": data["labels"][:count]})


def images(folder, count, path):
    config = json.load(open(os.path.join(folder, "config.json")))
    model = nn.Sequential()
    state = stio.load(os.path.join(folder, "model.safetensors"))
    for number, layer in enumerate(config["layers"]):
        kind = layer["type"]
        name = layer["weight"].rsplit(".", 1)[0] if "weight" in layer else f"{kind}{number}"
        shape = state[layer["weight"]].shape if "weight" in layer else ()
        built = {
            "linear": lambda: nn.Linear(shape[1], shape[0]),
            "conv2d": lambda: nn.Conv2d(shape[1], shape[0], shape[2:], layer["stride"], layer["padding"]),
            "batch_norm": lambda: nn.BatchNorm2d(shape[0], layer["eps"]),
            "relu": nn.ReLU,
            "flatten": nn.Flatten,
            "max_pool2d": lambda: nn.MaxPool2d(layer["kernel_size"], layer["stride"]),
        }[kind]()
        model.add_module(name, built)
    data = stio.load(path)
    shape, scale = config["input"]["shape"], config["input"]["scale"]
    x = torch.tensor(data["images"][:count].astype(np.float32).reshape(-1, *shape) * np.float32(scale))
    y = torch.tensor(data["labels"][:count].astype(np.int64))
    loss = lambda model, b: F.cross_entropy(model(b[0]), b[1], reduction="sum")
    return weights(folder, model), [(b,) for b in x.split(64)], loss, list(zip(x.split(64), y.split(64)))


def compare(name, load, count, slimscope, folder):
    ours, theirs = os.path.join(folder, f"{name}.safetensors"), os.path.join(folder, f"{name}.torch.safetensors")
    at = os.path.join(SAMPLES, name)
    data = os.path.join(at, "eval.safetensors")
    if load is images:
        data = os.path.join(folder, f"{name}.data.safetensors")
        noisy(at, data, count)
    command = [slimscope, "calibrate", at, "--data", data, "--slice", str(count)]
    result = subprocess.run(command + ["-o", ours, "--format", "json"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    model, batches, loss, loss_batches = load(at, count, data)
    tokens = peer.calibrate(model, batches, theirs, name, loss=loss, loss_batches=loss_batches)
    told = json.loads(result.stdout)
    a, b = load_file(ours), load_file(theirs)
    assert tokens == told["tokens"], (tokens, told)
    assert sorted(a) == sorted(b), set(a) ^ set(b)
    worst = {}
    for key in a:
        assert a[key].shape == b[key].shape, key
        x, y = a[key].double(), b[key].double()
        error = ((x - y).norm() / y.norm().clamp_min(1e-30)).item()
        part = key.rsplit(".", 1)[1]
        worst[part] = max(worst.get(part, (0, "")), (error, key))
        assert not part == "gram" or torch.equal(a[key], a[key].T), f"{key}: not symmetric"
    for part, (error, key) in sorted(worst.items()):
        print(f"{name}: {part}: at most {error:.1e} apart ({key})")
        assert error <= 1e-3, f"{key}: {error:.2e} of its norm apart"
    print(f"{name}: {len(a)} tensors of {told['layers']} layers agree, {tokens} tokens or images")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--slimscope", default=os.path.join(ROOT, "target/debug/slimscope"))
    p.add_argument("--only", nargs="*", default=["bytelm", "digits_mlp", "fashion_mlp", "fashion_cnn"])
    a = p.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for name in a.only:
            load, count = (bytelm, 4000) if name == "bytelm" else (images, 200)
            compare(name, load, count, a.slimscope, folder)


if __name__ == "__main__":
    main()
