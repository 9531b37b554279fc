#!/bin/bash
# Measured loss of the sample models under plans made from their weights alone, no retraining: the table in README.md.
# SLIMSCOPE names the program (default: slimscope). Needs python3 to read JSON. Run it in the project's root.
set -eu
slimscope=${SLIMSCOPE:-slimscope}
plan=$(mktemp)
trap 'rm -f "$plan"' EXIT

value() {
    "$slimscope" evaluate "$@" --format json |
        python3 -c 'import json,sys; o=json.load(sys.stdin); v=o["value"]; print("%.2f" % v if o["metric"] == "bits_per_byte" else "%.1f %%" % (100*v))'
}

row() { # name, model, then the options of each plan ('-' leaves it dense)
    local line="| $1 |" model=$2 options
    shift 2
    for options; do
        if [ "$options" = - ]; then
            line="$line $(value "$model") |"
        else
            # shellcheck disable=SC2086
            "$slimscope" plan "$model" -o "$plan" $options >/dev/null
            line="$line $(value "$model" --plan "$plan") |"
        fi
    done
    echo "$line"
}

# Shares of the layers that can be treated; other parameters (embedding, biases) stay.
for model in bytelm fashion_cnn fashion_mlp digits_mlp; do
    echo "| $model, removed | 0 % | 30 % | 50 % | 70 % | 90 % |"
    echo '|---|---|---|---|---|---|'
    path=sample_models/$model
    budgets=()
    for keep in .7 .5 .3 .1; do
        # What is not compressed is kept whatever is asked: the budget of the whole model that leaves this share of the rest.
        budgets+=("$("$slimscope" inspect "$path" --format json | python3 -c '
import json, sys
o = json.load(sys.stdin)
free = sum(l["params"] for l in o["layers"] if l["eligible"])
print(1 - free * (1 - float(sys.argv[1])) / o["params"])' "$keep")")
    done
    row 'magnitude, one threshold' "$path" - "--budget ${budgets[0]} --allocator global" "--budget ${budgets[1]} --allocator global" \
        "--budget ${budgets[2]} --allocator global" "--budget ${budgets[3]} --allocator global"
    row 'magnitude, each layer' "$path" - '--prune .3' '--prune .5' '--prune .7' '--prune .9'
    echo
    echo "| $model, rank kept | 100 % | 75 % | 50 % | 25 % | 12.5 % |"
    echo '|---|---|---|---|---|---|'
    row 'SVD' "$path" - '--keep-rank .75' '--keep-rank .5' '--keep-rank .25' '--keep-rank .125'
    echo
done
