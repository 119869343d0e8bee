#!/usr/bin/env bash
# One machine of eight GPUs by Slurm: the whole run, with trainings by accelerate (see eight-gpus.yaml).
#
#     sbatch examples/cluster/slurm-accelerate.sh
#
# When the time is over, submit it again: answers, verdicts and checkpoints are kept.
#SBATCH --job-name=arena
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --mem=0
#SBATCH --time=24:00:00
#SBATCH --output=arena-%j.log
set -euo pipefail

cd "${SLURM_SUBMIT_DIR:-.}"
source .venv/bin/activate

arena doctor
dvc repro
arena leaderboard --print
