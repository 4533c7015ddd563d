"""The protocol's `session.*` on the ranks of this process: open, prefill and decode steps, evict, close."""

from collections.abc import Callable

import torch

from . import memory
from .attend import fill
from .errors import Refused
from .fit import fit
from .job import Job, Shape
from .layout import Block, count
from .mask import FULL
from .report import report
from .run import Listener, Run
from .session import Session
from .tensors import Inputs, check_rows, deliver, gather, operands


def open_session(engine, p: dict, inputs: dict, listener: Listener, slice_flops: float) -> tuple[dict, dict]:
    def prepare() -> Session:
        shape = Shape.of(p, engine.world)
        if shape.mask == FULL:
            raise Refused(
                "bad-input",
                'mask: found "full", expected causal, window or chunk: a session does not have its later tokens yet',
            )
        mine = engine.mine(shape.ranks)
        fits = f"{engine.free() // (len(mine) * shape.kv_bytes)} tokens a rank would"
        need = {"kv cache": p["capacity"] * shape.kv_bytes * len(mine)}
        memory.require(need, engine.free(), engine.where(), fits)
        engine.kernels.ready(shape.dtype, shape.heads, shape.kv_heads, shape.op_dim, listener.check_cancelled)
        return Session(p["number"], shape, p["capacity"], p["variant"], p.get("link"), p.get("rates"), mine)

    session = engine.together(prepare)
    engine.last_session = session.number
    engine.sessions[session.number] = session
    return {"session": session.number, "capacity": session.capacity}, {}


def prefill(engine, p: dict, inputs: dict, listener: Listener, slice_flops: float) -> tuple[dict, dict]:
    return step(engine, "prefill", p, inputs, listener, slice_flops)


def decode(engine, p: dict, inputs: dict, listener: Listener, slice_flops: float) -> tuple[dict, dict]:
    return step(engine, "decode", p, inputs, listener, slice_flops)


def evict(engine, p: dict, inputs: dict, listener: Listener, slice_flops: float) -> tuple[dict, dict]:
    session = find(engine, p)
    engine.together(lambda: session.evict(p["sequence"]))
    return {"tokens": session.tokens()}, {}


def close_session(engine, p: dict, inputs: dict, listener: Listener, slice_flops: float) -> tuple[dict, dict]:
    find(engine, p)
    del engine.sessions[p["session"]]
    return {}, {}


def find(engine, p: dict) -> Session:
    """The session of a call. Every process has the same sessions, so all refuse alike."""
    session = engine.sessions.get(p["session"])
    if session is None:
        known = sorted(engine.sessions) or "none"
        raise Refused("unknown-session", f"session: found {p['session']}, expected one of {known}")
    return session


def step(engine, mode: str, p: dict, inputs: dict, listener: Listener, slice_flops: float) -> tuple[dict, dict]:
    """A prefill or decode step. The session keeps the step's rows only if all ranks have succeeded."""
    session = find(engine, p)
    numbers = [b["sequence"] for b in p["batch"]]

    def prepare():
        job, appended = session.plan(mode, p["batch"], p.get("variant", "pass-kv"), listener.check_cancelled)
        rows = check_rows(job, p)
        given = Inputs.of_step(job, p.get("seed"), numbers, inputs)
        hold, planned = fit(engine, job, p["output"], None, session.growth(numbers, appended))
        engine.warm(job, hold, listener.check_cancelled)
        session.reserve(numbers, appended, engine.device, listener.check_cancelled)
        queries, keys = operands(job, engine.device)
        made = {k: queries(k) for k in session.caches}
        messages = {k: keys(k).data if job.variant == "pass-kv" else None for k in session.caches}

        def keys_of(k: int):
            return session.caches[k] if job.variant == "pass-q" else session.message(k, job, messages[k])

        def begin() -> Run:
            return Run(engine, job, hold, listener, lambda k: made[k], keys_of, session.link, slice_flops, "hops")

        return job, appended, rows, given, made, begin, planned

    try:
        job, appended, rows, given, made, begin, planned = engine.together(prepare)

        def parts(rank: int):
            if rank in made:
                return parts_of(job, appended, rank, made[rank].tensors[0], lambda i: session.fresh(rank, i, appended))
            return parts_of_other_rank(job, appended, rank)

        most = max(job.queries[0].rows, *(count(r) for own in appended for r in own))
        fill(engine, listener, given, {k: parts(k) for k in made}, most)
        deliver(engine.team, given, parts)
        run = engine.together(begin)
        result = run.go(not given.seeded)
        tensors = engine.together(lambda: gather(engine.team, job, run.totals, p["output"], rows))
    except BaseException:
        session.drop_empty()
        raise
    number = session.steps
    session.keep(numbers, appended)
    new, cached = job.new, sum(P for _, P in job.sequences)
    more = {
        "step": number,
        "mode": mode,
        "batch": [{"sequence": n, "new": T, "cached": P} for n, (T, P) in zip(numbers, job.sequences)],
        "missRate": new / (new + cached),
        "paddingBytes": sum(t["paddingBytes"] for t in result["perRank"]),
        "tokens": session.tokens(),
    }
    return {**report(engine, job, {**p, "link": session.link}, run, result, planned), **more}, tensors


def parts_of(job: Job, appended, rank: int, q: torch.Tensor, fresh: Callable[[int], tuple[torch.Tensor, ...]]):
    """The inputs of one rank in a step: its queries, and the new rows of K and V of each sequence."""
    parts = [(q, "q", job.queries[rank], True)]
    sequences = len(appended[rank])
    for i, own in enumerate(appended[rank]):
        only = Block(tuple(own if j == i else () for j in range(sequences)), (0,) * sequences, count(own))
        parts += [(rows, name, only, True) for name, rows in zip("kv", fresh(i))]
    return parts


def parts_of_other_rank(job: Job, appended, rank: int):
    """The same for the rank of another process: tensors that have only shape and type."""

    def empty(*shape: int) -> torch.Tensor:
        return torch.empty(*shape, dtype=job.dtype, device="meta")

    def fresh(i: int) -> tuple[torch.Tensor, ...]:
        return tuple(empty(count(appended[rank][i]), *width) for width in job.kv_widths)

    return parts_of(job, appended, rank, empty(job.queries[rank].rows, job.heads, job.head_dim), fresh)
