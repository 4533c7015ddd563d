"""
The ring between ranks: within one process for simulated ranks, over torch.distributed for real ones.

Both count what a rank sends as engine/rank/mesh.ts does: N-1 ring messages, and in pass-Q N-1 parcels of O (in the
compute type) and LSE (f32).
"""

from contextlib import nullcontext
from dataclasses import dataclass

import torch
import torch.distributed as dist

from .layout import Block
from .merge import Accumulator
from .ring import owner_at


@dataclass(frozen=True)
class Chunk:
    """What travels. `data` is Q `[rows, H, D]`, or K and V `[2, rows, Hkv, D]`. `owner` had it first."""

    owner: int
    block: Block
    data: torch.Tensor

    def keys(self, sequence: int, k0: int, k1: int) -> tuple[torch.Tensor, torch.Tensor]:
        """K and V of rows k0 .. k1-1 of a sequence."""
        first = self.block.first[sequence]
        return self.data[0, first + k0 : first + k1], self.data[1, first + k0 : first + k1]

    @property
    def padding(self) -> int:
        """How many of its bytes are padding."""
        return round(self.data.nbytes / max(1, self.block.rows) * (self.block.rows - self.block.tokens))


class Traffic:
    """What one rank sent and received (RankTraffic of engine/rank/job.ts)."""

    def __init__(self, rank: int):
        self.rank, self.received, self.padding = rank, 0, 0
        self.sent = {"ring": [0, 0], "all2all": [0, 0]}

    def send(self, kind: str, bytes: int, padding: int = 0) -> None:
        self.sent[kind][0] += 1
        self.sent[kind][1] += bytes
        self.padding += padding

    def json(self) -> dict:
        (m, b), (n, c) = self.sent["ring"], self.sent["all2all"]
        both = {"ring": {"messages": m, "bytes": b}, "all2all": {"messages": n, "bytes": c}}
        return {
            "rank": self.rank,
            "bytesSent": b + c,
            "bytesReceived": self.received,
            "messages": m + n,
            **both,
            "paddingBytes": self.padding,
        }


def parcel_bytes(rows: int, heads: int, head_dim: int, dtype: torch.dtype) -> int:
    """Bytes of O and LSE of one rank's queries, as pass-Q sends them home."""
    return rows * heads * (head_dim * dtype.itemsize + 4)


class SimulatedRings:
    """
    All ranks in one process.

    Chunks move by reference, and the timeline models the transfers. Partials of pass-Q are merged into their owner's
    total as they come.
    """

    def __init__(self, job, totals: list[Accumulator], timeline):
        self.totals, self.timeline = totals, timeline
        self.traffic = [Traffic(k) for k in range(job.ranks)]
        self.parcel = [parcel_bytes(b.rows, job.heads, job.head_dim, job.dtype) for b in job.queries]
        self.mail: dict[tuple[int, int], Chunk] = {}
        self.rings = [SimulatedRing(self, k, job.ranks) for k in range(job.ranks)]


class SimulatedRing:
    def __init__(self, all_ranks: SimulatedRings, rank: int, size: int):
        self._all, self.rank, self.size = all_ranks, rank, size

    def shift(self, hop: int, chunk: Chunk) -> None:
        """Starts to send a chunk to the next rank. Does nothing at the last hop."""
        if hop == self.size - 1:
            return
        to = (self.rank + 1) % self.size
        self._all.mail[to, hop] = chunk
        self._all.traffic[self.rank].send("ring", chunk.data.nbytes, chunk.padding)
        self._all.traffic[to].received += chunk.data.nbytes
        self._all.timeline.send(self.rank, to, "ring", hop, chunk.data.nbytes)

    def arrived(self, hop: int, chunk: Chunk) -> Chunk:
        """The chunk from the previous rank; at the last hop the chunk that is already here."""
        if hop == self.size - 1:
            return chunk
        self._all.timeline.arrive(self.rank, hop)
        return self._all.mail.pop((self.rank, hop))

    def home(self, owner: int) -> Accumulator:
        """The accumulator of partial results for the queries of `owner`."""
        return self._all.totals[owner]

    def all_to_all(self):
        """Sends partial results home and waits for this rank's."""
        others = [s for s in range(self.size) if s != self.rank]
        for s in others:
            self._all.traffic[self.rank].send("all2all", self._all.parcel[s])
            self._all.traffic[s].received += self._all.parcel[s]
            self._all.timeline.send(self.rank, s, "all2all", self.size - 1, self._all.parcel[s])
        yield
        self._all.totals[self.rank].flush()
        self._all.timeline.collect(self.rank, self.size - 1)
        return self._all.totals[self.rank]


