"""The ring between processes, over torch.distributed."""

from contextlib import nullcontext

import torch
import torch.distributed as dist

from .exchange import Chunk, Traffic, parcel_bytes, rows_of
from .layout import Block, nothing
from .merge import Accumulator
from .ring import owner_at
from .route import Route, shared


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
        self.traffic, self._route = Traffic(rank), Route(job)
        self._works: list = []
        self._posted = None
        device, local = total.o.device, job.mask.is_local
        self._widths = job.kv_widths if job.variant == "pass-kv" else ((job.heads, job.head_dim),)
        elements = sum(heads * dim for heads, dim in self._widths)
        # Under a local mask, a third buffer holds the rows to send on.
        count = min(2, self.size - 1)
        buffers = [
            torch.empty(self._route.own(rank).rows * elements, dtype=job.dtype, device=device)
            for _ in range(count + (local and count > 0))
        ]
        self._spare, self._leaving = buffers[:count], buffers[count:]
        self._homes = {rank: total}
        if job.variant == "pass-q" and self.size > 1:
            self._plan_parcels(merger, timed, device)

    def _plan_parcels(self, merger, timed, device) -> None:
        """
        Lays out the parcels to send (`_parcels[0]`) and to receive (`[1]`), in the order of the ranks.

        If a parcel has every row of the queries that came, the accumulator writes straight into it.
        """
        job, size = self._job, self.size
        none = nothing(job.queries[self.rank])
        away = [none if s == self.rank else self._route.parcel(self.rank, s) for s in range(size)]
        back = [none if s == self.rank else self._route.parcel(s, self.rank) for s in range(size)]
        self._blocks, self._came = (away, back), [self._coming(s) for s in range(size)]
        self._sizes = tuple(
            [parcel_bytes(b.rows, job.heads, job.value_dim, job.dtype) for b in blocks] for blocks in self._blocks
        )
        self._parcels = tuple(torch.zeros(sum(sizes), dtype=torch.uint8, device=device) for sizes in self._sizes)
        for s in range(size):
            if s != self.rank:
                came = self._came[s]
                o, lse = (
                    self._open(0, s)
                    if came == away[s]
                    else (
                        torch.zeros(came.rows, job.heads, job.value_dim, dtype=job.dtype, device=device),
                        torch.zeros(came.rows, job.heads, dtype=torch.float32, device=device),
                    )
                )
                self._homes[s] = Accumulator(o, lse, merger, 1, timed)

    def _coming(self, owner: int) -> Block:
        """The rows of `owner`'s queries that come to this rank."""
        hop = (self.rank - owner) % self.size
        return self._route.own(owner) if hop == 0 else self._route.sent((self.rank - 1) % self.size, hop - 1)

    def _open(self, which: int, other: int) -> tuple[torch.Tensor, torch.Tensor]:
        """O and LSE in one of the parcels that we send (`which` = 0) or receive (1)."""
        job, rows = self._job, self._blocks[which][other].rows
        first = sum(self._sizes[which][:other])
        data = self._parcels[which][first : first + self._sizes[which][other]]
        cut = rows * job.heads * job.value_dim * job.dtype.itemsize
        o = data[:cut].view(job.dtype).view(rows, job.heads, job.value_dim)
        return o, data[cut:].view(torch.float32).view(rows, job.heads)

    def shift(self, hop: int, chunk: Chunk) -> None:
        if hop == self.size - 1:
            return
        ahead, behind = (self.rank + 1) % self.size, (self.rank - 1) % self.size
        sent, coming = self._route.sent(self.rank, hop), self._route.sent(behind, hop)
        elements = chunk.row_bytes // chunk.data.dtype.itemsize
        into = self._spare[hop % 2 % len(self._spare)][: coming.rows * elements]
        self._team.hop = hop
        with self._on_wire():
            a = self._clock.mark()
            ops = []
            if sent.rows > 0:
                ops.append(dist.P2POp(dist.isend, self._cut(chunk, sent), ahead, self._team.ring))
            if coming.rows > 0:
                ops.append(dist.P2POp(dist.irecv, into, behind, self._team.ring))
            self._works = self._team.guarded("transfer", dist.batch_isend_irecv, ops) if ops else []
            if self._cuda:
                for work in self._works:
                    work.wait()
            self._posted = (sent, coming, into, a, self._clock.mark())
        self.traffic.skip(self._route.own(chunk.owner), sent, chunk.row_bytes)
        if sent.rows > 0:
            self.traffic.send("ring", sent.rows * chunk.row_bytes, chunk.padding(sent))

    def _cut(self, chunk: Chunk, sent: Block) -> torch.Tensor:
        """The rows of a chunk that leave, contiguous."""
        if sent == chunk.block:
            return chunk.data
        elements = chunk.row_bytes // chunk.data.dtype.itemsize
        out = self._leaving[0][: sent.rows * elements]
        for source, target in zip(chunk.tensors, rows_of(out, sent.rows, self._widths)):
            for at, to, rows in shared(chunk.block, sent):
                target[to : to + rows] = source[at : at + rows]
        return out

    def arrived(self, hop: int, chunk: Chunk) -> Chunk:
        if hop == self.size - 1:
            return chunk
        sent, came, into, a, b = self._posted
        ahead, behind = (self.rank + 1) % self.size, (self.rank - 1) % self.size
        leaving, bytes = sent.rows * chunk.row_bytes, came.rows * chunk.row_bytes
        waiting = self._clock.mark()
        if self._cuda:
            torch.cuda.current_stream().wait_event(b)
        else:
            for work in reversed(self._works):
                self._team.guarded("transfer", work.wait)
            b = self._clock.mark()
        self._works = []
        self.traffic.received += bytes
        if leaving > 0:
            self._timeline.between(self.rank, "send", "send", hop, a, b, leaving, 0, ahead)
        if bytes > 0:
            self._timeline.between(self.rank, "receive", "receive", hop, a, b, bytes, 0, behind)
            self._timeline.between(self.rank, "device", "wait", hop, waiting, b, bytes, 0, behind)
        return Chunk(owner_at(self.rank, hop + 1, self.size), came, into, self._widths)

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
        hop, row_bytes = self.size - 1, parcel_bytes(1, self._job.heads, self._job.value_dim, self._job.dtype)
        (away, back), (sent, received) = self._blocks, self._parcels
        for s, home in self._homes.items():
            if s != self.rank and self._came[s] != away[s]:
                for source, target in zip((home.o, home.lse), self._open(0, s)):
                    for at, to, rows in shared(self._came[s], away[s]):
                        target[to : to + rows] = source[at : at + rows]
        sizes = {"output_split_sizes": self._sizes[1], "input_split_sizes": self._sizes[0], "group": self._team.ring}
        a = self._clock.mark()
        if self._cuda:
            self._team.guarded("All2All", dist.all_to_all_single, received, sent, **sizes)
        else:
            self._works = [
                self._team.guarded("All2All", dist.all_to_all_single, received, sent, **sizes, async_op=True)
            ]
            self.drain()
        b = self._clock.mark()
        for s in range(self.size):
            if s == self.rank:
                continue
            self.traffic.skip(self._job.queries[s], away[s], row_bytes)
            if away[s].rows > 0:
                self.traffic.send("all2all", self._sizes[0][s])
            self.traffic.received += self._sizes[1][s]
            o, lse = self._open(1, s)
            for at, to, rows in whole_or_shared(back[s], self._job.queries[self.rank]):
                total.add(to, to + rows, o[at : at + rows], lse[at : at + rows])
        if sum(self._sizes[1]) > 0:
            self._timeline.between(self.rank, "device", "all2all", hop, a, b, sum(self._sizes[1]))
        return total

    def drain(self) -> None:
        """Waits for transfers in flight, so that a cancelled run leaves no message behind."""
        for work in self._works:
            self._team.guarded("transfer", work.wait)
        self._works = []
        if self._cuda and self._posted is not None:
            self._clock.wait(self._posted[-1])

    def _on_wire(self):
        if not self._cuda:
            return nullcontext()
        self._wire.wait_stream(torch.cuda.current_stream())
        return torch.cuda.stream(self._wire)


def whole_or_shared(part: Block, whole: Block) -> list[tuple[int, int, int]]:
    """As `shared`; if the blocks are the same, padding too, in one piece."""
    return [(0, 0, whole.rows)] if part == whole else shared(part, whole)
