"""Reads Fashion-MNIST's idx files and trains a classifier on it; shared by fashion_mlp and fashion_cnn."""
import gzip
import json
import os
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import stio

DATA = "/usr/share/datasets/fashion-mnist"


def idx(folder, name):
    """An idx file, packed or not, as an array of bytes."""
    path = os.path.join(folder, name)
    with (open(path, "rb") if os.path.exists(path) else gzip.open(path + ".gz", "rb")) as f:
        raw = f.read()
    shape = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(raw[3])]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def load(folder):
    return [idx(folder, n) for n in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")]


def accuracy(model, x, y):
    model.eval()
    with torch.no_grad():
        right = sum((model(a).argmax(1) == b).sum().item() for a, b in zip(x.split(500), y.split(500)))
    return right / len(y)


def train(model, data, out, config, seed, epochs, batch, rate, evaluate, augment):
    """Trains with a one-cycle rate, writes the sample model's three files, prints the measured accuracy."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    images, labels, test_images, test_labels = load(data)
    x = torch.tensor(images[:, None].astype(np.float32) / 255)
    y = torch.tensor(labels.astype(np.int64))
    tx = torch.tensor(test_images[:, None].astype(np.float32) / 255)
    ty = torch.tensor(test_labels.astype(np.int64))
    opt = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.02)
    steps = epochs * (len(x) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(opt, rate, total_steps=steps + 1)
    start = time.time()
    for epoch in range(epochs):
        model.train()
        order = rng.permutation(len(x))
        for at in range(0, len(x) - batch + 1, batch):
            chosen = torch.tensor(order[at : at + batch])
            inputs = x[chosen]
            if augment and rng.random() < 0.5:
                inputs = inputs.flip(3)
            opt.zero_grad()
            F.cross_entropy(model(inputs), y[chosen], label_smoothing=0.05).backward()
            opt.step()
            schedule.step()
        print(epoch, f"{accuracy(model, tx, ty):.4f}", f"{time.time() - start:.0f} s", flush=True)
    kept = {k: v.numpy() for k, v in model.state_dict().items() if v.dim() > 0}
    stio.save(os.path.join(out, "model.safetensors"), kept, {"format": "pt"})
    n = evaluate
    stio.save(os.path.join(out, "eval.safetensors"), {"images": test_images[:n], "labels": test_labels[:n]})
    with open(os.path.join(out, "config.json"), "w") as f:
        json.dump(config, f, indent=1)
        f.write("\n")
    print(f"held out: {accuracy(model, tx, ty):.4f} of {len(ty)}; first {n}: {accuracy(model, tx[:n], ty[:n]):.4f}")
