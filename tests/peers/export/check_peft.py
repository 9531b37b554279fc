"""PEFT gives each layer the planned LoRA rank, no other layer any, and scales all alike."""

from common import LINEARS, export, linears, need, tiny_llama, write_plan

peft, = need("peft")
model, folder = tiny_llama()
names = list(linears(model))
# Blocks 1, 10 and 11 differ, and so do layers of one block.
ranks = {}
for i, name in enumerate(names):
    if name == "lm_head" or i % 5 == 4:
        continue
    ranks[name] = 1 + (i * 7) % 10
write_plan("plan.toml", folder, {name: f"rank = {rank}" for name, rank in ranks.items()})
export("plan.toml", folder, "peft", "adapter_config.json")
config = peft.LoraConfig.from_pretrained(".")
wrapped = peft.get_peft_model(model, config)
found, scales = {}, set()
for name, module in wrapped.named_modules():
    if isinstance(module, peft.tuners.lora.LoraLayer):
        name = name.removeprefix("base_model.model.")
        found[name] = module.r["default"]
        scales.add(module.scaling["default"])
        assert module.lora_A["default"].weight.shape[0] == module.r["default"]
assert found == ranks, {n: (found.get(n), ranks.get(n)) for n in names if found.get(n) != ranks.get(n)}
assert scales == {2.0}, scales
assert config.task_type == "CAUSAL_LM"
print(f"ok peft {peft.__version__}: {len(found)} of {len(names)} linear layers of {12} blocks have their planned rank "
      f"({len(set(ranks.values()))} different), the others none; scaling {scales}")
