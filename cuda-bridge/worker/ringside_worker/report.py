"""The report of a run: what ran, how long it took, and what a reader has to know about its numbers."""

import torch

from .job import DTYPES, Job
from .mask import FULL
from .run import Run


def report(engine, job: Job, p: dict, run: Run, result: dict, planned: int) -> dict:
    """
    `result` is what the run returned, `planned` the bytes that were planned for it.

    On rank 0 the measured rate of attention becomes the one from which the next slices are computed.
    """
    attends = [s for s in run.listener.all if s["kind"] == "attend"]
    seconds = sum(s["duration"] for s in attends)
    if seconds > 0.005:
        engine.rate = max(1e8, sum(s["flops"] for s in attends) / seconds)
    link = p.get("link")
    return {
        "variant": job.variant,
        **({"choice": p["choice"]} if "choice" in p else {}),
        "ranks": job.ranks,
        "processes": engine.world,
        "simulated": run.simulated,
        "backend": engine.team.backend,
        "device": engine.device_name(),
        "kernel": " + ".join(result["used"]) + f" {str(job.dtype).removeprefix('torch.')}",
        "merge": engine.merger.how,
        "clock": engine.clock.name,
        "dtype": next(name for name, dtype in DTYPES.items() if dtype == job.dtype),
        "mask": job.mask.json,
        "causal": job.mask != FULL,
        "sinks": job.sinks is not None,
        "dealing": job.dealing,
        "scale": job.scale,
        "shape": {
            "heads": job.heads,
            "kvHeads": job.kv_heads,
            "headDim": job.head_dim,
            "valueDim": job.value_dim,
            "valuesInKeys": job.values_in_keys,
            "sequences": [{"new": T, "cached": P} for T, P in job.sequences],
        },
        "perRank": result["perRank"],
        "skipped": skipped(job, result["perRank"], attends),
        "times": result["times"],
        "wallSeconds": result["seconds"],
        "flops": job.flops,
        **({"peakMemoryBytes": torch.cuda.max_memory_allocated()} if engine.device.type == "cuda" else {}),
        "plannedBytes": planned,
        "link": link if run.simulated else None,
        "notes": notes_of(engine, job, run, link),
    }


def skipped(job: Job, per_rank: list[dict], attends: list[dict]) -> dict:
    """What the mask saved: hops in which a rank attends to nothing, messages, and bytes."""
    attended = {(s["rank"], s["hop"]) for s in attends}
    return {
        "hops": job.ranks**2 - len(attended) if job.mask.is_local else 0,
        "messages": sum(traffic["skipped"]["messages"] for traffic in per_rank),
        "bytes": sum(traffic["skipped"]["bytes"] for traffic in per_rank),
    }


def notes_of(engine, job: Job, run: Run, link: dict | None) -> list[str]:
    """The most important note comes first."""
    notes = list(dict.fromkeys([*engine.kernels.notes, *([engine.merger.note] if engine.merger.note else [])]))
    if run.simulated:
        transfers = (
            f"transfers at {link['bandwidth']:.4g} bytes/s and {link['latency']:.3g} s"
            if link
            else "transfers that take no time"
        )
        notes.insert(
            0,
            f"{job.ranks} simulated ranks share one device: their kernels ran one after another at their real sizes; "
            f"the timeline shows them side by side, with {transfers}",
        )
    elif link and engine.world > 1:
        notes.insert(0, "the link model was not used: these are real transfers")
    return notes
