"""What a meeting of ranks carries in one small tensor: a flag, a count, and some spans."""

import torch

from .spans import KINDS, LANES, span

GO, CANCEL, ERROR = 0, 1, 2
"""Flags, from good to bad: the worst of all ranks counts."""
SLOTS = 24
"""Spans that a meeting carries from each rank."""
_FIELDS = 9


def pack(flag: int, done: int, spans: list[dict]) -> torch.Tensor:
    """A row of numbers of the same length on every rank. `spans`: at most SLOTS."""
    row = torch.zeros(3 + SLOTS * _FIELDS, dtype=torch.float64)
    row[0], row[1], row[2] = flag, done, len(spans)
    for i, s in enumerate(spans):
        values = [s["rank"], LANES.index(s["lane"]), KINDS.index(s["kind"]), s["hop"], s["start"], s["duration"]]
        values += [s["bytes"], s["flops"], s.get("peer", -1)]
        row[3 + i * _FIELDS : 3 + (i + 1) * _FIELDS] = torch.tensor(values, dtype=torch.float64)
    return row


def flag_of(rows: list[torch.Tensor]) -> int:
    """The worst flag of all ranks."""
    return int(max(row[0] for row in rows))


def done_of(rows: list[torch.Tensor]) -> int:
    """The sum of all ranks' counts."""
    return int(sum(row[1] for row in rows))


def spans_of(row: torch.Tensor) -> list[dict]:
    """The spans of one rank's row."""
    spans = []
    for i in range(int(row[2])):
        values = row[3 + i * _FIELDS : 3 + (i + 1) * _FIELDS].tolist()
        rank, lane, kind, hop, start, duration, bytes, flops, peer = values
        peer = None if peer < 0 else int(peer)
        spans.append(
            span(int(rank), LANES[int(lane)], KINDS[int(kind)], int(hop), start, duration, int(bytes), flops, peer)
        )
    return spans
