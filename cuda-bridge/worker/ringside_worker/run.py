"""Runs one attention job on the ranks of this process: a ring pass, with its spans and its progress."""

import time
from collections.abc import Callable, Iterable

import torch

from .attention import Attention, Pacer, Pieces
from .errors import Cancelled, Refused
from .job import Job
from .layout import never_cancelled
from .meeting import CANCEL, ERROR, GO
from .merge import Accumulator, merge_sinks
from .ring import pass_kv, pass_q
from .simulated_ring import SimulatedRings
from .spans import SimulatedTimeline, Timeline, times_of
from .world_ring import WorldRing

OFTEN = 0.05
"""Seconds between two messages of spans, or of progress."""


class Listener:
    """
    Spans and progress on their way to the client, some at a time.

    Ranks other than 0 keep their spans until the next meeting.
    """

    def __init__(
        self,
        emit: Callable[[dict], None] | None,
        cancelled: Callable[[], bool] | None,
        cancelled_here: Callable[[], bool] | None = None,
    ):
        """The ring calls `cancelled`, where ranks meet. Work outside it calls `cancelled_here` (default: the same)."""
        self._emit, self._cancelled, self._cancelled_here = emit, cancelled, cancelled_here or cancelled
        self._sent = {"spans": 0.0, "progress": 0.0}
        self.all: list[dict] = []
        self.unsent: list[dict] = []
        self.done = 0

    def put(self, span: dict) -> None:
        self.unsent.append(span)

    def progress(self, done: int, total: int, note: str) -> None:
        if self._emit is not None and (done in (0, total) or self._due("progress")):
            self._emit({"type": "progress", "done": done, "total": total, "note": note})

    def flush(self, others: Iterable[dict] = (), everything: bool = False) -> None:
        """On rank 0: sends the spans on, also those of other ranks, unless it just did. `everything`: in any case."""
        self.unsent += others
        if not (everything or self._due("spans")):
            return
        spans, self.unsent = self.unsent, []
        self.all += spans
        for i in range(0, len(spans), 500):
            if self._emit is not None:
                self._emit({"type": "spans", "spans": spans[i : i + 500]})

    def _due(self, what: str) -> bool:
        now = time.monotonic()
        if now - self._sent[what] < OFTEN:
            return False
        self._sent[what] = now
        return True

    def is_cancelled(self) -> bool:
        return self._cancelled is not None and self._cancelled()

    def check_cancelled(self) -> None:
        """Raises Cancelled once the run is cancelled. For long work outside the ring."""
        if self._cancelled_here is not None and self._cancelled_here():
            raise Cancelled


def not_finite(ranks: list[int], own: bool) -> Refused:
    """Why O or LSE has NaN or infinity. Seeded inputs cannot cause that, so then a kernel is wrong."""
    found = (
        f"O and LSE: found numbers that are not finite in process {', '.join(map(str, ranks[:8]))}, "
        "expected finite ones"
    )
    return (
        Refused("bad-input", f"{found}: scores beyond 3.4e38 cause that; send smaller numbers or a smaller scale")
        if own
        else Refused("worker-failed", f"{found}: a kernel is wrong on this machine")
    )


