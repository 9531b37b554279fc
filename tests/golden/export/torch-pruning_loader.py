# Turns the JSON file beside this one into arguments of a pruner of Torch-Pruning.
import json
import os


def load(model, path=None):
    """pruning_ratio_dict, pruning_ratio, round_to and ignored_layers for torch_pruning.pruner.MetaPruner(model, inputs,
    importance, **load(model)). Ratios are shares of output channels removed; a name that the model lacks is an error.
    """
    with open(path or os.path.abspath(__file__).replace("_loader.py", ".json")) as file:
        plan = json.load(file)
    modules = dict(model.named_modules())
    return {
        "pruning_ratio_dict": {modules[name]: ratio for name, ratio in plan["pruning_ratio_dict"].items()},
        "pruning_ratio": plan["pruning_ratio"],
        "round_to": plan["round_to"],
        "ignored_layers": [modules[name] for name in plan["ignored"]],
    }
