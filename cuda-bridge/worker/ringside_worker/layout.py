"""
Who holds which token (section 4 of the paper; the same as engine/layout), and the kernel calls of a causal block.

Positions count from 0 in a sequence, cached tokens first. A range is (start, end). A rank's rows of a sequence ascend
by position and lie next to each other.

Listing the ranges or calls of many ranks and sequences takes seconds. So these loops take `check_cancelled`, which
raises Cancelled once the run is cancelled.
"""

from dataclasses import dataclass
from itertools import pairwise

Range = tuple[int, int]


def count(ranges) -> int:
    """Number of tokens in some ranges."""
    return sum(end - start for start, end in ranges)


def never_cancelled() -> None:
    """A `check_cancelled` for callers that nobody cancels."""


def chunk(length: int, ranks: int, c: int, offset: int = 0) -> Range:
    """Chunk c of the 2N of `length` tokens. If 2N doesn't divide the length, the first chunks have one token more."""
    small, larger = divmod(length, 2 * ranks)
    return offset + c * small + min(c, larger), offset + (c + 1) * small + min(c + 1, larger)


def chunks(length: int, ranks: int, offset: int = 0) -> list[Range]:
    """All 2N of them."""
    return [chunk(length, ranks, c, offset) for c in range(2 * ranks)]


def joined(ranges) -> tuple[Range, ...]:
    """Ascending ranges, without empty ones and with touching ones joined."""
    out: list[Range] = []
    for start, end in ranges:
        if end <= start:
            continue
        if out and out[-1][1] == start:
            out[-1] = (out[-1][0], end)
        else:
            out.append((start, end))
    return tuple(out)


def head_tail(length: int, ranks: int, rank: int, offset: int = 0) -> tuple[Range, ...]:
    """The ranges of one rank: chunks C_rank and C_(2N-1-rank)."""
    return joined([chunk(length, ranks, rank, offset), chunk(length, ranks, 2 * ranks - 1 - rank, offset)])


@dataclass(frozen=True)
class Block:
    """What a message or operand holds: `ranges[i]` of sequence i from row `first[i]` on. All other rows are padding."""

    ranges: tuple[tuple[Range, ...], ...]
    first: tuple[int, ...]
    rows: int

    @property
    def tokens(self) -> int:
        return sum(count(r) for r in self.ranges)

    def runs(self):
        """(sequence, start, end, row) of every range."""
        for i, own in enumerate(self.ranges):
            row = self.first[i]
            for start, end in own:
                yield i, start, end, row
                row += end - start


def padded(ranges, lengths) -> Block:
    """Each sequence padded to `lengths[i]` rows (Algorithm 2's L_i)."""
    first, row = [], 0
    for length in lengths:
        first.append(row)
        row += length
    return Block(tuple(tuple(r) for r in ranges), tuple(first), row)


def packed(ranges, rows: int) -> Block:
    """Sequences without padding between them; the whole is padded to `rows` (decode)."""
    first, row = [], 0
    for own in ranges:
        first.append(row)
        row += count(own)
    return Block(tuple(tuple(r) for r in ranges), tuple(first), rows)


def checking(items, check_cancelled):
    """The items; calls `check_cancelled` before each."""
    for item in items:
        check_cancelled()
        yield item


def equal_blocks(ranges, check_cancelled=never_cancelled) -> list[Block]:
    """A block for each rank, all with equally many rows, from the ranges of each rank and sequence."""
    lengths = [max(count(rank[i]) for rank in ranges) for i in checking(range(len(ranges[0])), check_cancelled)]
    return [padded(rank, lengths) for rank in checking(ranges, check_cancelled)]


def shard(sequences, ranks: int, check_cancelled=never_cancelled) -> tuple[list[Block], list[Block]]:
    """
    Query and KV blocks of every rank. `sequences` are (T, P).

    New tokens are dealt in 2N chunks, and so are the cached ones, as if they were another sequence.
    """
    fresh = [[head_tail(T, ranks, k, P) for T, P in sequences] for k in checking(range(ranks), check_cancelled)]
    held = [
        [joined([*head_tail(P, ranks, k), *fresh[k][i]]) for i, (_, P) in enumerate(sequences)]
        for k in checking(range(ranks), check_cancelled)
    ]
    return equal_blocks(fresh, check_cancelled), equal_blocks(held, check_cancelled)


