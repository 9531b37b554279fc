#!/usr/bin/env bash
# Reads what `slimscope export` writes with the tools that it is for: llm-compressor, PEFT, Torch-Pruning, mergekit,
# numpy and gguf from PyPI, on the samples and on a small random Llama of twelve blocks. Each check compares what the
# tool did, layer by layer, with what the plan says.
#
#     tests/peers/export.sh                          # builds slimscope first
#     SLIMSCOPE=/path/to/slimscope tests/peers/export.sh
#     VENV=/path/to/venv tests/peers/export.sh       # with the packages that are there; installs none
#     tests/peers/export.sh peft arrays              # only these checks
#
# Needs python3 with venv. Packages go into a virtual environment in a temporary directory (some gigabytes: PyTorch) that
# is gone afterwards. A check whose package cannot be had says SKIPPED with the reason and fails nothing; the script ends
# with 77 when all were skipped, with 1 when one failed. Takes about five minutes, most of them downloads.
set -Eeuo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
skip() { echo "SKIPPED: $*" >&2; exit 77; }
command -v python3 >/dev/null || skip "no python3"
if [ -z "${SLIMSCOPE:-}" ]; then
  (cd "$root" && cargo build --release)
  SLIMSCOPE=${CARGO_TARGET_DIR:-$root/target}/release/slimscope
fi
SLIMSCOPE=$(realpath "$SLIMSCOPE")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export SLIMSCOPE SLIMSCOPE_CACHE_DIR=$dir/cache ROOT=$root WORK=$dir

# Checks and the packages that each needs; no package: the standard library does.
checks="lems: arrays:numpy peft:peft,transformers,torch torch_pruning:torch-pruning,torch \
llm_compressor:llmcompressor,transformers,torch mergekit:mergekit llama_cpp:gguf aimet:"
python=${VENV:+$VENV/bin/python}
if [ -z "$python" ]; then
  python3 -m venv "$dir/venv" || skip "python3 -m venv fails: no ensurepip?"
  python=$dir/venv/bin/python
fi

ran=0 failed=0 skipped=0
for check in $checks; do
  name=${check%%:*} packages=${check#*:}
  if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then continue; fi
  if [ -z "${VENV:-}" ] && [ -n "$packages" ]; then
    # mergekit pins old versions of what the others need: without what it depends on but what its settings take.
    [ "$name" = mergekit ] && extra="--no-deps" also="immutables pydantic pyyaml click" || extra="" also=""
    if ! log=$({ "$python" -m pip install --quiet $extra ${packages//,/ } &&
      { [ -z "$also" ] || "$python" -m pip install --quiet $also; }; } 2>&1); then
      echo "SKIPPED $name: pip cannot install ${packages//,/ }: $(tail -n 1 <<<"$log")"
      skipped=$((skipped + 1))
      continue
    fi
  fi
  mkdir -p "$dir/$name"
  code=0
  (cd "$dir/$name" && PYTHONPATH=$here/export "$python" "$here/export/check_$name.py" 2>"$dir/$name/log") || code=$?
  case $code in
    0) ran=$((ran + 1)) ;;
    77) skipped=$((skipped + 1)) ;;
    *) failed=$((failed + 1)); echo "FAILED $name:"; tail -n 25 "$dir/$name/log" ;;
  esac
done
echo "$ran passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] || exit 1
[ "$ran" -gt 0 ] || exit 77
