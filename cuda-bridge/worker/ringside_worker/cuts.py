"""
The kernel calls that a block of a mask takes, each visible query-key pair in exactly one of them.

Ops know two masks: all keys, and the causal square. They give three shapes: the rectangle (`full`), the lower
triangle (`causal`), and the upper one (`anti`: the causal square of reversed rows), which is a window's left edge. The
triangles along a diagonal band have equal sizes and steps, so one call takes them as a batch. Where the left edge crosses
many small ranges (after decode steps), a `band` gives each row its first key. The plain op takes that.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from .layout import Block, Range, count
from .mask import CAUSAL, FULL, Mask, triangle

MOST_EDGES = 8
"""A left edge in more pieces becomes one `band`."""
MOST_TIMES = 4096
"""Largest batch of a call: a device limits its grid."""


@dataclass(frozen=True)
class KernelCall:
    """
    One kernel call: query rows q0 <= r < q1 of a block against keys k0 <= k < k1 of their sequence.

    Keys count from the first row of the sequence. `causal` and `anti` calls are square: row i sees keys up to i, or from
    i on. In a `band`, row i sees the keys from `starts[i]` on, counted from k0. The call is made `times` times, each
    `step` rows and keys after the one before.
    """

    sequence: int
    q0: int
    q1: int
    k0: int
    k1: int
    kind: str
    times: int = 1
    step: int = 0
    starts: tuple[int, ...] = ()

    @property
    def pairs(self) -> int:
        """Visible query-key pairs. Attention costs 2 (D + Dv) FLOPs for each pair and query head."""
        n, keys = self.q1 - self.q0, self.k1 - self.k0
        if self.kind == "band":
            return n * keys - sum(self.starts)
        return self.times * (n * keys if self.kind == "full" else triangle(n))


def kernel_calls(q: Block, kv: Block, mask: Mask) -> list[KernelCall]:
    """The calls of a query block against a KV block."""
    out: list[KernelCall] = []
    for i, queries in enumerate(q.ranges):
        keys = kv.ranges[i]
        if not keys or not queries:
            continue
        if mask == FULL:
            out.append(KernelCall(i, q.first[i], q.first[i] + count(queries), 0, count(keys), "full"))
        elif mask == CAUSAL:
            out += prefix_calls(i, queries, q.first[i], keys)
        else:
            # Below this position a query sees all keys before it.
            early, late = cut_at(queries, mask.prefix_end)
            out += prefix_calls(i, early, q.first[i], keys)
            out += near_calls(i, late, q.first[i] + count(early), keys, mask)
    return out


def cut_at(ranges: tuple[Range, ...], position: int) -> tuple[list[Range], list[Range]]:
    """The parts of ascending ranges before a position, and from it on."""
    before = [(start, min(end, position)) for start, end in ranges if start < position]
    return before, [(max(start, position), end) for start, end in ranges if end > position]


def prefix_calls(sequence: int, queries, row: int, keys) -> list[KernelCall]:
    """
    A causal mask: queries, in rows from `row` on, see all keys up to their position.

    Each row sees a prefix of its sequence's key rows, and the prefixes grow along the rows: a staircase. We cut the
    queries where key ranges begin and end. Each piece then sees a rectangle, and a square on top of it if the piece's
    own positions are among the keys. Pieces that continue each other's square become one square (a rank's two chunks
    against its own). Pieces with the same rectangle become one rectangle.
    """
    out: list[KernelCall] = []
    pieces: list[list[int]] = []  # [first query row, one past the last, keys of the rectangle, width of the square]
    for start, end in queries:
        cuts = sorted({start, end, *(c for key_range in keys for c in key_range if start < c < end)})
        for a, b in pairwise(cuts):
            before = sum(min(e, a) - s for s, e in keys if s < a)
            own = b - a if any(s <= a and b <= e for s, e in keys) else 0
            last = pieces[-1] if pieces else None
            if last is not None and last[3] > 0 and own > 0 and before == last[2] + last[3]:
                last[1], last[3] = row + b - a, last[3] + own
            elif last is not None and last[3] == 0 and own == 0 and before == last[2]:
                last[1] = row + b - a
            else:
                pieces.append([row, row + b - a, before, own])
            row += b - a
    for n, (r0, r1, before, own) in enumerate(pieces):
        if own > 0:
            out.append(KernelCall(sequence, r0, r1, before, before + own, "causal"))
        if before > 0:
            if n > 0 and pieces[n - 1][2] == before:
                at = next(j for j in range(len(out) - 1, -1, -1) if out[j].kind == "full")
                out[at] = KernelCall(sequence, out[at].q0, r1, 0, before, "full")
            else:
                out.append(KernelCall(sequence, r0, r1, 0, before, "full"))
    return out


class Keys:
    """Key ranges of a sequence, and the row of each position among them."""

    def __init__(self, ranges):
        self.starts, self.ends = [s for s, _ in ranges], [e for _, e in ranges]
        self.first = [0, *accumulate(e - s for s, e in ranges)]

    def row(self, position: int) -> int:
        """Keys before a position."""
        i = bisect_right(self.starts, position) - 1
        return 0 if i < 0 else self.first[i] + min(position, self.ends[i]) - self.starts[i]

    def has(self, position: int) -> bool:
        i = bisect_right(self.starts, position) - 1
        return i >= 0 and position < self.ends[i]

    def bounds(self, low: int, high: int) -> list[int]:
        """Where ranges begin or end, strictly between two positions."""
        found = {
            c
            for bounds in (self.starts, self.ends)
            for c in bounds[bisect_right(bounds, low) : bisect_left(bounds, high)]
        }
        return sorted(found)


def near_calls(sequence: int, queries, row: int, ranges, mask: Mask) -> list[KernelCall]:
    """A local mask, for queries that don't see all keys before them. The sink tokens are one rectangle."""
    keys, size, out = Keys(ranges), mask.size, []
    sinks = keys.row(mask.sink_tokens)
    rows = count(queries)
    if sinks > 0 and rows > 0:
        out.append(KernelCall(sequence, row, row + rows, 0, sinks, "full"))

    def add(q0: int, q1: int, k0: int, k1: int, kind: str, times: int = 1, step: int = 0) -> None:
        if q0 < q1 and k0 < k1 and times > 0:
            kind = "full" if kind != "full" and q1 - q0 == 1 else kind
            out.append(KernelCall(sequence, q0, q1, k0, k1, kind, times, step if times > 1 else 0))

    for start, end in queries:
        # Between two cuts, either every query's position is among the keys (`own`), or none is.
        for a, b in pairwise([start, *keys.bounds(start, end), end]):
            own, at = keys.has(a), row + a - start
            # The first queries see keys before a; the others, if own, only keys of the piece.
            head = min(b, a + size if mask.kind == "window" else (a // size + 1) * size)
            n, before = head - a, keys.row(a)
            if mask.kind == "window":
                left_edge(sequence, at, a, head, keys, size, out)
            first = keys.row(mask.first_seen(head - 1))
            add(at, at + n, min(first, before), before, "full")
            if not own:
                continue
            add(at, at + n, before, before + n, "causal")
            # Squares along the diagonal, and between them in a window the upper triangles.
            at, k, (times, rest) = at + n, before + n, divmod(b - head, size)
            add(at, at + size, k, k + size, "causal", times, size)
            last, last_k = at + times * size, k + times * size
            add(last, last + rest, last_k, last_k + rest, "causal")
            if mask.kind == "window":
                edge = size - 1
                add(at, at + edge, k - edge, k, "anti", times, size)
                add(last, last + rest - 1, last_k - edge, last_k - edge + rest - 1, "anti")
                add(last, last + rest, last_k - edge + max(0, rest - 1), last_k, "full")
        row += end - start
    return out


def left_edge(sequence: int, row: int, a: int, end: int, keys: Keys, size: int, out: list[KernelCall]) -> None:
    """
    A window's left edge: queries a to `end`, at most W, against the keys that some see and the last does not.

    These keys lie before a. Between two cuts, the first key of a query either stays, or moves one on with each query.
    """
    back = size - 1
    last = keys.row(end - 1 - back)
    cuts = [a, *(c + back for c in keys.bounds(a - back, end - back)), end]
    if len(cuts) > MOST_EDGES:
        first = keys.row(a - back)
        starts = tuple(keys.row(p - back) - first for p in range(a, end))
        rows = bisect_left(starts, last - first)
        if rows > 0:
            out.append(KernelCall(sequence, row, row + rows, first, last, "band", starts=starts[:rows]))
        return
    for s, e in pairwise(cuts):
        q0, first, n = row + s - a, keys.row(s - back), e - s
        if keys.has(s - back):
            n = min(n, last - first)
            if n > 1:
                out.append(KernelCall(sequence, q0, q0 + n, first, first + n, "anti"))
            elif n == 1:
                out.append(KernelCall(sequence, q0, q0 + 1, first, first + 1, "full"))
            first += n
        if n > 0 and first < last:
            out.append(KernelCall(sequence, q0, q0 + n, first, last, "full"))


def split(call: KernelCall, pairs: int) -> list[KernelCall]:
    """
    The same work in calls of at most about `pairs` pairs.

    Rectangles and bands are cut by query rows, a batch between its members. A triangle becomes two triangles and the
    rectangle between them.
    """
    n, S = call.q1 - call.q0, call.step
    if call.times > 1:
        most = min(MOST_TIMES, pairs * call.times // call.pairs)
        if call.times <= most:
            return [call]
        if most > 0:
            return [
                replace(
                    call,
                    **moved(call, i * S, i * S),
                    times=min(most, call.times - i),
                    step=S if min(most, call.times - i) > 1 else 0,
                )
                for i in range(0, call.times, most)
            ]
        alone = [replace(call, **moved(call, i * S, i * S), times=1, step=0) for i in range(call.times)]
        return [part for one in alone for part in split(one, pairs)]
    if call.pairs <= pairs or n == 1:
        return [call]
    if call.kind in ("full", "band"):
        parts = min(n, -(-call.pairs // pairs))
        step = -(-n // parts)
        step = min(n, -(-step // 128) * 128) if step > 128 else step
        return [
            replace(call, q0=r, q1=min(r + step, call.q1), starts=call.starts[r - call.q0 : r - call.q0 + step])
            for r in range(call.q0, call.q1, step)
        ]
    half = n // 2
    middle, cut = call.q0 + half, call.k0 + half
    upper = replace(call, q1=middle, k1=cut)
    lower = replace(call, q0=middle, k0=cut)
    between = (
        replace(call, q0=middle, k1=cut, kind="full")
        if call.kind == "causal"
        else replace(call, q1=middle, k0=cut, kind="full")
    )
    return [part for c in (upper, between, lower) for part in split(c, pairs)]


def moved(call: KernelCall, rows: int, keys: int) -> dict[str, int]:
    """The bounds of a call, moved on."""
    return {"q0": call.q0 + rows, "q1": call.q1 + rows, "k0": call.k0 + keys, "k1": call.k1 + keys}
