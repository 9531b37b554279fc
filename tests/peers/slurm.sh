#!/usr/bin/env bash
# Proves on a real one-node Slurm that a job array measures one checkpoint together (`slimscope measure --shard I/N`):
# four tasks at once into one cache; one loses its slimscope to SIGKILL and one is requeued by the scheduler, both in
# the middle; the layers printed by the tasks, and what is read from the cache afterwards, are byte for byte those of
# one run without a cache. What was measured before the kill is not measured again, and half-written facts do not
# count. The same for the line without a scheduler: seq 4 | xargs -P 4.
#
#     tests/peers/slurm.sh                          # builds slimscope first
#     SLIMSCOPE=/path/to/slimscope tests/peers/slurm.sh
#
# Needs root, python3 and Debian's slurm-wlm and munge, which it installs with apt-get when they are missing; exits
# with 77 (skipped) when it cannot have them. Its Slurm listens on ports 26817 and 26818, leaves an installed one
# alone and ends with the script; munged stays. Takes about a minute, half of it one busy core.
set -Eeuo pipefail

skip() { echo "skipped: $*" >&2; exit 77; }
fail() { why="FAILED: $*"; exit 1; }
# Waits for a command to succeed: until SECONDS COMMAND...
until_ok() {
  local end=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do ((SECONDS < end)) || return 1; sleep "${pause:-0.2}"; done
}

[ "$(id -u)" = 0 ] || skip "a Slurm of one's own needs root"
command -v python3 >/dev/null || skip "no python3, which writes the checkpoint"
have_slurm() { local c; for c in slurmctld slurmd sbatch munged; do command -v $c >/dev/null || return 1; done; }
# Output only when it fails.
quietly() { local log; log=$("$@" 2>&1) || { echo "$log" >&2; return 1; }; }
if ! have_slurm; then
  command -v apt-get >/dev/null || skip "no Slurm, and no apt-get to install it with"
  export DEBIAN_FRONTEND=noninteractive
  quietly apt-get update -qq && quietly apt-get install -y -qq --no-install-recommends slurm-wlm munge && have_slurm ||
    skip "slurm-wlm and munge cannot be installed"
fi
if [ -z "${SLIMSCOPE:-}" ]; then
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
  (cd "$root" && cargo build --release)
  SLIMSCOPE=${CARGO_TARGET_DIR:-$root/target}/release/slimscope
fi
SLIMSCOPE=$(realpath "$SLIMSCOPE")
export SLIMSCOPE