class WorldRing:
    """
    One rank a process, over point-to-point messages of torch.distributed.

    On CUDA a transfer is submitted to a separate stream, before the attention that it overlaps with. The attention of
    the next hop waits for it on the device, by an event; the host doesn't wait. Every buffer is allocated here, before
    the first message, so that no rank fails between a meeting and its next transfer.
    """

    def __init__(self, job, rank: int, total: Accumulator, timeline, team, merger, timed):
        self.rank, self.size = rank, job.ranks
        self._job, self._team, self._timeline, self._clock = job, team, timeline, timeline.clock
        self._cuda = total.o.is_cuda
        self._wire = torch.cuda.Stream() if self._cuda else None
        self.traffic = Traffic(rank)
        self._works: list = []
        self._posted = None
        device, rows = total.o.device, job.queries[rank].rows
        shape = (
            (2, job.keys[rank].rows, job.kv_heads, job.head_dim)
            if job.variant == "pass-kv"
            else (rows, job.heads, job.head_dim)
        )
        self._spare = [torch.empty(shape, dtype=job.dtype, device=device) for _ in range(min(2, self.size - 1))]
        self._homes = {rank: total}
        if job.variant == "pass-q" and self.size > 1:
            self._parcels = torch.zeros(
                2, self.size, parcel_bytes(rows, job.heads, job.head_dim, job.dtype), dtype=torch.uint8, device=device
            )
            for s in range(self.size):
                if s != rank:
                    self._homes[s] = Accumulator(*self._open(0, s), merger, 1, timed)

    def _open(self, which: int, owner: int) -> tuple[torch.Tensor, torch.Tensor]:
        """O and LSE in one of the parcels that we send (`which` = 0) or receive (1)."""
        job, rows = self._job, self._job.queries[self.rank].rows
        cut = rows * job.heads * job.head_dim * job.dtype.itemsize
        data = self._parcels[which, owner]
        o = data[:cut].view(job.dtype).view(rows, job.heads, job.head_dim)
        return o, data[cut:].view(torch.float32).view(rows, job.heads)

    def shift(self, hop: int, chunk: Chunk) -> None:
        if hop == self.size - 1:
            return
        into = self._spare[hop % 2 % len(self._spare)]
        ahead, behind = (self.rank + 1) % self.size, (self.rank - 1) % self.size
        self._team.hop = hop
        ops = [
            dist.P2POp(dist.isend, chunk.data, ahead, self._team.ring),
            dist.P2POp(dist.irecv, into, behind, self._team.ring),
        ]
        with self._on_wire():
            a = self._clock.mark()
            self._works = self._team.guarded("transfer", dist.batch_isend_irecv, ops)
            if self._cuda:
                for work in self._works:
                    work.wait()
            self._posted = (into, a, self._clock.mark())
        self.traffic.send("ring", chunk.data.nbytes, chunk.padding)

    def arrived(self, hop: int, chunk: Chunk) -> Chunk:
        if hop == self.size - 1:
            return chunk
        into, a, b = self._posted
        bytes, ahead, behind = into.nbytes, (self.rank + 1) % self.size, (self.rank - 1) % self.size
        waiting = self._clock.mark()
        if self._cuda:
            torch.cuda.current_stream().wait_event(b)
        else:
            for work in reversed(self._works):
                self._team.guarded("transfer", work.wait)
            b = self._clock.mark()
        self._works = []
        self.traffic.received += bytes
        self._timeline.between(self.rank, "send", "send", hop, a, b, bytes, 0, ahead)
        self._timeline.between(self.rank, "receive", "receive", hop, a, b, bytes, 0, behind)
        self._timeline.between(self.rank, "device", "wait", hop, waiting, b, bytes, 0, behind)
        owner = owner_at(self.rank, hop + 1, self.size)
        block = self._job.keys[owner] if self._job.variant == "pass-kv" else self._job.queries[owner]
        return Chunk(owner, block, into)

    def home(self, owner: int) -> Accumulator:
        return self._homes[owner]

    def all_to_all(self):
        total = self._homes[self.rank]
        for s, home in self._homes.items():
            if s != self.rank:
                home.finish()
        yield
        if self.size == 1:
            return total
        sent, received = self._parcels
        hop, bytes = self.size - 1, sent[0].nbytes
        a = self._clock.mark()
        if self._cuda:
            self._team.guarded("All2All", dist.all_to_all_single, received, sent, group=self._team.ring)
        else:
            self._posted = (received, a, a)
            self._works = [
                self._team.guarded(
                    "All2All", dist.all_to_all_single, received, sent, group=self._team.ring, async_op=True
                )
            ]
            self.drain()
        b = self._clock.mark()
        for s in range(self.size):
            if s != self.rank:
                self.traffic.send("all2all", bytes)
                self.traffic.received += bytes
                total.add(0, total.o.shape[0], *self._open(1, s))
        self._timeline.between(self.rank, "device", "all2all", hop, a, b, bytes * (self.size - 1))
        return total

    def drain(self) -> None:
        """Waits for transfers in flight, so that a cancelled run leaves no message behind."""
        for work in self._works:
            self._team.guarded("transfer", work.wait)
        self._works = []
        if self._cuda and self._posted is not None:
            self._clock.wait(self._posted[2])

    def _on_wire(self):
        if not self._cuda:
            return nullcontext()
        self._wire.wait_stream(torch.cuda.current_stream())
        return torch.cuda.stream(self._wire)
