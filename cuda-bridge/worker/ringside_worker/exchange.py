"""
What travels between ranks, and what it counts: chunks, parcels of partial results, a rank's traffic.

simulated_ring.py and world_ring.py have the rings. Both count what a rank sends as engine/rank/mesh-ring.ts does: N-1
ring messages, and in pass-Q N-1 parcels of O (in the compute type) and LSE (f32), without the rows that no rank needs
under the mask (route.py).
"""

from dataclasses import dataclass

import torch

from .layout import Block, nothing

Widths = tuple[tuple[int, int], ...]
"""(heads, elements of a head) of each tensor of a chunk."""


@dataclass(frozen=True)
class Chunk:
    """
    What travels. `owner` held it first.

    `data` is contiguous: Q `[rows, H, D]`, or K and V `[2, rows, Hkv, D]`. With `widths` it has one axis: K's rows, then
    V's, or K's alone if V is part of it.
    """

    owner: int
    block: Block
    data: torch.Tensor
    widths: Widths | None = None

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        """Q, or K and V, or K alone: views `[rows, heads, elements of a head]`."""
        if self.widths is None:
            return (self.data,) if self.data.dim() == 3 else tuple(self.data)
        return rows_of(self.data, self.block.rows, self.widths)

    def keys(self, sequence: int, k0: int, k1: int) -> tuple[torch.Tensor, torch.Tensor]:
        """K and V of rows k0 .. k1-1 of a sequence. If V is part of K, V is K's whole row."""
        first = self.block.first[sequence]
        parts = self.tensors
        return parts[0][first + k0 : first + k1], parts[-1][first + k0 : first + k1]

    @property
    def row_bytes(self) -> int:
        return sum(x.shape[1] * x.shape[2] for x in self.tensors) * self.data.dtype.itemsize

    def without_rows(self, owner: int, whole: Block) -> "Chunk":
        """An empty chunk with these widths, in place of another owner's block that didn't come."""
        widths = self.widths or tuple((x.shape[1], x.shape[2]) for x in self.tensors)
        return Chunk(owner, nothing(whole), self.data.flatten()[:0], widths)

    def padding(self, block: Block) -> int:
        """Bytes of padding in a message with these rows."""
        return self.row_bytes * (block.rows - block.tokens)


def rows_of(data: torch.Tensor, rows: int, widths: Widths) -> tuple[torch.Tensor, ...]:
    """Splits `data`, which holds tensors one after the other, into one view for each."""
    sizes = [rows * heads * dim for heads, dim in widths]
    parts = data[: sum(sizes)].split(sizes)
    return tuple(part.view(rows, *width) for part, width in zip(parts, widths))


class Traffic:
    """What one rank sent and received (RankTraffic of engine/rank/job.ts)."""

    def __init__(self, rank: int):
        self.rank, self.received, self.padding = rank, 0, 0
        self.sent = {"ring": [0, 0], "all2all": [0, 0]}
        self.skipped = [0, 0]

    def skip(self, whole: Block, sent: Block, row_bytes: int) -> None:
        """Counts what a message leaves out of a block."""
        self.skipped[0] += sent.rows == 0
        self.skipped[1] += (whole.rows - sent.rows) * row_bytes

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
            "skipped": {"messages": self.skipped[0], "bytes": self.skipped[1]},
        }


def parcel_bytes(rows: int, heads: int, value_dim: int, dtype: torch.dtype) -> int:
    """Bytes of O and LSE of one rank's queries, as pass-Q sends them home."""
    return rows * heads * (value_dim * dtype.itemsize + 4)
