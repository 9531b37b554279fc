"""llm-compressor prunes each layer by the planned share: a list over blocks, groups of shares, masks."""

from common import LINEARS, export, linears, need, prune, tiny_llama, write_plan

torch, llmcompressor, datasets = need("torch", "llmcompressor", "datasets")
from llmcompressor import oneshot

torch.manual_seed(0)
rows = [{"input_ids": torch.randint(0, 64, (32,)).tolist(), "attention_mask": [1] * 32} for _ in range(8)]
data = datasets.Dataset.from_list(rows)


def run(plan, file):
    """The model after the recipe, and the recipe's text."""
    model, folder = tiny_llama()
    write_plan("plan.toml", folder, plan)
    export("plan.toml", folder, "llm-compressor", file)
    oneshot(model=model, dataset=data, recipe=file, num_calibration_samples=8, max_seq_length=32)
    return model, open(file).read()


def zeros(module):
    return (module.weight == 0).float().mean().item()


def compare(model, shares):
    """Each row loses int(columns · share) entries; layers without a share none."""
    for name, module in linears(model).items():
        columns = module.weight.shape[1]
        want = int(columns * shares.get(name, 0.0) + 1e-9) / columns
        assert abs(zeros(module) - want) < 1e-6, (name, zeros(module), want)
    return len(shares)


def at(block, label):
    return f"model.layers.{block}.{label}"


# A share for each of twelve blocks; one layer stays dense.
shares = {at(b, l): round(0.05 + 0.07 * b, 2) for b in range(12) for l in LINEARS if (b, l) != (11, "mlp.down_proj")}
model, text = run({name: prune(s) for name, s in shares.items()}, "blocks.yaml")
assert text.count("Modifier:") == 1 and "owl" not in text
blocks = compare(model, shares)

# Shares that differ within blocks, all multiples of 5 %, the head among them.
shares = {at(b, l): [0.25, 0.5, 0.75][(b + i) % 3] for b in (0, 1, 10, 11) for i, l in enumerate(LINEARS)}
shares["lm_head"] = 0.5
model, text = run({name: prune(s) for name, s in shares.items()}, "groups.yaml")
assert text.count("Modifier:") == 3
groups = compare(model, shares)

# Masks: N of every M stay.
masks = {at(1, "mlp.up_proj"): "1:4", at(10, "mlp.up_proj"): "2:4", at(11, "mlp.down_proj"): "5:8"}
removed = {"1:4": 0.75, "2:4": 0.5, "5:8": 0.375}
model, text = run({name: prune(removed[p], p) for name, p in masks.items()}, "masks.yaml")
for name, module in linears(model).items():
    if name in masks:
        n, m = map(int, masks[name].split(":"))
        stay = (module.weight != 0).reshape(-1, m).sum(1)
        assert (stay == n).all(), (name, masks[name], stay.unique())
    else:
        assert zeros(module) == 0, name
print(f"ok llm-compressor {llmcompressor.__version__}: {blocks} layers of 12 blocks by one list, {groups} layers by 3 "
      f"groups, {len(masks)} N:M masks; every share as planned, all other layers untouched")
