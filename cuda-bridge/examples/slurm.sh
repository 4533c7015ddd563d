#!/bin/bash
# Ringside's worker on two hosts with eight GPUs each, under Slurm: `sbatch slurm.sh`. One torchrun on each host.
# Rank 0 serves on the loopback of the first host, which the job's output names.
# Forward its port to your machine: ssh -L 8787:127.0.0.1:8787 HOST
#SBATCH --job-name=ringside
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=04:00:00
set -euo pipefail

HOST0=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export HOST0
echo "rank 0 is on $HOST0"

# If the hosts have several networks, name the fast one for gloo and for NCCL:
# export GLOO_SOCKET_IFNAME=ib0 NCCL_SOCKET_IFNAME=ib0

# A shell on each host reads SLURM_NODEID, which differs by task. The token comes from a file that only you can read
# (chmod 600).
srun bash -c 'torchrun --nnodes "$SLURM_NNODES" --nproc-per-node 8 --node-rank "$SLURM_NODEID" --max-restarts 3 \
  --master-addr "$HOST0" --master-port 29500 -m ringside_worker --token-file "$HOME/ringside-token"'