def deal_prefill(length: int, offset: int, held: list[int]) -> list[tuple[Range, ...]]:
    """
    Each rank's ranges of `length` new tokens.

    The i-th largest pair of chunks goes to the rank that holds the i-th fewest tokens.
    """
    ranks = len(held)
    pairs = [head_tail(length, ranks, i, offset) for i in range(ranks)]
    largest = sorted(range(ranks), key=lambda i: (-count(pairs[i]), i))
    fewest = sorted(range(ranks), key=lambda k: (held[k], k))
    dealt: list[tuple[Range, ...]] = [()] * ranks
    for i, rank in enumerate(fewest):
        dealt[rank] = pairs[largest[i]]
    return dealt


def deal_decode(held: list[list[int]], step: int, check_cancelled=never_cancelled) -> list[int]:
    """
    Owners of one decode step's tokens (Algorithm 4). `held[b]` are the ranks' token counts of sequence b.

    A token goes to a rank that holds the fewest, first choice (b + step) mod N. If sequences compete for a rank, a
    matching keeps every rank at ceil(B / N) queries where possible.
    """
    ranks, share = len(held[0]), -(-len(held) // len(held[0]))
    owners, queries = [-1] * len(held), [0] * ranks
    fewest = [min(counts) for counts in held]
    candidates = [
        [r for i in range(ranks) if counts[r := (b + step + i) % ranks] == fewest[b]]
        for b, counts in enumerate(checking(held, check_cancelled))
    ]

    def place(b: int, tried: set[int]) -> bool:
        for rank in candidates[b]:
            if rank in tried:
                continue
            tried.add(rank)
            if queries[rank] < share:
                queries[rank] += 1
            elif not any(owner == rank and other != b and place(other, tried) for other, owner in enumerate(owners)):
                continue
            owners[b] = rank
            return True
        return False

    for b in checking(range(len(held)), check_cancelled):
        if not place(b, set()):
            owners[b] = min(candidates[b], key=lambda r: queries[r])
            queries[owners[b]] += 1
    return owners


@dataclass(frozen=True)
class KernelCall:
    """
    One kernel call: query rows q0 <= r < q1 of a block against keys k0 <= k < k1 of their sequence.

    Keys count from the first row of the sequence. `causal` calls are square.
    """

    sequence: int
    q0: int
    q1: int
    k0: int
    k1: int
    causal: bool

    @property
    def pairs(self) -> int:
        """Visible query-key pairs. Attention costs 4 D FLOPs for each pair and query head."""
        n = self.q1 - self.q0
        return n * (n + 1) // 2 if self.causal else n * (self.k1 - self.k0)


def kernel_calls(q: Block, kv: Block, causal: bool) -> list[KernelCall]:
    """
    The mask of a query block against a KV block, as full and square causal calls that cover each visible pair once.

    A query at position p sees keys at positions <= p. So each row sees a prefix of its sequence's key rows, and the
    prefixes grow along the rows: a staircase. We cut the queries where key ranges begin and end. Each piece then sees a
    rectangle, and a square on top of it if the piece's own positions are among the keys. Pieces that continue each
    other's square become one square (a rank's two chunks against its own). Pieces with the same rectangle become one
    rectangle.
    """
    out: list[KernelCall] = []
    for i, queries in enumerate(q.ranges):
        keys, row = kv.ranges[i], q.first[i]
        held = count(keys)
        if held == 0 or not queries:
            continue
        if not causal:
            out.append(KernelCall(i, row, row + count(queries), 0, held, False))
            continue
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
                out.append(KernelCall(i, r0, r1, before, before + own, True))
            if before > 0:
                if n > 0 and pieces[n - 1][2] == before:
                    at = next(j for j in range(len(out) - 1, -1, -1) if not out[j].causal)
                    out[at] = KernelCall(i, out[at].q0, r1, 0, before, False)
                else:
                    out.append(KernelCall(i, r0, r1, 0, before, False))
    return out


def split(call: KernelCall, pairs: int) -> list[KernelCall]:
    """
    The same work in calls of at most about `pairs` pairs.

    Rectangles are cut by query rows; a square becomes two squares and the rectangle between them.
    """
    n = call.q1 - call.q0
    if call.pairs <= pairs or n == 1:
        return [call]
    if not call.causal:
        parts = min(n, -(-call.pairs // pairs))
        step = -(-n // parts)
        step = min(n, -(-step // 128) * 128) if step > 128 else step
        return [
            KernelCall(call.sequence, r, min(r + step, call.q1), call.k0, call.k1, False)
            for r in range(call.q0, call.q1, step)
        ]
    half = n // 2
    middle, cut = call.q0 + half, call.k0 + half
    upper = KernelCall(call.sequence, call.q0, middle, call.k0, cut, True)
    between = KernelCall(call.sequence, middle, call.q1, call.k0, cut, False)
    lower = KernelCall(call.sequence, middle, call.q1, cut, call.k1, True)
    return [part for c in (upper, between, lower) for part in split(c, pairs)]
