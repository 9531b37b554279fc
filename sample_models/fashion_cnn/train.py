#!/usr/bin/env python3
"""Trains a small CNN on Fashion-MNIST: three 3×3 convolutions with batch norm, two linear layers, 99k parameters.

Data: Debian's dataset-fashion-mnist. One thread; about ten minutes.
"""
import argparse
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import fashion
import torch
from torch import nn


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", default=fashion.DATA)
    p.add_argument("--out", default=HERE)
    p.add_argument("--seed", type=int, default=3)
    p.add_argument("--epochs", type=int, default=10)
    a = p.parse_args()
    torch.manual_seed(a.seed)
    widths = [1, 16, 32, 64]
    model, layers = nn.Sequential(), []
    for i in (1, 2, 3):
        model.add_module(f"conv{i}", nn.Conv2d(widths[i - 1], widths[i], 3, padding=1))
        model.add_module(f"bn{i}", nn.BatchNorm2d(widths[i]))
        model.add_module(f"relu{i}", nn.ReLU())
        model.add_module(f"pool{i}", nn.MaxPool2d(2))
        layers += [
            {"type": "conv2d", "weight": f"conv{i}.weight", "bias": f"conv{i}.bias", "stride": 1, "padding": 1},
            {"type": "batch_norm", "weight": f"bn{i}.weight", "bias": f"bn{i}.bias",
             "running_mean": f"bn{i}.running_mean", "running_var": f"bn{i}.running_var", "eps": 1e-05},
            {"type": "relu"},
            {"type": "max_pool2d", "kernel_size": 2, "stride": 2},
        ]
    model.add_module("flatten", nn.Flatten())
    model.add_module("fc1", nn.Linear(64 * 9, 128))
    model.add_module("relu4", nn.ReLU())
    model.add_module("fc2", nn.Linear(128, 10))
    layers += [
        {"type": "flatten"},
        {"type": "linear", "weight": "fc1.weight", "bias": "fc1.bias"},
        {"type": "relu"},
        {"type": "linear", "weight": "fc2.weight", "bias": "fc2.bias"},
    ]
    config = {"model_type": "sequential", "input": {"shape": [1, 28, 28], "scale": 1 / 255}, "classes": 10, "layers": layers}
    fashion.train(model, a.data, a.out, config, a.seed, a.epochs, 128, 4e-3, 500, True)


if __name__ == "__main__":
    main()
