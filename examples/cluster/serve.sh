#!/usr/bin/env bash
# Serve one model on every GPU of this machine, each on a port of its own: 8001 and on. Ctrl-C ends all.
#
#     examples/cluster/serve.sh MODEL [GPUS]
set -euo pipefail

model=$1
gpus=${2:-8}

trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
for ((gpu = 0; gpu < gpus; gpu++)); do
    CUDA_VISIBLE_DEVICES=$gpu vllm serve "$model" --port $((8001 + gpu)) --enable-prefix-caching &
done
wait
