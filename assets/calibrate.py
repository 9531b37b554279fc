#!/usr/bin/env python3
"""Writes calibration.safetensors for slimscope with PyTorch, for models that slimscope does not run itself.

    python calibrate.py MODEL_FOLDER TEXT -o calibration.safetensors --bytes 256000 --context 512

runs a language model through transformers. For any other model:

    from calibrate import calibrate
    calibrate(model, batches, "calibration.safetensors")

Needs torch and safetensors; the command transformers as well. For each nn.Linear, nn.Conv2d and transformers' Conv1D
the file holds, under the module's name and over the rows x of its input (tokens; of a convolution its unfolded patches):
`NAME.gram` = E[x x^T], or beyond --limit columns `NAME.diagonal` = E[x^2], `NAME.abs_mean` = E|x|, `NAME.mean` = E[x].
With a loss also `NAME.gradient` = E[g^2] of its gradient by the module's output. Sums are kept in float64.
"""
import argparse
import os

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

LIMIT = 8192


class Moments:
    """Sums over rows: of x x^T (or x^2), |x| and x."""

    def __init__(self, columns, limit, device):
        zeros = lambda *shape: torch.zeros(*shape, dtype=torch.float64, device=device)
        self.whole = columns <= limit
        self.products = zeros(columns, columns) if self.whole else zeros(columns)
        self.abs, self.sum, self.rows = zeros(columns), zeros(columns), 0

    def add(self, x):
        x = x.double()
        self.products += x.T @ x if self.whole else (x * x).sum(0)
        self.abs += x.abs().sum(0)
        self.sum += x.sum(0)
        self.rows += x.shape[0]


