"""
Who holds which token (section 4 of the paper; the same as engine/layout).

Positions count from 0 in a sequence, cached tokens first. A range is (start, end). A rank's rows of a sequence ascend
by position and lie next to each other.

Listing the ranges of many ranks and sequences takes seconds. So these loops take `check_cancelled`, which
raises Cancelled once the run is cancelled.
"""

from dataclasses import dataclass

Range = tuple[int, int]


def count(ranges) -> int:
    """Number of tokens in some ranges."""
    return sum(end - start for start, end in ranges)


def never_cancelled() -> None:
    """A `check_cancelled` for callers that nobody cancels."""


def chunk(length: int, ranks: int, c: int, offset: int = 0, dealing: str = "head-tail") -> Range:
    """
    Chunk c of the 2N of `length` tokens. If 2N doesn't divide the length, some chunks have one token more.

    With "head-tail" these are the first ones, with "contiguous" those that leave the ranks' shares even.
    """

    if dealing == "head-tail":
        small, larger = divmod(length, 2 * ranks)
        return offset + c * small + min(c, larger), offset + (c + 1) * small + min(c + 1, larger)
    # A rank's share is halved.
    small, larger = divmod(length, ranks)
    rank = c // 2
    start, end = rank * small + min(rank, larger), (rank + 1) * small + min(rank + 1, larger)
    middle = start + (end - start + 1) // 2
    return (offset + start, offset + middle) if c % 2 == 0 else (offset + middle, offset + end)


def chunk_bounds(new: int, cached: int, ranks: int, dealing: str) -> list[int]:
    """Positions at which the 2N chunks of a sequence's cached and of its new tokens begin."""
    parts = ((cached, 0), (new, cached))
    return [chunk(length, ranks, c, offset, dealing)[0] for length, offset in parts for c in range(2 * ranks)]


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


def dealt_to(dealing: str, length: int, ranks: int, rank: int, offset: int = 0) -> tuple[Range, ...]:
    """
    The ranges of one rank: with "head-tail" chunks C_rank and C_(2N-1-rank), which balances a causal mask.

    With "contiguous" C_(2 rank) and C_(2 rank + 1): neighbours then hold what a window sees.
    """
    pair = (2 * rank, 2 * rank + 1) if dealing == "contiguous" else (rank, 2 * ranks - 1 - rank)
    return joined([chunk(length, ranks, c, offset, dealing) for c in pair])


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


def nothing(whole: Block) -> Block:
    """No rows of a block."""
    return packed([()] * len(whole.ranges), 0)


def checking(items, check_cancelled):
    """The items; calls `check_cancelled` before each."""
    for item in items:
        check_cancelled()
        yield item


def equal_blocks(ranges, check_cancelled=never_cancelled) -> list[Block]:
    """A block for each rank, all with equally many rows, from the ranges of each rank and sequence."""
    lengths = [max(count(rank[i]) for rank in ranges) for i in checking(range(len(ranges[0])), check_cancelled)]
    return [padded(rank, lengths) for rank in checking(ranges, check_cancelled)]


def shard(
    sequences, ranks: int, check_cancelled=never_cancelled, dealing: str = "head-tail"
) -> tuple[list[Block], list[Block]]:
    """
    Query and KV blocks of every rank. `sequences` are (T, P).

    New tokens are dealt in 2N chunks, and so are the cached ones, as if they were another sequence.
    """
    fresh = [[dealt_to(dealing, T, ranks, k, P) for T, P in sequences] for k in checking(range(ranks), check_cancelled)]
    held = [
        [joined([*dealt_to(dealing, P, ranks, k), *fresh[k][i]]) for i, (_, P) in enumerate(sequences)]
        for k in checking(range(ranks), check_cancelled)
    ]
    return equal_blocks(fresh, check_cancelled), equal_blocks(held, check_cancelled)


def deal_prefill(length: int, offset: int, held: list[int], dealing: str = "head-tail") -> list[tuple[Range, ...]]:
    """
    Each rank's ranges of `length` new tokens.

    The i-th largest pair of chunks goes to the rank that holds the i-th fewest tokens.
    """
    ranks = len(held)
    pairs = [dealt_to(dealing, length, ranks, i, offset) for i in range(ranks)]
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
