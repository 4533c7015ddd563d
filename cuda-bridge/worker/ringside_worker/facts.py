"""What the machine is: the protocol's `facts`."""

import platform
import re
import socket
from pathlib import Path

import torch

from . import memory


def driver(file: str = "/proc/driver/nvidia/version") -> str | None:
    """The NVIDIA kernel driver's version, as in "NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build"."""
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
    """Rank 0's view; `engine.devices` was shared at the start."""
    kernels = []
    for check in engine.kernels.checks:
        dtype = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}[check["dtype"]]
        chosen = engine.kernels.choice(dtype, check["group"], 1, check["headDim"])[check["kind"]] == check["op"]
        row = {
            "name": f"{check['op']}, {check['kind']}, {check['dtype']}, D {check['headDim']}, {check['group']} queries a KV head",
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


__all__ = ["driver", "facts", "own_device"]
