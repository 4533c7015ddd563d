"""The ring between simulated ranks, in one process."""

from .exchange import Chunk, Traffic, parcel_bytes
from .layout import Block, never_cancelled
from .merge import Accumulator
from .ring import owner_at
from .route import Route


class SimulatedRings:
    """
    All ranks in one process.

    Chunks move whole, by reference. We only count what a real message would leave out. The timeline models the
    transfers. Partials of pass-Q are merged into their owner's total as they come.
    """

    def __init__(self, job, totals: list[Accumulator], timeline, check_cancelled=never_cancelled):
        self.job, self.totals, self.timeline, self.route = job, totals, timeline, Route(job, check_cancelled)
        self.traffic = [Traffic(k) for k in range(job.ranks)]
        self.parcel_row = parcel_bytes(1, job.heads, job.value_dim, job.dtype)
        self.mail: dict[tuple[int, int], Chunk] = {}
        self.rings = [SimulatedRing(self, k, job.ranks) for k in range(job.ranks)]

    def send(self, rank: int, to: int, kind: str, hop: int, whole: Block, sent: Block, row_bytes: int) -> None:
        """Counts a message of some rows of a block, and puts it on the timeline."""
        self.traffic[rank].skip(whole, sent, row_bytes)
        if sent.rows > 0:
            bytes, padding = sent.rows * row_bytes, (sent.rows - sent.tokens) * row_bytes
            self.traffic[rank].send(kind, bytes, padding if kind == "ring" else 0)
            self.traffic[to].received += bytes
            self.timeline.send(rank, to, kind, hop, bytes)


class SimulatedRing:
    def __init__(self, all_ranks: SimulatedRings, rank: int, size: int):
        self._all, self.rank, self.size = all_ranks, rank, size

    def shift(self, hop: int, chunk: Chunk) -> None:
        """Starts to send a chunk to the next rank, if a later rank needs some of it. Does nothing at the last hop."""
        if hop == self.size - 1:
            return
        to, sent = (self.rank + 1) % self.size, self._all.route.sent(self.rank, hop)
        if sent.rows > 0:
            self._all.mail[to, hop] = chunk
        self._all.send(self.rank, to, "ring", hop, self._all.route.own(chunk.owner), sent, chunk.row_bytes)

    def arrived(self, hop: int, chunk: Chunk) -> Chunk:
        """The chunk from the previous rank, empty if none came. At the last hop, the chunk that this rank holds."""
        if hop == self.size - 1:
            return chunk
        if (self.rank, hop) not in self._all.mail:
            owner = owner_at(self.rank, hop + 1, self.size)
            return chunk.without_rows(owner, self._all.route.own(owner))
        self._all.timeline.arrive(self.rank, hop)
        return self._all.mail.pop((self.rank, hop))

    def home(self, owner: int) -> Accumulator:
        """The accumulator of partial results for the queries of `owner`."""
        return self._all.totals[owner]

    def all_to_all(self):
        """Sends partial results home and waits for this rank's."""
        for s in range(self.size):
            if s != self.rank:
                whole, sent = self._all.job.queries[s], self._all.route.parcel(self.rank, s)
                self._all.send(self.rank, s, "all2all", self.size - 1, whole, sent, self._all.parcel_row)
        yield
        self._all.totals[self.rank].flush()
        self._all.timeline.collect(self.rank, self.size - 1)
        return self._all.totals[self.rank]
