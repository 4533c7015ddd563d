"""Ringside's native worker: context-parallel attention with PyTorch on GPUs or CPUs."""
