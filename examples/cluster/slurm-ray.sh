#!/usr/bin/env bash
# Several machines by Slurm: a Ray cluster over all of them, and the run on the first (see ray-cluster.yaml).
#
#     sbatch --nodes=4 examples/cluster/slurm-ray.sh
#
# The project and its .venv lie on a file system that all machines see at the same path. When the time is over, submit
# it again: answers, verdicts and checkpoints are kept.
#SBATCH --job-name=arena
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --mem=0
#SBATCH --time=24:00:00
#SBATCH --output=arena-%j.log
set -euo pipefail

cd "${SLURM_SUBMIT_DIR:-.}"
source .venv/bin/activate

port=${RAY_PORT:-6379}
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
gpus=${SLURM_GPUS_ON_NODE:-0}
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
# The machines of this job share a secret: no other user's process can join or ask them.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')

# Wait for a condition; end the job if a node of Ray has ended.
wait_until() {
    until "$@" 2>/dev/null; do
        [[ $(jobs -rp | wc -l) -eq $started ]] || { echo "a node of Ray has ended: see above" >&2; exit 1; }
        sleep 2
    done
}
answers() { : <"/dev/tcp/$head/$port"; }
joined() {
    local count='import ray; ray.init(log_to_driver=False, logging_level="error"); print(len(ray.nodes()))'
    [[ $(timeout 60 python -c "$count") -eq ${#nodes[@]} ]]
}

srun --nodes=1 --ntasks=1 --nodelist="$head" \
    ray start --head --port="$port" --num-gpus="$gpus" --disable-usage-stats --block &
started=1
wait_until answers
for node in "${nodes[@]:1}"; do
    srun --nodes=1 --ntasks=1 --nodelist="$node" \
        ray start --address="$head:$port" --num-gpus="$gpus" --disable-usage-stats --block &
    started=$((started + 1))
done

# ray.address: auto finds the cluster by this variable.
export RAY_ADDRESS="$head:$port"
wait_until joined

# This script runs on the first machine: it is the one driver, the cluster does the work.
dvc repro
arena leaderboard --print
