"""The protocol's `attend` on the ranks of this process, and how inputs get into place for it."""

import torch

from .fit import fit, scaled
from .job import Job
from .meeting import CANCEL, GO
from .report import report
from .run import Listener, Run
from .tensors import Inputs, check_rows, deliver, gather, operands

WINDOW = {"cuda": 1 << 27, "cpu": 1 << 22}
"""Elements of inputs that we make between two checks for a cancel."""


def attend(engine, p: dict, inputs: dict, listener: Listener, slice_flops: float) -> tuple[dict, dict]:
    """Prepares on every rank, fills in the inputs, runs the ring, gathers the output. Returns report and tensors."""

    def job_of(sequences: list[dict]) -> Job:
        return Job.of_attend({**p, "sequences": sequences}, engine.world, listener.check_cancelled)

    def prepare():
        job = job_of(p["sequences"])
        rows = check_rows(job, p)
        given = Inputs.of_attend(job, p.get("seed"), inputs)
        hold, planned = fit(engine, job, p["output"], lambda n: job_of(scaled(p["sequences"], n)))
        listener.progress(
            0,
            job.ranks**2,
            "checking and compiling kernels: a minute or more on a GPU the first time, seconds later",
        )
        engine.warm(job, hold, listener.check_cancelled)
        listener.progress(0, job.ranks**2, "inputs")
        queries, keys = operands(job, engine.device)
        made = {k: (queries(k), keys(k)) for k in engine.mine(job.ranks)}
        run = Run(
            engine,
            job,
            hold,
            listener,
            lambda k: made[k][0],
            lambda k: made[k][1],
            p.get("link"),
            slice_flops,
            "hops",
        )
        return job, rows, given, made, run, planned

    job, rows, given, made, run, planned = engine.together(prepare)

    def parts(rank: int):
        q, kv = made[rank] if rank in made else tuple(make(rank) for make in operands(job, torch.device("meta")))
        return [
            (q.tensors[0], "q", q.block, True),
            *((x, name, kv.block, False) for name, x in zip("kv", kv.tensors)),
        ]

    most = max(job.queries[0].rows, job.keys[0].rows)
    fill(engine, listener, given, {k: parts(k) for k in made}, most)
    deliver(engine.team, given, parts)
    result = run.go(not given.seeded)
    tensors = gather(engine.team, job, run.totals, p["output"], rows)
    return report(engine, job, p, run, result, planned), tensors


def fill(engine, listener: Listener, given: Inputs, parts: dict[int, list], rows: int) -> None:
    """
    Writes the inputs of this process's ranks, in windows of rows. `rows`: the most that a part of any rank has.

    Between two windows all ranks meet and learn of a cancellation.
    """
    error, width = None, sum(out[0].numel() for own in parts.values() for out, _, _, _ in own if len(out))
    step = max(1, WINDOW[engine.device.type] // max(1, max(engine.team.share(width))))
    for low in range(0, rows, step):
        engine.team.go_on(CANCEL if listener.is_cancelled() else GO, error)
        try:
            for own in parts.values():
                for out, name, block, new_only in own:
                    listener.check_cancelled()
                    given.fill(out, name, block, new_only, (low, low + step))
        except Exception as found:  # noqa: BLE001 - whatever it is, the next meeting takes it to all ranks
            error = found
    engine.team.go_on(GO, error)