def rows_of(module, x):
    """What a module multiplies, a row each; of a convolution with groups those of the first group, then the second."""
    if not isinstance(module, nn.Conv2d):
        return x.reshape(-1, x.shape[-1])
    pad = module.padding
    if pad == "same":
        both = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size)]
        sides = [both[1] // 2, both[1] - both[1] // 2, both[0] // 2, both[0] - both[0] // 2]
    elif pad == "valid":
        sides = [0, 0, 0, 0]
    else:
        sides = [pad[1], pad[1], pad[0], pad[0]]
    x = F.pad(x, sides, mode="constant" if module.padding_mode == "zeros" else module.padding_mode)
    x = F.unfold(x, module.kernel_size, dilation=module.dilation, stride=module.stride)
    columns = x.shape[1] // module.groups
    return x.reshape(x.shape[0], module.groups, columns, -1).permute(1, 0, 3, 2).reshape(-1, columns)


def heard(module):
    """Whether a module multiplies its input with a matrix that slimscope shows."""
    return isinstance(module, (nn.Linear, nn.Conv2d)) or type(module).__name__ == "Conv1D"


def run(model, batch):
    if isinstance(batch, dict):
        return model(**batch)
    return model(*batch) if isinstance(batch, (tuple, list)) else model(batch)


def calibrate(model, batches, path, name="", data="", limit=LIMIT, layers=None, loss=None, loss_batches=None):
    """Runs the model on the batches (tensors, tuples or dicts of arguments) and writes the file.

    `layers` says by name which modules are wanted; `loss(model, batch)` gives the summed loss in nats of one of
    `loss_batches`, for gradients. Returns the number of tokens (or examples) of the batches.
    """
    named, seen = {}, set()
    for module_name, module in model.named_modules():
        if heard(module) and id(module) not in seen and (layers is None or layers(module_name)):
            seen.add(id(module))
            named[module_name] = module
    moments, gradients, shared = {}, {}, {}

    def listen(module_name):
        def hook(module, inputs):
            x = inputs[0].detach()
            # Modules that hear the same tensor (q, k, v) share what is summed up.
            kind = module.kernel_size + module.stride if isinstance(module, nn.Conv2d) else None
            key, last = (id(inputs[0]), kind), shared.get("last")
            if last and last[0] == key and moments.get(module_name, last[2]) is last[2]:
                moments[module_name] = last[2]
                return
            rows = rows_of(module, x)
            if not torch.isfinite(rows).all():
                raise ValueError(f"{module_name}: its input holds a value that is not finite")
            own = moments.setdefault(module_name, Moments(rows.shape[1], limit, rows.device))
            own.add(rows)
            # The tensor is kept so that its id is not given to another.
            shared["last"] = (key, inputs[0], own)

        return hook

    training = model.training
    model.eval()
    hooks = [module.register_forward_pre_hook(listen(n)) for n, module in named.items()]
    tokens = 0
    with torch.no_grad():
        for batch in batches:
            shared.clear()
            run(model, batch)
            first = next(iter(batch.values())) if isinstance(batch, dict) else batch
            first = first[0] if isinstance(first, (tuple, list)) else first
            tokens += first.shape[0] if first.is_floating_point() else first.numel()
    for hook in hooks:
        hook.remove()
    if loss is not None:
        backward(model, named, loss, loss_batches, gradients)
    model.train(training)
    write(path, moments, gradients, {"model": name, "data": data, "tokens": str(tokens)})
    return tokens


def backward(model, named, loss, batches, gradients):
    """Sums up squares of the loss's gradient by each module's output."""

    def listen(module_name):
        def hook(module, inputs, output):
            def add(gradient):
                axis = 1 if isinstance(module, nn.Conv2d) else -1
                rows = gradient.detach().double().movedim(axis, -1).reshape(-1, gradient.shape[axis])
                squares, count = gradients.get(module_name, (0, 0))
                gradients[module_name] = (squares + (rows * rows).sum(0), count + rows.shape[0])

            if output.requires_grad:
                output.register_hook(add)

        return hook

    hooks = [module.register_forward_hook(listen(n)) for n, module in named.items()]
    for batch in batches:
        model.zero_grad(set_to_none=True)
        loss(model, batch).backward()
    model.zero_grad(set_to_none=True)
    for hook in hooks:
        hook.remove()


def write(path, moments, gradients, metadata):
    tensors = {}
    put = lambda name, value: tensors.__setitem__(name, value.float().cpu().contiguous().clone())
    for name, m in moments.items():
        put(f"{name}.gram" if m.whole else f"{name}.diagonal", m.products / m.rows)
        put(f"{name}.abs_mean", m.abs / m.rows)
        put(f"{name}.mean", m.sum / m.rows)
    for name, (squares, count) in gradients.items():
        put(f"{name}.gradient", squares / count)
    beside = f"{path}.{os.getpid()}"
    save_file(tensors, beside, {"format": "slimscope calibration 1", **metadata})
    os.replace(beside, path)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", help="a folder that transformers opens")
    p.add_argument("text", help="a file of UTF-8 text, other than what quality is measured on")
    p.add_argument("-o", "--output", required=True)
    p.add_argument("--bytes", type=int, help="only the first so many bytes of the text")
    p.add_argument("--context", type=int, default=512, help="tokens of a window (512)")
    p.add_argument("--limit", type=int, default=LIMIT, help=f"beyond so many columns only the diagonal ({LIMIT})")
    p.add_argument("--gradients", type=int, default=0, metavar="N", help="gradients of the loss over N windows (0)")
    a = p.parse_args()
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError:
        p.exit(2, "calibrate.py: needs transformers for this; or call calibrate(model, batches, path) from your own code\n")
    model = AutoModelForCausalLM.from_pretrained(a.model)
    tokenizer = AutoTokenizer.from_pretrained(a.model)
    with open(a.text, "rb") as f:
        text = f.read(a.bytes).decode("utf-8", "ignore" if a.bytes else "strict")
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids[0]
    windows = [w[None] for w in ids.split(a.context) if len(w) > 1]

    def loss(model, batch):
        logits = model(batch).logits[0, :-1].float()
        return F.cross_entropy(logits, batch[0, 1:], reduction="sum")

    name, data = os.path.basename(os.path.normpath(a.model)), os.path.basename(a.text)
    some = windows[:: max(1, len(windows) // a.gradients)][: a.gradients] if a.gradients else None
    tokens = calibrate(
        model, windows, a.output, name, data, a.limit, loss=loss if a.gradients else None, loss_batches=some
    )
    print(f"{tokens} tokens of {data}; written: {a.output}")


if __name__ == "__main__":
    main()
