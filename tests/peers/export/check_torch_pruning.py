"""Torch-Pruning removes as many channels as the plan says, with the loader that is written beside the file."""

from common import ROOT, export, need, prune, write_plan

torch, tp = need("torch", "torch_pruning")
from torch import nn


class Net(nn.Module):
    """The sample fashion_cnn."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.conv2, self.bn2 = nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32)
        self.conv3, self.bn3 = nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64)
        self.fc1, self.fc2 = nn.Linear(64 * 9, 128), nn.Linear(128, 10)

    def forward(self, x):
        for conv, bn in ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3)):
            x = nn.functional.max_pool2d(torch.relu(bn(conv(x))), 2)
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


folder = ROOT / "sample_models/fashion_cnn"
# conv2 through the columns of conv3; the third of fc1's rows that goes is no whole number.
write_plan("plan.toml", folder, {"conv1": prune(0.25, "row"), "conv3": prune(0.5, "column"), "fc1": prune(0.33, "row")})
export("plan.toml", folder, "torch-pruning", "channels.json")
import sys

sys.path.insert(0, ".")
import channels_loader

model, inputs = Net(), torch.randn(2, 1, 28, 28)
pruner = tp.pruner.MetaPruner(model, inputs, tp.importance.MagnitudeImportance(p=2), **channels_loader.load(model))
pruner.step()
got = {name: module.weight.shape[0] for name, module in model.named_modules() if hasattr(module, "weight") and "bn" not in name}
want = {"conv1": 12, "conv2": 16, "conv3": 64, "fc1": 128 - round(0.33 * 128), "fc2": 10}
assert got == want, got
assert model(inputs).shape == (2, 10)
print(f"ok torch-pruning {tp.__version__ if hasattr(tp, '__version__') else ''}: channels left {got}, as planned; the model runs")
