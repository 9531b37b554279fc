#!/usr/bin/env python3
"""Trains the byte-level Llama on the King James Bible: 4 layers, width 160, 5 heads, context 128, bfloat16.

The text is what Debian's `bible-kjv` prints: `bible -l100000 Gen1:1-Rev22:21 > kjv.txt`.
Needs torch and numpy; one thread; about half an hour. `python3 train.py --data kjv.txt`
"""
import argparse
import json
import math
import os
import subprocess
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import stio

D, LAYERS, HEADS, FFN, VOCAB, CONTEXT, EPS, THETA = 160, 4, 5, 432, 256, 128, 1e-5, 10000.0
HEAD = D // HEADS
EVAL_BYTES, HELD_OUT = 65536, 131072


class RMSNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(D))

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS)


def rotary(x, cos, sin):
    """Hugging Face's half-rotation: pairs are (i, i + HEAD/2)."""
    half = torch.cat((-x[..., HEAD // 2 :], x[..., : HEAD // 2]), -1)
    return x * cos + half * sin


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(self, name, nn.Linear(D, D, bias=False))

    def forward(self, x, cos, sin, mask):
        b, t, _ = x.shape
        q, k, v = (p(x).view(b, t, HEADS, HEAD).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        scores = rotary(q, cos, sin) @ rotary(k, cos, sin).transpose(2, 3) / math.sqrt(HEAD) + mask
        return self.o_proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(b, t, D))


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate_proj = nn.Linear(D, FFN, bias=False)
        self.up_proj = nn.Linear(D, FFN, bias=False)
        self.down_proj = nn.Linear(FFN, D, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.input_layernorm, self.post_attention_layernorm = RMSNorm(), RMSNorm()
        self.self_attn, self.mlp = Attention(), MLP()

    def forward(self, x, *rope):
        x = x + self.self_attn(self.input_layernorm(x), *rope)
        return x + self.mlp(self.post_attention_layernorm(x))


class Body(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed_tokens = nn.Embedding(VOCAB, D)
        self.layers = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = RMSNorm()


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = Body()
        self.lm_head = nn.Linear(D, VOCAB, bias=False)
        angle = torch.outer(torch.arange(CONTEXT).float(), THETA ** (-torch.arange(0, HEAD, 2).float() / HEAD))
        angle = torch.cat((angle, angle), -1)
        self.rope = angle.cos(), angle.sin(), torch.full((CONTEXT, CONTEXT), -1e9).triu(1)
        for p in self.parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=0.04)

    def forward(self, ids):
        t = ids.shape[1]
        x = self.model.embed_tokens(ids)
        for layer in self.model.layers:
            x = layer(x, self.rope[0][:t], self.rope[1][:t], self.rope[2][:t, :t])
        return self.lm_head(self.model.norm(x))


@torch.no_grad()
def bits_per_byte(model, text):
    """Windows of CONTEXT bytes that do not overlap; the first byte of a window is not predicted."""
    usable = len(text) // CONTEXT * CONTEXT
    windows = torch.tensor(np.frombuffer(text[:usable], np.uint8).astype(np.int64)).view(-1, CONTEXT)
    total, count = 0.0, 0
    for chunk in windows.split(32):
        logits = model(chunk)[:, :-1]
        total += F.cross_entropy(logits.reshape(-1, VOCAB), chunk[:, 1:].reshape(-1), reduction="sum").item()
        count += chunk.shape[0] * (CONTEXT - 1)
    return total / count / math.log(2)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", help="the text; without it `bible` is run")
    p.add_argument("--out", default=HERE)
    p.add_argument("--seed", type=int, default=7)
    p.add_argument("--steps", type=int, default=2400)
    p.add_argument("--batch", type=int, default=16)
    a = p.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(a.seed)
    rng = np.random.default_rng(a.seed)
    if a.data:
        text = open(a.data, "rb").read()
    else:
        text = subprocess.run(["bible", "-l100000", "Gen1:1-Rev22:21"], capture_output=True, check=True).stdout
    train, held = text[:-HELD_OUT], text[-HELD_OUT:]
    data = np.frombuffer(train, np.uint8)
    model = Model()
    print(sum(x.numel() for x in model.parameters()), "parameters,", len(text), "bytes of text", flush=True)
    decay = [x for x in model.parameters() if x.dim() == 2]
    rest = [x for x in model.parameters() if x.dim() != 2]
    opt = torch.optim.AdamW([{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}], lr=3e-3, betas=(0.9, 0.98))
    start = time.time()
    for step in range(a.steps):
        rate = 3e-3 * min(1, (step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / a.steps)))
        for group in opt.param_groups:
            group["lr"] = rate
        at = rng.integers(0, len(data) - CONTEXT, a.batch)
        ids = torch.tensor(np.stack([data[i : i + CONTEXT] for i in at]).astype(np.int64))
        loss = F.cross_entropy(model(ids)[:, :-1].reshape(-1, VOCAB), ids[:, 1:].reshape(-1))
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        if step % 100 == 0 or step + 1 == a.steps:
            print(step, round(loss.item() / math.log(2), 3), f"{time.time() - start:.0f} s", flush=True)
    weights = {k: stio.to_bf16(v.detach().numpy()) for k, v in model.named_parameters()}
    model.load_state_dict({k: torch.tensor(stio.from_bf16(v)) for k, v in weights.items()})
    os.makedirs(a.out, exist_ok=True)
    stio.save(os.path.join(a.out, "model.safetensors"), weights, {"format": "pt"})
    stio.save(os.path.join(a.out, "eval.safetensors"), {"text": np.frombuffer(held[:EVAL_BYTES], np.uint8)})
    config = dict(
        architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=D, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=HEADS, head_dim=HEAD, intermediate_size=FFN, vocab_size=VOCAB,
        max_position_embeddings=CONTEXT, rms_norm_eps=EPS, rope_theta=THETA, hidden_act="silu",
        tie_word_embeddings=False, attention_bias=False, mlp_bias=False, torch_dtype="bfloat16", tokenizer="bytes",
        bos_token_id=None, eos_token_id=None,
    )
    with open(os.path.join(a.out, "config.json"), "w") as f:
        json.dump(config, f, indent=1)
        f.write("\n")
    print(f"held out, as stored in bfloat16: {bits_per_byte(model, held):.4f} bits/byte of {HELD_OUT} bytes;",
          f"first {EVAL_BYTES}: {bits_per_byte(model, held[:EVAL_BYTES]):.4f}")


if __name__ == "__main__":
    main()
