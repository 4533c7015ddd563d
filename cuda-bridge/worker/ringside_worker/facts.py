"""The protocol's `facts`: what machine this is, and which kernels it has."""

import platform
import re
import socket
from pathlib import Path

import torch

from . import memory


def driver(file: str = "/proc/driver/nvidia/version") -> str | None:
    """
    The NVIDIA kernel driver's version, or None.

    The file has a line such as "NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build".
    """
    try:
        found = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", Path(file).read_text())
        return found.group(1) if found else None
    except OSError:
        return None


def own_device(device: torch.device) -> dict:
    """This process's device."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return {
            "name": properties.name,
            "kind": "cuda",
            "memoryBytes": properties.total_memory,
            "capability": f"{properties.major}.{properties.minor}",
            "host": socket.gethostname(),
        }
    return {
        "name": f"CPU ({platform.machine()}, {torch.get_num_threads()} threads)",
        "kind": "cpu",
        "memoryBytes": memory.total_on(device),
        "host": socket.gethostname(),
    }


def facts(engine) -> dict:
    """Rank 0's view. The ranks shared `engine.devices` at the start."""
    kernels = []
    for check in engine.kernels.checks:
        op, kind, head_dim, group = check["op"], check["kind"], check["headDim"], check["group"]
        chosen = engine.kernels.choice(getattr(torch, check["dtype"]), group, 1, head_dim)[kind] == op
        row = {
            "name": f"{op}, {kind}, {check['dtype']}, D {head_dim}, {group} queries a KV head",
            "ok": check["ok"],
            "chosen": chosen,
        }
        if check["error"] is not None:
            row["maxError"] = check["error"]
        if "why" in check:
            row["reason"] = check["why"][:500]
        kernels.append(row)
    notes = [
        f"merge: {engine.merger.how}",
        *([engine.merger.note] if engine.merger.note else []),
        *engine.kernels.notes,
    ]
    devices = engine.devices
    out = {
        "worker": "ringside-worker 0.1.0",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform()[:300],
        "backend": engine.team.backend,
        "processes": engine.world,
        "hosts": len({d["host"] for d in devices}),
        "devices": [{key: value for key, value in d.items() if key != "host"} for d in devices],
        "kernels": kernels[-64:],
        "notes": [note[:500] for note in notes][-32:],
    }
    if engine.device.type == "cuda":
        out["cuda"] = f"{torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
        found = driver()
        if found is not None:
            out["driver"] = found
    return out
