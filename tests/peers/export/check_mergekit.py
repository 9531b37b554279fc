"""mergekit reads the merge, and its slices are the blocks that stay."""

from common import ROOT, export, need

export(ROOT / "tests/golden/export/dropped.toml", ROOT / "sample_models/bytelm", "mergekit", "merge.yaml")
yaml, config = need("yaml", "mergekit.config")
merge = config.MergeConfiguration.model_validate(yaml.safe_load(open("merge.yaml")))
ranges = [s.layer_range for slice_ in merge.slices for s in slice_.sources]
blocks = [b for low, high in ranges for b in range(low, high)]
assert blocks == [0, 2, 3], ranges
assert merge.merge_method == "passthrough" and merge.dtype == "bfloat16"
assert [str(m.model.path) for m in merge.referenced_models()] == ["bytelm"]
print(f"ok mergekit: passthrough of blocks {blocks}, block 1 left out")
