"""One rank's device as the ring programs see it: attention of a chunk of queries to keys in bounded pieces, timed."""

from contextlib import contextmanager

from .layout import Call, calls, split, unwatched


class Work:
    """
    Which kernel calls each pair of blocks takes, in pieces of at most `pairs` query-key pairs; the same on every rank. Nothing is kept:
    the calls of all pairs of many ranks and sequences would fill the memory.
    """

    def __init__(self, job, pairs: int, look=unwatched):
        self._job, self._pairs, self._look = job, max(1, pairs), look
        self._points: dict[int, int] = {}

    def calls(self, queries: int, keys: int) -> list[Call]:
        """Of the queries of one rank to the keys of another."""
        self._look()
        return calls(self._job.queries[queries], self._job.keys[keys], self._job.causal)

    def points(self, hop: int) -> int:
        """Pieces of this hop on every rank: as many as the rank with most work needs."""
        if hop not in self._points:
            ranks = self._job.ranks
            meets = [
                (k, (k - hop) % ranks) if self._job.variant == "pass-kv" else ((k - hop) % ranks, k)
                for k in range(ranks)
            ]
            most = max(sum(c.pairs for c in self.calls(q, kv)) for q, kv in meets)
            self._points[hop] = max(1, -(-most // self._pairs))
        return self._points[hop]

    def pieces(self, hop: int, queries: int, keys: int) -> list[list[Call]]:
        """This rank's calls of a hop, dealt to the pieces."""
        points = self.points(hop)
        small = [part for call in self.calls(queries, keys) for part in split(call, self._pairs)]
        total, done = sum(c.pairs for c in small), 0
        out: list[list[Call]] = [[] for _ in range(points)]
        for call in small:
            out[min(points - 1, done * points // max(1, total))].append(call)
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


class Device:
    """One rank's; several simulated ranks share kernels, merger and timeline."""

    def __init__(self, rank: int, job, work: Work, kernels, timeline, pacer: Pacer, progress):
        self.rank = rank
        self._job, self._work, self._kernels, self._timeline, self._pacer, self._progress = (
            job,
            work,
            kernels,
            timeline,
            pacer,
            progress,
        )
        self.hop = 0

    def attend(self, hop: int, q, kv, into):
        """Attention of q to kv, added to `into`; yields after each piece."""
        self.hop = hop
        job, clock = self._job, self._timeline.clock
        peer = kv.owner if job.variant == "pass-kv" else q.owner
        pieces = self._work.pieces(hop, q.owner, kv.owner)
        for i, piece in enumerate(pieces):
            if piece:
                flops = 4 * job.head_dim * job.heads * sum(c.pairs for c in piece)
                a = clock.mark()
                for c in piece:
                    k, v = kv.keys(c.sequence, c.k0, c.k1)
                    into.add(c.q0, c.q1, *self._kernels.attend(q.data[c.q0 : c.q1], k, v, c.causal, job.scale))
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
        """Times merges of this rank's accumulator."""
        a = self._timeline.clock.mark()
        yield
        b = self._timeline.clock.mark()
        later = getattr(self._timeline, "later", None)
        if later is not None and self._job.variant == "pass-q" and self._job.ranks > 1:
            later(self.rank, a, b)
        else:
            self._timeline.device(self.rank, "merge", self.hop, a, b, bytes)