dir=$(mktemp -d)
job=
why=
leave() {
  local code=$?
  set +e
  trap - ERR
  if [ $code -ne 0 ] && [ $code -ne 130 ]; then
    for log in "$dir"/*.log "$dir"/job/*.log "$dir"/job/ended; do
      [ -s "$log" ] && echo "--- $log" && tail -n 25 "$log"
    done >&2
    [ -z "$job" ] || scontrol -o show job "$job" >&2
  fi
  # The tasks first: nobody else would end one that is stopped.
  [ -z "$job" ] || { scancel --signal=KILL --full "$job"; scancel "$job"; until_ok 10 no_jobs; } 2>/dev/null
  for daemon in slurmd slurmctld; do
    pid=$(cat "$dir/$daemon.pid" 2>/dev/null) || continue
    kill "$pid"
    until_ok 20 gone "$pid" || kill -KILL "$pid"
  done
  rm -rf "$dir"
  [ -z "$why" ] || echo "$why" >&2
  exit $code
}
gone() { ! kill -0 "$1"; }
no_jobs() { [ -z "$(squeue --noheader)" ]; }
trap leave EXIT
trap 'why=${why:-FAILED: line $LINENO: $BASH_COMMAND}' ERR
trap 'exit 130' INT TERM
cd "$dir"
mkdir state spool model job

# --- A Slurm of one node on loopback ports.
host=$(hostname -s)
cores=$(nproc)
export SLURM_CONF=$dir/slurm.conf
# config_overrides: four tasks at once also where there are fewer cores. RequeueExit: what died of SIGKILL runs again.
# cred_expire: a requeued task waits that long, two minutes unless told.
cat >"$SLURM_CONF" <<CONF
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=cred_expire=5
CredType=cred/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
SlurmctldPort=26817
SlurmdPort=26818
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
RequeueExit=137
NodeName=$host NodeAddr=127.0.0.1 CPUs=$((cores < 4 ? 4 : cores)) State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
if ! pgrep -x munged >/dev/null; then
  mkdir -p /run/munge
  chown munge: /run/munge
  runuser -u munge -- munged
fi
until_ok 10 munge -n || fail "munged does not answer"
slurmctld
until_ok 20 scontrol ping || fail "slurmctld does not answer"
slurmd
idle() { [ "$(sinfo -h -o %t)" = idle ]; }
until_ok 30 idle || fail "the node does not come up: $(sinfo -h -o '%t %E')"

# --- A checkpoint that takes some seconds, and what one run says about it.
python3 - model 8 <<'PY'
import json, random, struct, sys

folder, blocks = sys.argv[1], int(sys.argv[2])
shapes = {"self_attn.o_proj": (1536, 1536), "mlp.up_proj": (2048, 1536), "mlp.down_proj": (1536, 2048)}
r = random.Random(7)
# The high byte of a BF16: either sign, a magnitude near 2^-7.
high = bytes(0x3C | b & 0x80 for b in range(256))
header, data, at = {}, [], 0
for block in range(blocks):
    for name, (rows, cols) in shapes.items():
        n = rows * cols
        tensor = bytearray(2 * n)
        tensor[0::2] = r.getrandbits(8 * n).to_bytes(n, "little")
        tensor[1::2] = r.getrandbits(8 * n).to_bytes(n, "little").translate(high)
        entry = {"dtype": "BF16", "shape": [rows, cols], "data_offsets": [at, at + 2 * n]}
        header[f"model.layers.{block}.{name}.weight"] = entry
        data.append(tensor)
        at += 2 * n
head = json.dumps(header).encode()
with open(f"{folder}/model.safetensors", "wb") as f:
    f.write(struct.pack("<Q", len(head)) + head)
    f.writelines(data)
with open(f"{folder}/config.json", "w") as f:
    json.dump({"model_type": "llama"}, f)
PY
export MODEL=$dir/model
measure() { "$SLIMSCOPE" measure "$MODEL" --format json --threads 1 "$@"; }
# Processor seconds of a measurement: timed FILE ARGUMENTS...
timed() { local file=$1 TIMEFORMAT='%U'; shift; { time measure "$@" >"$file" 2>measure.log; } 2>&1; }
single_cpu=$(timed single --no-cache)
layers=$(wc -l <single)
((layers == 24)) || fail "one run measures $layers layers, not 24"

# Facts have plain names; one that is being written has a suffix. A fact written again is another file.
facts() { find "$SLIMSCOPE_CACHE_DIR" -type f ! -name '*.*' -printf '%p %i %T@\n' | sort; }

# --- Four tasks at once, stopped after their first layer, so that the kill comes in the middle on any machine.
export SLIMSCOPE_CACHE_DIR=$dir/cache
cat >job.sh <<'JOB'
#!/usr/bin/env bash
try=$SLURM_ARRAY_TASK_ID.${SLURM_RESTART_COUNT:-0}
"$SLIMSCOPE" measure "$MODEL" --format json --shard "$SLURM_ARRAY_TASK_ID/4" --threads 1 >"$try.jsonl" 2>"$try.log" &
echo $! >"$try.pid"
wait $!
code=$?
echo "$try $code" >>ended
exit $code
JOB
job=$(sbatch --parsable --array=1-4 --requeue --chdir="$dir/job" --output=slurm-%a.log --open-mode=append job.sh)
lines() { [ -f "$1" ] && wc -l <"$1" || echo 0; }
has_line() { (($(lines "$1") > 0)); }
stop_after_a_layer() {
  pause=0.02 until_ok 60 has_line "job/$1.0.jsonl" && kill -STOP "$(cat "job/$1.0.pid")"
}
waiting=()
for task in 1 2 3 4; do stop_after_a_layer $task & waiting+=($!); done
for pid in "${waiting[@]}"; do
  wait "$pid" || fail "a task did not come to its first layer, or was through before it could be stopped"
done
at_once=$(squeue -h -r -t RUNNING -j "$job" | wc -l)
((at_once == 4)) || fail "$at_once tasks of 4 run at once"
[ ! -e job/ended ] || fail "a task is through before the kill"
facts >before

kill -KILL "$(cat job/2.0.pid)"
scontrol requeue "${job}_3"
kill -CONT "$(cat job/1.0.pid)" "$(cat job/4.0.pid)"
through() { [ -z "$(squeue -h -j "$job")" ]; }
until_ok 180 through || fail "the array does not end: $(squeue -h -r -j "$job")"

# --- The two ran twice, the second time to the end; the others once.
tasks=$(scontrol -o show job "$job" |
  sed -n 's/.*ArrayTaskId=\([0-9]*\) .*JobState=\([A-Z]*\) .*Restarts=\([0-9]*\) .*/\1 \2 restarts \3/p' | sort)
expected=$(printf '%s\n' '1 COMPLETED restarts 0' {2,3}' COMPLETED restarts 1' '4 COMPLETED restarts 0')
[ "$tasks" = "$expected" ] || fail "tasks: $tasks"
# The third's script gets a SIGTERM too: it may see its slimscope die of one before it dies itself.
ended=$(grep -v '^3\.0 143$' job/ended | sort | paste -sd,)
[ "$ended" = "1.0 0,2.0 137,2.1 0,3.1 0,4.0 0" ] || fail "tries and exit codes: $ended"
for task in 2 3; do
  first=$(lines job/$task.0.jsonl)
  ((first < $(lines job/$task.1.jsonl))) || fail "task $task was not killed in the middle"
  cmp <(head -n "$first" job/$task.0.jsonl) <(head -n "$first" job/$task.1.jsonl) || fail "task $task: another result"
done

# --- Each layer in one part, and equal; what was there before the kill is the same file still.
parts=(job/1.0.jsonl job/2.1.jsonl job/3.1.jsonl job/4.0.jsonl)
cmp <(sort "${parts[@]}") <(sort single) || fail "the parts are not the single run"
facts >after
[ -z "$(comm -23 before after)" ] || fail "facts were measured twice: $(comm -23 before after)"

# --- The cache alone gives the whole, in order, and is not written to.
cached_cpu=$(timed merged)
cmp merged single || fail "the cache does not give the single run"
facts | cmp - after || fail "the last run measured something anew"
awk -v a="$cached_cpu" -v b="$single_cpu" 'BEGIN { exit !(a < b / 10) }' || fail "$cached_cpu s to read the cache"
left=$(find "$SLIMSCOPE_CACHE_DIR" -type f -name '*.*' | wc -l)

# --- Facts cut in half, in place and beside under the name of a writer that died, do not count.
cp -r cache torn
export SLIMSCOPE_CACHE_DIR=$dir/torn
facts | while read -r fact _; do
  head -c $(($(stat -c %s "$fact") / 2)) "$fact" >half
  cp half "$fact"
  mv half "$fact.1.ThreadId(2)"
done
measure --layers 'model.layers.0.*' 2>measure.log | cmp - <(head -n 3 single) || fail "half a fact counts"

# --- Without a scheduler.
export SLIMSCOPE_CACHE_DIR=$dir/xargs
seq 4 | xargs -P 4 -I{} "$SLIMSCOPE" measure "$MODEL" --shard {}/4 --threads 1 >table 2>measure.log
facts >after_xargs
measure 2>measure.log | cmp - single || fail "xargs: not the single run"
facts | cmp - after_xargs || fail "xargs: the last run measured something anew"

cat <<SUMMARY
$(slurmctld -V): 4 tasks at once, stopped with $(wc -l <before) of $(wc -l <after) facts written
$(sed 's/^/  task /' <<<"$tasks")
  task 2: slimscope killed (exit 137) after $(lines job/2.0.jsonl) of $(lines job/2.1.jsonl) layers, ran again
  task 3: requeued by scontrol after $(lines job/3.0.jsonl) of $(lines job/3.1.jsonl) layers, ran again
$layers layers, each in one part; parts, cache alone and single run are equal byte for byte
no fact measured twice; cache alone: $cached_cpu s of processor for $single_cpu s, nothing written
files of dead writers in the cache: $left
half-written facts do not count; seq 4 | xargs -P 4: equal
SUMMARY
