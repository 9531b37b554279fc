#!/usr/bin/env python3
"""Trains a 64-256-128-10 MLP on scikit-learn's 8×8 digits (1,797 images; every fifth is held out).

Needs torch, numpy and scikit-learn; one thread; a few seconds.
"""
import argparse
import json
import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import stio


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", default=HERE)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--epochs", type=int, default=60)
    a = p.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(a.seed)
    rng = np.random.default_rng(a.seed)
    digits = load_digits()
    images, labels = digits.images.astype(np.uint8), digits.target.astype(np.int64)
    held = np.arange(len(images)) % 5 == 0
    x, y = torch.tensor(images[~held] / 16, dtype=torch.float32).flatten(1), torch.tensor(labels[~held])
    tx, ty = torch.tensor(images[held] / 16, dtype=torch.float32).flatten(1), torch.tensor(labels[held])
    model = torch.nn.Sequential()
    model.add_module("fc1", torch.nn.Linear(64, 256))
    model.add_module("relu1", torch.nn.ReLU())
    model.add_module("fc2", torch.nn.Linear(256, 128))
    model.add_module("relu2", torch.nn.ReLU())
    model.add_module("fc3", torch.nn.Linear(128, 10))
    opt = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    for epoch in range(a.epochs):
        for batch in np.array_split(rng.permutation(len(x)), len(x) // 64):
            opt.zero_grad()
            F.cross_entropy(model(x[batch]), y[batch]).backward()
            opt.step()
    model.eval()
    with torch.no_grad():
        accuracy = (model(tx).argmax(1) == ty).float().mean().item()
    stio.save(os.path.join(a.out, "model.safetensors"), {k: v.numpy() for k, v in model.state_dict().items()}, {"format": "pt"})
    stio.save(os.path.join(a.out, "eval.safetensors"), {"images": images[held], "labels": labels[held].astype(np.uint8)})
    config = {
        "model_type": "sequential",
        "input": {"shape": [1, 8, 8], "scale": 1 / 16},
        "classes": 10,
        "layers": [
            {"type": "flatten"},
            {"type": "linear", "weight": "fc1.weight", "bias": "fc1.bias"},
            {"type": "relu"},
            {"type": "linear", "weight": "fc2.weight", "bias": "fc2.bias"},
            {"type": "relu"},
            {"type": "linear", "weight": "fc3.weight", "bias": "fc3.bias"},
        ],
    }
    with open(os.path.join(a.out, "config.json"), "w") as f:
        json.dump(config, f, indent=1)
        f.write("\n")
    print(f"held out: {accuracy:.4f} of {held.sum()} images")


if __name__ == "__main__":
    main()
