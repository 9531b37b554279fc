#!/bin/sh
# slimscope VERSION: a plan for bytelm
# Usage: sh quantize.sh IN.gguf OUT.gguf, IN converted from the checkpoint without rounding.
# Blocks are numbered as in the checkpoint after --prune-layers, tensors as they are in the result.
set -eu
"${LLAMA_QUANTIZE:-llama-quantize}" \
  --pure \
  --tensor-type '^blk\.2\.ffn_up\.weight$=q4_0' \
  --tensor-type '^blk\.2\.ffn_down\.weight$=q8_0' \
  --tensor-type '.*=bf16' \
  "$1" "$2" Q8_0
