#!/usr/bin/env bash
# A sweep, or whatever command follows, on all nodes of a Slurm job:
#
#   sbatch deploy/slurm.sh python -m emcomm.sweep --seeds 0-9 --set channel=open,off
#   sbatch --nodes 1 deploy/slurm.sh python -m emcomm.train --workers 16 --ray-address auto
#
# Start it in the folder where the logs shall lie, with emcomm installed in the environment that is active (on every
# node the same path). Submitted again, the same command goes on where it was.
#SBATCH --job-name=emcomm
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem-per-cpu=2G
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --output=emcomm-%j.txt
set -euo pipefail

if [ $# = 0 ]; then
  echo "say what to run: sbatch deploy/slurm.sh python -m emcomm.sweep --seeds 0-9 --set channel=open,off" >&2
  exit 2
fi

cores=${SLURM_CPUS_PER_TASK:-1}
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
on=(srun --nodes=1 --ntasks=1 --overlap --cpus-per-task="$cores") # one node, all cores that the job has there

# Ray's servers listen in the network of the cluster: a secret of this job keeps the other users out, and there is no
# dashboard. What travels is not encrypted.
ip=$("${on[@]}" --nodelist="${nodes[0]}" hostname --ip-address | tr ' ' '\n' | grep -m 1 -E '^[0-9]+(\.[0-9]+){3}$')
port=$((20000 + SLURM_JOB_ID % 10000))
folder=/tmp/ray-$SLURM_JOB_ID
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 RAY_ADDRESS="$ip:$port"

steps=()
# shellcheck disable=SC2329 # the trap calls it
finish() { # end Ray on all nodes, and leave nothing there
  kill "${steps[@]}" 2>/dev/null || true
  wait "${steps[@]}" 2>/dev/null || true
  for node in "${nodes[@]}"; do "${on[@]}" --nodelist="$node" rm -rf "$folder" || true; done
}
trap finish EXIT

"${on[@]}" --nodelist="${nodes[0]}" ray start --head --block --node-ip-address="$ip" --port="$port" \
  --num-cpus="$cores" --temp-dir="$folder" --include-dashboard=false >/dev/null &
steps+=($!)
for node in "${nodes[@]:1}"; do
  "${on[@]}" --nodelist="$node" ray start --address="$RAY_ADDRESS" --block --num-cpus="$cores" >/dev/null &
  steps+=($!)
done
python - "${#nodes[@]}" <<'PYTHON'
import os, sys, time
import ray

wanted, end = int(sys.argv[1]), time.monotonic() + 300
while True:
    try:
        if not ray.is_initialized():
            ray.init(os.environ["RAY_ADDRESS"], log_to_driver=False, logging_level="CRITICAL")
        there = sum(node["Alive"] for node in ray.nodes())
    except Exception:  # the head is not up yet
        there = 0
    if there >= wanted:
        break
    if time.monotonic() > end:
        sys.exit(f"only {there} of {wanted} nodes have joined Ray")
    time.sleep(1)
PYTHON

# Slurm asks the script to end two minutes before its time is up: the command then saves everything.
"$@" &
command=$!
trap 'kill -TERM "$command"' TERM INT
code=0
wait "$command" || code=$?
while kill -0 "$command" 2>/dev/null; do
  code=0
  wait "$command" || code=$?
done
exit "$code"
