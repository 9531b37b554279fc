#!/usr/bin/env python3
"""Writes the figures that tests/forward.rs compares with: forward passes in numpy, float64, from the stored weights.

forward.json: the sample models (logits of two positions, bits per byte, accuracy) and small random models whose
weights both sides build from one integer recurrence.
forward_large.json: SmolLM2 and MiniLM, from --smollm2 DIR and --minilm DIR; needs the package `tokenizers`.
"""
import argparse
import json
import math
import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "sample_models"))
import stio
from make import uniform

erf = np.vectorize(math.erf, otypes=[float])


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def rms(x, g, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * g


def layer_norm(x, g, b, eps):
    c = x - x.mean(-1, keepdims=True)
    return c / np.sqrt((c * c).mean(-1, keepdims=True) + eps) * g + b


def silu(x):
    return x / (1 + np.exp(-x))


def gelu(x):
    return x * 0.5 * (1 + erf(x / math.sqrt(2)))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def frequencies(c, d):
    theta = c.get("rope_theta", 10000.0)
    f = 1.0 / theta ** (np.arange(0, d, 2) / d)
    s = c.get("rope_scaling")
    if not s:
        return f
    kind = s.get("rope_type", s.get("type"))
    if kind == "linear":
        return f / s["factor"]
    assert kind == "llama3"
    # As transformers' modeling_rope_utils writes it.
    low = s["original_max_position_embeddings"] / s["low_freq_factor"]
    high = s["original_max_position_embeddings"] / s["high_freq_factor"]
    out = []
    for v in f:
        wave = 2 * math.pi / v
        if wave < high:
            out.append(v)
        elif wave > low:
            out.append(v / s["factor"])
        else:
            fade = (s["original_max_position_embeddings"] / wave - s["low_freq_factor"]) / (
                s["high_freq_factor"] - s["low_freq_factor"]
            )
            out.append((1 - fade) * v / s["factor"] + fade * v)
    return np.array(out)


def llama(c, w, tokens):
    """Hidden states of one row of tokens, then logits."""
    d, h = c["hidden_size"], c["num_attention_heads"]
    k, hd, eps = c.get("num_key_value_heads", h), c.get("head_dim", d // h), c["rms_norm_eps"]
    t = len(tokens)
    angle = np.outer(np.arange(t), frequencies(c, hd))
    cos, sin = (np.concatenate([f(angle)] * 2, 1)[:, None] for f in (np.cos, np.sin))
    at, back = np.arange(t)[:, None] - np.arange(t)[None], c.get("sliding_window") or t
    mask = np.where((at >= 0) & (at < back), 0.0, -np.inf)

    def rotate(x):
        return x * cos + np.concatenate([-x[..., hd // 2 :], x[..., : hd // 2]], -1) * sin

    def lin(name, x):
        b = w.get(name + ".bias")
        return x @ w[name + ".weight"].T + (0 if b is None else b)

    x = w["model.embed_tokens.weight"][tokens]
    for n in range(c["num_hidden_layers"]):
        p = f"model.layers.{n}."
        y = rms(x, w[p + "input_layernorm.weight"], eps)
        q, key, v = (
            lin(p + f"self_attn.{m}_proj", y).reshape(t, heads, hd) for m, heads in (("q", h), ("k", k), ("v", k))
        )
        if p + "self_attn.q_norm.weight" in w:
            q, key = rms(q, w[p + "self_attn.q_norm.weight"], eps), rms(key, w[p + "self_attn.k_norm.weight"], eps)
        q, key = rotate(q), rotate(key)
        heads = []
        for i in range(h):
            j = i // (h // k)
            heads.append(softmax(q[:, i] @ key[:, j].T / math.sqrt(hd) + mask) @ v[:, j])
        x = x + lin(p + "self_attn.o_proj", np.concatenate(heads, 1))
        y = rms(x, w[p + "post_attention_layernorm.weight"], eps)
        x = x + lin(p + "mlp.down_proj", silu(lin(p + "mlp.gate_proj", y)) * lin(p + "mlp.up_proj", y))
    x = rms(x, w["model.norm.weight"], eps)
    return x @ w.get("lm_head.weight", w["model.embed_tokens.weight"]).T


def gpt2(c, w, tokens):
    d, h, t, eps = c["n_embd"], c["n_head"], len(tokens), c["layer_norm_epsilon"]
    mask = np.where(np.tri(t) > 0, 0.0, -np.inf)

    def lin(name, x):
        return x @ w[name + ".weight"] + w[name + ".bias"]

    def norm(name, x):
        return layer_norm(x, w[name + ".weight"], w[name + ".bias"], eps)

    x = w["transformer.wte.weight"][tokens] + w["transformer.wpe.weight"][:t]
    for n in range(c["n_layer"]):
        p = f"transformer.h.{n}."
        q, k, v = np.split(lin(p + "attn.c_attn", norm(p + "ln_1", x)), 3, 1)
        heads = []
        for i in range(h):
            s = slice(i * d // h, (i + 1) * d // h)
            heads.append(softmax(q[:, s] @ k[:, s].T / math.sqrt(d // h) + mask) @ v[:, s])
        x = x + lin(p + "attn.c_proj", np.concatenate(heads, 1))
        x = x + lin(p + "mlp.c_proj", gelu_tanh(lin(p + "mlp.c_fc", norm(p + "ln_2", x))))
    return norm("transformer.ln_f", x) @ w["transformer.wte.weight"].T


def bert(c, w, tokens):
    d, h, t, eps = c["hidden_size"], c["num_attention_heads"], len(tokens), c["layer_norm_eps"]

    def lin(name, x):
        return x @ w[name + ".weight"].T + w[name + ".bias"]

    def norm(name, x):
        return layer_norm(x, w[name + ".weight"], w[name + ".bias"], eps)

    e = "embeddings."
    x = w[e + "word_embeddings.weight"][tokens] + w[e + "position_embeddings.weight"][:t]
    x = norm(e + "LayerNorm", x + w[e + "token_type_embeddings.weight"][0])
    for n in range(c["num_hidden_layers"]):
        p = f"encoder.layer.{n}."
        q, k, v = (lin(p + f"attention.self.{m}", x) for m in ("query", "key", "value"))
        heads = []
        for i in range(h):
            s = slice(i * d // h, (i + 1) * d // h)
            heads.append(softmax(q[:, s] @ k[:, s].T / math.sqrt(d // h)) @ v[:, s])
        x = norm(p + "attention.output.LayerNorm", x + lin(p + "attention.output.dense", np.concatenate(heads, 1)))
        x = norm(p + "output.LayerNorm", x + lin(p + "output.dense", gelu(lin(p + "intermediate.dense", x))))
    return x


def pair(value):
    return value if isinstance(value, list) else [value, value]


def windows(x, kernel, stride, dilation):
    """n × c × oh × ow × kh × kw."""
    (kh, kw), (sh, sw), (dh, dw) = kernel, stride, dilation
    oh = (x.shape[2] - dh * (kh - 1) - 1) // sh + 1
    ow = (x.shape[3] - dw * (kw - 1) - 1) // sw + 1
    out = np.empty((*x.shape[:2], oh, ow, kh, kw))
    for i in range(kh):
        for j in range(kw):
            out[..., i, j] = x[:, :, i * dh : i * dh + sh * (oh - 1) + 1 : sh, j * dw : j * dw + sw * (ow - 1) + 1 : sw]
    return out


def sequential(layers, w, x):
    for s in layers:
        kind = s["type"]
        if kind == "linear":
            x = x @ w[s["weight"]].T + (w[s["bias"]] if "bias" in s else 0)
        elif kind == "conv2d":
            weight, groups = w[s["weight"]], s.get("groups", 1)
            ph, pw = pair(s.get("padding", 0))
            mode = "wrap" if s.get("padding_mode") == "circular" else "constant"
            padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)), mode=mode)
            seen = windows(padded, weight.shape[2:], pair(s.get("stride", 1)), pair(s.get("dilation", 1)))
            parts = []
            for g in range(groups):
                o, i = weight.shape[0] // groups, weight.shape[1]
                parts.append(np.einsum("nchwij,ocij->nohw", seen[:, g * i : (g + 1) * i], weight[g * o : (g + 1) * o]))
            x = np.concatenate(parts, 1) + (w[s["bias"]][:, None, None] if "bias" in s else 0)
        elif kind == "batch_norm":
            shape = [1, -1] + [1] * (x.ndim - 2)
            scale = w[s["weight"]] / np.sqrt(w[s["running_var"]] + s.get("eps", 1e-5))
            x = (x - w[s["running_mean"]].reshape(shape)) * scale.reshape(shape) + w[s["bias"]].reshape(shape)
        elif kind in ("max_pool2d", "avg_pool2d"):
            kernel = pair(s["kernel_size"])
            ph, pw = pair(s.get("padding", 0))
            fill = -np.inf if kind == "max_pool2d" else 0.0
            padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)), constant_values=fill)
            seen = windows(padded, kernel, pair(s.get("stride", kernel)), (1, 1))
            x = seen.max((-1, -2)) if kind == "max_pool2d" else seen.mean((-1, -2))
        elif kind == "global_avg_pool2d":
            x = x.mean((2, 3), keepdims=True)
        elif kind == "flatten":
            x = x.reshape(len(x), -1)
        elif kind == "relu":
            x = np.maximum(x, 0)
        elif kind == "leaky_relu":
            x = np.where(x > 0, x, s.get("negative_slope", 0.01) * x)
        elif kind == "gelu":
            x = gelu_tanh(x) if s.get("approximate") == "tanh" else gelu(x)
        elif kind == "silu":
            x = silu(x)
        elif kind == "tanh":
            x = np.tanh(x)
        elif kind == "sigmoid":
            x = 1 / (1 + np.exp(-x))
        elif kind == "softplus":
            x = np.log1p(np.exp(-abs(x))) + np.maximum(x, 0)
        elif kind in ("maxmin", "groupsort"):
            size = s.get("group_size", 2)
            rest = x.shape[2:]
            y = np.sort(x.reshape(len(x), -1, size, *rest), 2)
            x = (y[:, :, ::-1] if kind == "maxmin" else y).reshape(x.shape)
        elif kind == "householder":
            v = w[s["vector"]] / np.linalg.norm(w[s["vector"]])
            y = x.reshape(len(x), -1, len(v), *x.shape[2:])
            along = np.einsum("ngc...,c->ng...", y, v)
            mirrored = y - 2 * np.einsum("ng...,c->ngc...", along, v)
            x = np.where(along[:, :, None] > 0, y, mirrored).reshape(x.shape)
        elif kind == "layer_norm":
            x = layer_norm(x, w[s["weight"]], w[s["bias"]], s.get("eps", 1e-5))
        elif kind == "rms_norm":
            x = rms(x, w[s["weight"]], s["eps"])
        elif kind == "residual":
            x = x + sequential(s["layers"], w, x)
        else:
            raise ValueError(kind)
    return x


def built(tensors):
    """name → f64 weights from (shape, seed, scale, offset): the same f32 numbers as in Rust."""
    return {
        n: (uniform(int(np.prod(s)), seed) * scale + offset).astype(np.float32).astype(float).reshape(s)
        for n, (s, seed, scale, offset) in tensors.items()
    }


def numbered(shapes):
    """Gives each tensor a seed; gains and variances lie around 1."""
    out = {}
    for i, (name, shape) in enumerate(shapes.items()):
        around_one = len(shape) == 1 and name.endswith((".weight", "running_var"))
        fan = shape[-1] if len(shape) == 2 else int(np.prod(shape[1:]))
        scale = 0.3 if len(shape) == 1 else 2.0 / math.sqrt(fan)
        out[name] = [shape, i + 1, scale, 1.0 if around_one else 0.0]
    return out


def llama_shapes(c, bias=False, norms=False, tied=False):
    d, h, f, v = c["hidden_size"], c["num_attention_heads"], c["intermediate_size"], c["vocab_size"]
    k, hd = c.get("num_key_value_heads", h), c.get("head_dim", d // h)
    s = {"model.embed_tokens.weight": [v, d]}
    for n in range(c["num_hidden_layers"]):
        p = f"model.layers.{n}."
        for m, rows in (("q", h * hd), ("k", k * hd), ("v", k * hd)):
            s[p + f"self_attn.{m}_proj.weight"] = [rows, d]
            if bias:
                s[p + f"self_attn.{m}_proj.bias"] = [rows]
        s[p + "self_attn.o_proj.weight"] = [d, h * hd]
        if norms:
            s[p + "self_attn.q_norm.weight"] = s[p + "self_attn.k_norm.weight"] = [hd]
        s[p + "mlp.gate_proj.weight"] = s[p + "mlp.up_proj.weight"] = [f, d]
        s[p + "mlp.down_proj.weight"] = [d, f]
        s[p + "input_layernorm.weight"] = s[p + "post_attention_layernorm.weight"] = [d]
    s["model.norm.weight"] = [d]
    if not tied:
        s["lm_head.weight"] = [v, d]
    return numbered(s)


def small():
    base = {
        "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 2,
        "intermediate_size": 40, "vocab_size": 50, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": False, "tokenizer": "bytes",
    }
    llama3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
              "original_max_position_embeddings": 16}
    tokens = [(i * 7 + 3) % 50 for i in range(13)]
    forms = {
        "qwen2": ({**base, "model_type": "qwen2", "tie_word_embeddings": True}, {"bias": True, "tied": True}),
        "qwen3": ({**base, "model_type": "qwen3", "head_dim": 8}, {"norms": True}),
        "llama3": ({**base, "model_type": "llama", "rope_theta": 50.0, "rope_scaling": llama3}, {}),
        "linear": ({**base, "model_type": "llama", "rope_scaling": {"type": "linear", "factor": 4.0}}, {}),
        "mistral": ({**base, "model_type": "mistral", "sliding_window": 4}, {}),
    }
    out = {}
    for name, (config, how) in forms.items():
        tensors = llama_shapes(config, **how)
        logits = llama(config, built(tensors), np.array(tokens))
        out[name] = {"config": config, "tensors": tensors, "tokens": tokens, "logits": logits[[6, -1]].tolist(),
                     "positions": [6, 12]}
    c = {"model_type": "gpt2", "n_embd": 24, "n_head": 3, "n_layer": 2, "vocab_size": 50, "n_positions": 32,
         "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new", "tokenizer": "bytes"}
    s = {"transformer.wte.weight": [50, 24], "transformer.wpe.weight": [32, 24]}
    for n in range(2):
        p = f"transformer.h.{n}."
        for part, a, b in (("attn.c_attn", 24, 72), ("attn.c_proj", 24, 24), ("mlp.c_fc", 24, 96), ("mlp.c_proj", 96, 24)):
            s[p + part + ".weight"], s[p + part + ".bias"] = [a, b], [b]
        for part in ("ln_1", "ln_2"):
            s[p + part + ".weight"] = s[p + part + ".bias"] = [24]
    s["transformer.ln_f.weight"] = s["transformer.ln_f.bias"] = [24]
    tensors = numbered(s)
    logits = gpt2(c, built(tensors), np.array(tokens))
    out["gpt2"] = {"config": c, "tensors": tensors, "tokens": tokens, "logits": logits[[6, -1]].tolist(), "positions": [6, 12]}
    layers = [
        {"type": "conv2d", "weight": "c1.weight", "bias": "c1.bias", "padding": [2, 1], "padding_mode": "circular"},
        {"type": "maxmin"},
        {"type": "residual", "layers": [
            {"type": "conv2d", "weight": "c2.weight", "padding": [2, 2], "dilation": 2, "groups": 4},
            {"type": "batch_norm", "weight": "bn.weight", "bias": "bn.bias", "running_mean": "bn.running_mean",
             "running_var": "bn.running_var"},
            {"type": "silu"}]},
        {"type": "max_pool2d", "kernel_size": 3, "stride": 2, "padding": 1},
        {"type": "groupsort", "group_size": 4},
        {"type": "conv2d", "weight": "c3.weight", "bias": "c3.bias", "stride": [2, 1]},
        {"type": "householder", "vector": "house"},
        {"type": "avg_pool2d", "kernel_size": [1, 2], "stride": 1},
        {"type": "gelu"},
        {"type": "global_avg_pool2d"},
        {"type": "flatten"},
        {"type": "layer_norm", "weight": "ln.weight", "bias": "ln.bias"},
        {"type": "linear", "weight": "f1.weight", "bias": "f1.bias"},
        {"type": "leaky_relu", "negative_slope": 0.2},
        {"type": "rms_norm", "weight": "rn.weight", "eps": 1e-6},
        {"type": "gelu", "approximate": "tanh"},
        {"type": "softplus"}, {"type": "tanh"}, {"type": "sigmoid"},
        {"type": "linear", "weight": "f2.weight"},
    ]
    s = {"c1.weight": [8, 2, 3, 3], "c1.bias": [8], "c2.weight": [8, 2, 3, 3], "bn.weight": [8], "bn.bias": [8],
         "bn.running_mean": [8], "bn.running_var": [8], "c3.weight": [12, 8, 2, 3], "c3.bias": [12], "house": [3],
         "ln.weight": [12], "ln.bias": [12], "f1.weight": [10, 12], "f1.bias": [10], "rn.weight": [10], "f2.weight": [5, 10]}
    tensors = numbered(s)
    c = {"model_type": "sequential", "input": {"shape": [2, 9, 11], "scale": 1.0}, "classes": 5, "layers": layers}
    pixels = uniform(2 * 2 * 9 * 11, 77).astype(np.float32).astype(float)
    logits = sequential(layers, built(tensors), pixels.reshape(2, 2, 9, 11))
    out["sequential"] = {"config": c, "tensors": tensors, "logits": logits.tolist(), "examples": 2, "seed": 77}
    return out


def opened(folder):
    w = stio.load(os.path.join(folder, "model.safetensors"))
    with open(os.path.join(folder, "config.json")) as f:
        config = json.load(f)
    return config, {n: a.astype(float) if a.dtype.kind == "f" else a for n, a in w.items()}


def samples():
    out = {}
    folder = os.path.join(ROOT, "sample_models")
    config, w = opened(os.path.join(folder, "bytelm"))
    text = stio.load(os.path.join(folder, "bytelm", "eval.safetensors"))["text"][:1000].astype(int)
    nats, predicted = 0.0, 0
    for start in range(0, len(text), 128):
        window = text[start : start + 128]
        logits = llama(config, w, window)
        if start == 0:
            first = logits
        p = softmax(logits[:-1])
        nats -= np.log(p[np.arange(len(window) - 1), window[1:]]).sum()
        predicted += len(window) - 1
    out["bytelm"] = {"positions": [63, 127], "logits": first[[63, 127]].tolist(), "bytes": 1000,
                     "bits_per_byte": nats / predicted / math.log(2), "perplexity": math.exp(nats / predicted)}
    for name, count in (("fashion_cnn", 200), ("fashion_mlp", 500), ("digits_mlp", 360)):
        config, w = opened(os.path.join(folder, name))
        data = stio.load(os.path.join(folder, name, "eval.safetensors"))
        count = min(count, len(data["labels"]))
        x = data["images"][:count].astype(float).reshape(count, *config["input"]["shape"]) * config["input"]["scale"]
        logits = sequential(config["layers"], w, x)
        hits = (logits.argmax(1) == data["labels"][:count]).mean()
        out[name] = {"logits": logits[[0, 1]].tolist(), "examples": count, "accuracy": float(hits)}
    return out


def large(args):
    from tokenizers import Tokenizer

    text = "In the beginning God created the heaven and the earth."
    out = {"text": text}
    for name, folder, run in (("smollm2", args.smollm2, llama), ("minilm", args.minilm, bert)):
        config, w = opened(folder)
        tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokens = tokenizer.encode(text, add_special_tokens=False).ids
        y = run(config, w, np.array(tokens))
        middle = len(tokens) // 2
        step = max(1, y.shape[1] // 400)
        out[name] = {"tokens": tokens, "positions": [middle, len(tokens) - 1], "step": step,
                     "logits": y[[middle, -1]][:, ::step].tolist()}
    return out


def rounded(x):
    if isinstance(x, float):
        return float(f"{x:.9g}")
    if isinstance(x, list):
        return [rounded(v) for v in x]
    return {k: rounded(v) for k, v in x.items()} if isinstance(x, dict) else x


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--smollm2")
    parser.add_argument("--minilm")
    args = parser.parse_args()
    with open(os.path.join(HERE, "forward.json"), "w") as f:
        json.dump(rounded({"small": small(), "samples": samples()}), f)
    if args.smollm2 and args.minilm:
        with open(os.path.join(HERE, "forward_large.json"), "w") as f:
            json.dump(rounded(large(args)), f)


if __name__ == "__main__":
    main()
