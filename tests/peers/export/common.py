"""What the checks share: the program, models, plans."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(os.environ["ROOT"])
WORK = Path(os.environ["WORK"])
LINEARS = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
           "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]


def need(*modules):
    """Imports modules; without one of them the check is skipped."""
    found = []
    for name in modules:
        try:
            found.append(importlib.import_module(name))
        except Exception as error:  # whatever an import may raise
            skip(f"{name} cannot be imported: {error}")
    return found


def skip(why):
    print(f"SKIPPED {Path(sys.argv[0]).stem.removeprefix('check_')}: {why}")
    sys.exit(77)


def slimscope(*args):
    """Runs the program; its standard output and standard error."""
    done = subprocess.run([os.environ["SLIMSCOPE"], *map(str, args)], capture_output=True)
    assert done.returncode == 0, f"{args}: {done.stderr.decode()}"
    return done.stdout, done.stderr.decode()


def fingerprint(model):
    return json.loads(slimscope("plan", model, "--prune", ".5", "--format", "json")[0])["fingerprint"]


def write_plan(path, model, layers):
    """A plan file: layers is a dict from a name to the lines of its entry."""
    text = f'version = 1\n[model]\nname = "made"\nfingerprint = "{fingerprint(model)}"\n'
    for name, lines in layers.items():
        text += f'[[layer]]\nname = "{name}"\n{lines}\n'
    Path(path).write_text(text)
    return path


def export(plan, model, to, path):
    """Exports; what is said on standard error."""
    return slimscope("export", plan, model, "--to", to, "-o", path)[1]


def prune(remove, pattern="unstructured"):
    return f'prune = {{ remove = {remove}, criterion = "magnitude", pattern = "{pattern}" }}'


def tiny_llama(blocks=12):
    """A random Llama with more than ten blocks, saved once: the model and its folder."""
    torch, transformers = need("torch", "transformers")
    folder = WORK / f"llama{blocks}"
    config = transformers.LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=blocks, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=64, max_position_embeddings=64, tie_word_embeddings=False)
    torch.manual_seed(1)
    model = transformers.LlamaForCausalLM(config)
    if not folder.exists():
        model.save_pretrained(folder)
    return model, folder


def linears(model):
    """Names and modules of all linear layers."""
    torch, = need("torch")
    return {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
