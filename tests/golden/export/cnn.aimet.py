# slimscope VERSION: a plan for fashion_cnn
# Ratios are what is kept of a layer's parameters: use them with CostMetric.memory.
from decimal import Decimal

WEIGHT_SVD = [
    ("fc1", Decimal("0.305556")),
]
SPATIAL_SVD = [
    ("conv2", Decimal("0.375000")),
]
CHANNEL_PRUNING = [
    ("conv3", Decimal("0.5")),
]
MULTIPLICITY = 1


def pairs(model, plan):
    """AIMET's pairs of a module and its ratio; a name that the model lacks is an error."""
    from aimet_torch.defs import ModuleCompRatioPair

    modules = dict(model.named_modules())
    return [ModuleCompRatioPair(modules[name], ratio) for name, ratio in plan]


def parameters(model, data_loader=None, samples=500):
    """Parameters for aimet_torch.compress.ModelCompressor, one for each scheme that the plan uses."""
    from aimet_torch.defs import ChannelPruningParameters, SpatialSvdParameters, WeightSvdParameters

    found = {}
    if WEIGHT_SVD:
        manual = WeightSvdParameters.ManualModeParams(pairs(model, WEIGHT_SVD))
        found["weight_svd"] = WeightSvdParameters(
            mode=WeightSvdParameters.Mode.manual, params=manual, multiplicity=MULTIPLICITY
        )
    if SPATIAL_SVD:
        manual = SpatialSvdParameters.ManualModeParams(pairs(model, SPATIAL_SVD))
        found["spatial_svd"] = SpatialSvdParameters(
            mode=SpatialSvdParameters.Mode.manual, params=manual, multiplicity=MULTIPLICITY
        )
    if CHANNEL_PRUNING:
        manual = ChannelPruningParameters.ManualModeParams(pairs(model, CHANNEL_PRUNING))
        found["channel_pruning"] = ChannelPruningParameters(
            data_loader=data_loader,
            num_reconstruction_samples=samples,
            allow_custom_downsample_ops=True,
            mode=ChannelPruningParameters.Mode.manual,
            params=manual,
            multiplicity=1,
        )
    return found
