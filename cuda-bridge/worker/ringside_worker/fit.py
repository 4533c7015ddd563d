"""Whether a job fits the memory of this process: how many partials it may hold back, or what would fit instead."""

import torch

from . import memory
from .job import HOLDS, Job, need, need_on_host


def fit(engine, job: Job, output: str, smaller, more: int = 0) -> tuple[int, int]:
    """
    How many partials the job may hold back, and the bytes that it then takes. Raises Refused "does-not-fit".

    `smaller(n)`: the job with n of every 1,000 new tokens; None for a session's step, whose keys are in the cache
    already. `more`: bytes that the cache will grow by.
    """
    local = len(engine.mine(job.ranks))
    host = need_on_host(job, output) if engine.rank == 0 else 0

    def takes(j: Job, hold: int) -> dict[str, int]:
        return {
            **need(j, local, hold, smaller is None),
            "cache": more,
            **({"result": need_on_host(j, output)} if engine.device.type == "cpu" and engine.rank == 0 else {}),
        }

    have = engine.free()
    for hold in HOLDS:
        if sum(takes(job, hold).values()) <= have:
            break
    else:
        fits = "a smaller step would"
        if smaller is not None:
            parts = memory.largest_that(lambda n: sum(takes(smaller(n), 1).values()) <= have, 999)
            fits = (
                f"about {job.new * parts // 1000} new tokens would"
                if parts
                else "the cached tokens alone are too many; use more ranks or fewer tokens"
            )
        memory.require(takes(job, 1), have, engine.where(), fits)
    if engine.device.type == "cuda" and host:
        have_on_host = engine.free(torch.device("cpu"))
        memory.require({"result": host}, have_on_host, "the host", 'ask for output "rows" in place of "full"')
    return hold, sum(takes(job, hold).values())


def scaled(sequences: list[dict], thousandths: int) -> list[dict]:
    """A batch with so many of every 1,000 new tokens, at least one in all."""
    out = [{"new": s["new"] * thousandths // 1000, "cached": s["cached"]} for s in sequences]
    return out if any(s["new"] for s in out) else [{"new": 1, "cached": out[0]["cached"]}, *out[1:]]
