#!/bin/bash
# Every recipe at one size, measured on one slice: the table of docs/recipes.md.
#
#   docs/recipes.sh MODEL CALIBRATION KEEP TIME TRIALS TEST [DATA]
#
# KEEP is the share of the parameters that stays, TIME how long the measured plan is searched for, TRIALS the slice that it
# is searched on, TEST the slice that everything is measured on: 'A..B' of DATA (default: eval.safetensors beside MODEL).
# SLIMSCOPE names the program (default: slimscope), HEAD the layers that recipes usually leave dense, such as '*lm_head'.
# CONTEXT is the length of windows of text, ROWS a pattern of the recipes wanted (default: all).
set -eu
model=$1 calibration=$2 keep=$3 time=$4 trials=$5 test=$6
data=${7:+--data $7}
slimscope=${SLIMSCOPE:-slimscope}
context=${CONTEXT:+--context $CONTEXT}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

measure() { # [options] -> "value nats"
    # shellcheck disable=SC2086
    "$slimscope" evaluate "$model" $data $context --slice "$test" --format json "$@" |
        python3 -c 'import json,sys; o=json.load(sys.stdin); print(o["value"], o["cross_entropy"])'
}
read -r dense dense_nats < <(measure)

row() { # name, options of plan
    local name=$1 value nats kept
    shift
    [[ $name =~ ${ROWS:-.} ]] || return 0
    # The options that a row does not name are those of the weights alone, whatever a calibration makes the default.
    local plain=()
    case " $* " in *measured*) ;; *--by\ rank*) plain=(--errors weights --factors matrix) ;; *) plain=(--errors weights --criterion magnitude) ;; esac
    case " $* " in *--factors*|*--criterion*) plain=(--errors weights) ;; esac
    if ! "$slimscope" plan "$model" --calibration "$calibration" -o "$work/plan.toml" --format json "$@" ${plain[@]+"${plain[@]}"} \
        >"$work/plan.json" 2>"$work/said"; then
        printf '| %s | – | – | – | %s |\n' "$name" "$(head -1 "$work/said" | cut -c1-90)"
        return
    fi
    kept=$(python3 -c 'import json,sys; print("%.1f" % (100*json.load(open(sys.argv[1]))["keep"]["params"]))' "$work/plan.json")
    read -r value nats < <(measure --plan "$work/plan.toml" --calibration "$calibration")
    python3 - "$name" "$kept" "$value" "$nats" "$dense_nats" "$*" <<'PY'
import sys
name, kept, value, nats, dense, options = sys.argv[1:]
print(f"| {name} | {kept} % | {float(value):.4f} | {float(nats) - float(dense):.4f} | `{options}` |")
PY
}

echo "$(basename "$model"), dense $(printf %.4f "$dense") on $test"
echo
echo '| recipe | keeps | measured | excess loss, nats | options of `plan` |'
echo '|---|---|---|---|---|'
row 'uniform magnitude' --budget "$keep" --allocator uniform
row 'global magnitude' --budget "$keep" --allocator global
row 'Wanda' --budget "$keep" --allocator uniform --criterion wanda --pattern per-row
row 'SparseGPT' --budget "$keep" --allocator uniform --criterion obs --pattern unstructured
row 'SparseGPT, refitted' --budget "$keep" --allocator uniform --criterion obs-refit --pattern unstructured
row 'SparseGPT, row by row' --budget "$keep" --allocator uniform --criterion obs --pattern per-row
row 'SparseGPT, row by row, refitted' --budget "$keep" --allocator uniform --criterion obs-refit --pattern per-row
row 'OWL (Wanda)' --budget "$keep" --allocator owl --criterion wanda --pattern per-row
row 'OWL (SparseGPT)' --budget "$keep" --allocator owl --criterion obs --pattern unstructured
row 'AlphaPruning (Wanda)' --budget "$keep" --allocator alphapruning --criterion wanda --pattern per-row
row 'AlphaPruning (SparseGPT)' --budget "$keep" --allocator alphapruning --criterion obs --pattern unstructured
row 'SVD' --budget "$keep" --allocator uniform --by rank
row 'ASVD' --budget "$keep" --allocator uniform --by rank --factors asvd
row 'SVD-LLM' --budget "$keep" --allocator uniform --by rank --factors whitened
if [ -n "${HEAD:-}" ]; then
    pin=(--pin "$HEAD=dense")
    row 'uniform magnitude, head dense' --budget "$keep" --allocator uniform "${pin[@]}"
    row 'global magnitude, head dense' --budget "$keep" --allocator global "${pin[@]}"
    row 'Wanda, head dense' --budget "$keep" --allocator uniform --criterion wanda --pattern per-row "${pin[@]}"
    row 'SparseGPT, head dense' --budget "$keep" --allocator uniform --criterion obs --pattern unstructured "${pin[@]}"
    row 'SparseGPT, refitted, head dense' --budget "$keep" --allocator uniform --criterion obs-refit --pattern unstructured "${pin[@]}"
    row 'OWL (SparseGPT), head dense' --budget "$keep" --allocator owl --criterion obs --pattern unstructured "${pin[@]}"
    row 'AlphaPruning (SparseGPT), head dense' --budget "$keep" --allocator alphapruning --criterion obs --pattern unstructured "${pin[@]}"
    row 'SVD-LLM, head dense' --budget "$keep" --allocator uniform --by rank --factors whitened "${pin[@]}"
fi
# shellcheck disable=SC2086
row 'measured' --budget "$keep" --allocator measured --time "$time" $data $context --slice "$trials"
