#!/usr/bin/env python3
"""Trains a 784-256-128-10 MLP on Fashion-MNIST (Debian's dataset-fashion-mnist). One thread; about half a minute."""
import argparse
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import fashion
import torch
from torch import nn


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--data", default=fashion.DATA)
    p.add_argument("--out", default=HERE)
    p.add_argument("--seed", type=int, default=2)
    p.add_argument("--epochs", type=int, default=12)
    a = p.parse_args()
    torch.manual_seed(a.seed)
    model = nn.Sequential()
    model.add_module("flatten", nn.Flatten())
    for i, (n, m) in enumerate([(784, 256), (256, 128), (128, 10)], 1):
        model.add_module(f"fc{i}", nn.Linear(n, m))
        if i < 3:
            model.add_module(f"relu{i}", nn.ReLU())
    linear = lambda i: {"type": "linear", "weight": f"fc{i}.weight", "bias": f"fc{i}.bias"}
    config = {
        "model_type": "sequential",
        "input": {"shape": [1, 28, 28], "scale": 1 / 255},
        "classes": 10,
        "layers": [{"type": "flatten"}, linear(1), {"type": "relu"}, linear(2), {"type": "relu"}, linear(3)],
    }
    fashion.train(model, a.data, a.out, config, a.seed, a.epochs, 128, 3e-3, 1000, False)


if __name__ == "__main__":
    main()