class Run:
    """
    One ring pass.

    `make_queries(k)` and `make_keys(k)` give the operands of rank k (keys: a Chunk, or an object with `keys` and
    `owner`). We make them and the buffers before the ranks agree to begin, so that no rank runs out of memory later.
    Afterwards `totals[k]` has O and LSE of each rank of this process.
    """

    def __init__(
        self,
        context,
        job: Job,
        hold: int,
        listener: Listener,
        make_queries,
        make_keys,
        link: dict | None,
        slice_flops: float,
        note: str,
    ):
        self.job, self.context, self.listener, self._note = job, context, listener, note
        clock, device, merger = context.clock, context.device, context.merger
        ranks = range(job.ranks) if context.team.world == 1 else [context.team.rank]
        self.simulated = context.team.world == 1 and job.ranks > 1
        self.timeline = (
            SimulatedTimeline(clock, job.ranks, link, listener.put)
            if context.team.world == 1
            else Timeline(clock, listener.put)
        )
        pairs = int(slice_flops / job.flops_of(1))
        check_cancelled = listener.check_cancelled if context.team.world == 1 else never_cancelled
        pieces = Pieces(job, pairs, check_cancelled)
        pacer = Pacer(clock, slice_flops)
        # A short run meets only before and after: its hops may be shorter than a meeting.
        self._meets = job.flops / job.ranks > 2 * slice_flops
        attentions = {
            k: Attention(k, job, pieces, context.kernels, self.timeline, pacer, self._hops_done) for k in ranks
        }
        self.totals: dict[int, Accumulator] = {}
        for k in ranks:
            rows = job.queries[k].rows
            o = torch.empty(rows, job.heads, job.value_dim, dtype=torch.float32, device=device)
            lse = torch.empty(rows, job.heads, dtype=torch.float32, device=device)
            self.totals[k] = Accumulator(o, lse, merger, hold, attentions[k].merging)
        if context.team.world == 1:
            exchange = SimulatedRings(job, [self.totals[k] for k in ranks], self.timeline, check_cancelled)
            self.rings, self._traffic = {k: exchange.rings[k] for k in ranks}, exchange.traffic
        else:
            k = context.team.rank
            self.rings = {
                k: WorldRing(job, k, self.totals[k], self.timeline, context.team, merger, attentions[k].merging)
            }
            self._traffic = [self.rings[k].traffic]
        program = pass_kv if job.variant == "pass-kv" else pass_q
        self._programs = {
            k: self._with_sinks(k, program(self.rings[k], attentions[k], make_queries(k), make_keys(k))) for k in ranks
        }
        self._sinks = None if job.sinks is None else torch.tensor(job.sinks, dtype=torch.float32, device=device)

    def go(self, own: bool = False) -> dict:
        """
        Runs once all ranks have agreed to begin. Returns {"perRank", "times", "seconds", "used"} on rank 0.

        `own`: the inputs are a client's tensors, not seeded ones. Raises Cancelled, Refused.
        """
        team, listener = self.context.team, self.listener
        if self.context.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        if team.world > 1:
            team.meet(GO, 0, [])
        started = time.perf_counter()
        self.context.clock.start()
        if team.world == 1:
            self._together()
        else:
            self._alone(next(iter(self._programs)))
        seconds = time.perf_counter() - started
        end = self.timeline.end
        shared = team.share(
            {
                "traffic": [t.json() for t in self._traffic],
                "spans": listener.unsent,
                "end": end,
                "used": sorted(self.context.kernels.used),
                "finite": self._finite(),
            }
        )
        if team.world > 1:
            listener.unsent = [] if team.rank else [s for other in shared for s in other["spans"]]
        if team.rank == 0:
            listener.flush(everything=True)
        if not all(other["finite"] for other in shared):
            raise not_finite([rank for rank, other in enumerate(shared) if not other["finite"]], own)
        total = max(other["end"] for other in shared)
        return {
            "perRank": [t for other in shared for t in other["traffic"]],
            "times": times_of(listener.all, total),
            "seconds": seconds,
            "used": sorted({u for other in shared for u in other["used"]}),
        }

    def _finite(self) -> bool:
        """Whether O and LSE of this process are numbers. The LSE of a row that sees no key is -inf."""
        return all(
            bool(torch.isfinite(total.o).all()) and bool((total.lse < torch.inf).all())
            for total in self.totals.values()
        )

    def _together(self) -> None:
        """Simulated ranks take turns, piece by piece."""
        live = dict(self._programs)
        try:
            while live:
                for k in list(live):
                    try:
                        next(live[k])
                    except StopIteration:
                        del live[k]
                    if self.listener.is_cancelled():
                        raise Cancelled
                    self.listener.flush()
            self.timeline.drain(everything=True)
        finally:
            for program in self._programs.values():
                program.close()

    def _alone(self, rank: int) -> None:
        """Runs this process's rank, with a meeting after every piece."""
        program, ring, error, ended = self._programs[rank], self.rings[rank], None, False
        while not ended:
            try:
                next(program)
            except StopIteration:
                ended = True
                self.timeline.drain(everything=True)
            except Exception as found:  # noqa: BLE001 - whatever it is, all ranks have to learn of it at a meeting
                error, ended = found, not self._meets
            if not self._meets and not ended:
                continue
            if isinstance(error, Refused) and error.code == "rank-died":
                raise error
            flag = ERROR if error is not None else CANCEL if self.listener.is_cancelled() else GO
            worst, done, others = self.context.team.meet(flag, self.listener.done, self.listener.unsent)
            if self.context.team.rank == 0:
                self.listener.progress(done, self.job.ranks**2, self._note)
                self.listener.flush(others)
            if worst != GO:
                ring.drain()
                program.close()
                self.context.team.agree(error or (Cancelled() if worst == CANCEL else None))
                raise Cancelled

    def _with_sinks(self, rank: int, program):
        """
        A rank's program; then its sinks, once, when all other partials of its rows are in.

        A learned logit of each head is one more partial of a row: O = 0, LSE = logit.
        """
        yield from program
        if self._sinks is None:
            return
        total, clock = self.totals[rank], self.context.clock
        a = clock.mark()
        merge_sinks(total.o, total.lse, self._sinks)
        self.timeline.device(rank, "merge", self.job.ranks - 1, a, clock.mark(), total.o.nbytes)

    def _hops_done(self, hops: int) -> None:
        self.listener.done += hops
        if self.context.team.world == 1:
            self.listener.progress(self.listener.done, self.job.ranks**2, self._note)
