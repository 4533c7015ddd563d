"""One rank's attention, as the ring programs see it: a chunk of queries against keys, in bounded pieces, timed."""

from contextlib import contextmanager

from .cuts import KernelCall, kernel_calls, split
from .layout import Block, never_cancelled


class Pieces:
    """
    The kernel calls of each pair of blocks, in pieces of at most `pairs` query-key pairs. Every rank computes the same.

    Nothing is cached: the calls of all pairs of many ranks and sequences would fill the memory.
    """

    def __init__(self, job, pairs: int, check_cancelled=never_cancelled):
        self._job, self._pairs, self._check_cancelled = job, max(1, pairs), check_cancelled
        self._counts: dict[int, int] = {}

    def calls(self, queries: Block, keys: Block) -> list[KernelCall]:
        """The calls for some rows of queries against some of keys."""
        self._check_cancelled()
        return kernel_calls(queries, keys, self._job.mask)

    def count(self, hop: int) -> int:
        """Pieces of this hop on every rank: as many as the rank with the most work needs."""
        if hop not in self._counts:
            ranks = self._job.ranks
            meets = [
                (k, (k - hop) % ranks) if self._job.variant == "pass-kv" else ((k - hop) % ranks, k)
                for k in range(ranks)
            ]
            # What a message leaves out is needed by no rank that it reaches, so whole blocks count the same.
            job = self._job
            most = max(sum(call.pairs for call in self.calls(job.queries[q], job.keys[kv])) for q, kv in meets)
            self._counts[hop] = max(1, -(-most // self._pairs))
        return self._counts[hop]

    def of(self, hop: int, queries: Block, keys: Block) -> list[list[KernelCall]]:
        """This rank's calls of a hop, distributed over the pieces."""
        count = self.count(hop)
        small = [part for call in self.calls(queries, keys) for part in split(call, self._pairs)]
        total, done = sum(call.pairs for call in small), 0
        out: list[list[KernelCall]] = [[] for _ in range(count)]
        for call in small:
            out[min(count - 1, done * count // max(1, total))].append(call)
            done += call.pairs
        return out


class Pacer:
    """Keeps the host at most two pieces ahead of the device, so that a cancelled run ends soon."""

    def __init__(self, clock, flops: float):
        self._clock, self._limit = clock, 2 * flops
        self._ahead: list[tuple[object, float]] = []

    def put(self, mark, flops: float) -> None:
        self._ahead.append((mark, flops))
        while sum(f for _, f in self._ahead) > self._limit or (self._ahead and self._clock.passed(self._ahead[0][0])):
            self._clock.wait(self._ahead.pop(0)[0])


class Attention:
    """One rank's. Simulated ranks share kernels, merger and timeline. `progress(n)`: n more hops are done."""

    def __init__(self, rank: int, job, pieces: Pieces, kernels, timeline, pacer: Pacer, progress):
        self.rank = rank
        self._job, self._pieces, self._kernels = job, pieces, kernels
        self._timeline, self._pacer, self._progress = timeline, pacer, progress
        self.hop = 0

    def attend(self, hop: int, q, kv, into):
        """Adds the attention of q to kv to `into`. Yields after each piece."""
        self.hop = hop
        job, clock = self._job, self._timeline.clock
        peer = kv.owner if job.variant == "pass-kv" else q.owner
        pieces = self._pieces.of(hop, q.block, kv.block)
        for i, piece in enumerate(pieces):
            if piece:
                flops = job.flops_of(sum(call.pairs for call in piece))
                a = clock.mark()
                for call in piece:
                    beyond = (call.times - 1) * call.step
                    rows = q.tensors[0][call.q0 : call.q1 + beyond]
                    k, v = kv.keys(call.sequence, call.k0, call.k1 + beyond)
                    o, lse = self._kernels.call(call, rows, k, v, job.scale)
                    # V may be all of K's row: its first Dv elements are the values.
                    into.add(call.q0, call.q0 + o.shape[0], o[..., : job.value_dim].contiguous(), lse)
                b = clock.mark()
                self._timeline.device(self.rank, "attend", hop, a, b, 0, flops, peer)
                self._pacer.put(b, flops)
            if i == len(pieces) - 1:
                into.settle()
                self._progress(1)
            self._timeline.drain()
            yield

    @contextmanager
    def merging(self, bytes: int):
        """Times the merges of this rank's accumulator."""
        a = self._timeline.clock.mark()
        yield
        b = self._timeline.clock.mark()
        later = getattr(self._timeline, "later", None)
        if later is not None and self._job.variant == "pass-q" and self._job.ranks > 1:
            later(self.rank, a, b)
        else:
            self._timeline.device(self.rank, "merge", self.hop, a, b, bytes)
