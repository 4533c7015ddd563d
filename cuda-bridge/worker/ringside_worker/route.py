"""
What travels: which rows of a message some later rank needs. engine/ring/route.ts in Python, to the same bytes.

Under a causal or full mask every message is whole, as in the paper. Under a local one, a chunk of 1/2N of a sequence's
tokens is dropped once no later rank's query sees a key of it (in pass-KV), or it sees no later rank's key (in pass-Q).
All of it follows from who holds what and the mask, so all ranks agree on what comes.
"""

from bisect import bisect_left, bisect_right
from itertools import pairwise

from .layout import Block, Range, checking, chunk_bounds, joined, never_cancelled, packed
from .mask import Mask

Ranges = tuple[Range, ...]


class Route:
    """The messages of one job's ring. The job's `keys` travel in pass-KV, its `queries` in pass-Q."""

    def __init__(self, job, check_cancelled=never_cancelled):
        self._job, self._check_cancelled = job, check_cancelled
        self._mask, self._size, self._pass_kv = job.mask, job.ranks, job.variant == "pass-kv"
        self._visitors, self._residents = (job.keys, job.queries) if self._pass_kv else (job.queries, job.keys)
        self._bounds: dict[int, list[int]] = {}
        self._found: dict[tuple[int, tuple[int, ...]], Block] = {}

    def sent(self, rank: int, hop: int) -> Block:
        """The rows that `rank` sends on at `hop`; none if no later rank needs any."""
        later = tuple((rank + 1 + i) % self._size for i in range(self._size - 1 - hop))
        return self._some((rank - hop) % self._size, later)

    def parcel(self, rank: int, owner: int) -> Block:
        """The rows of `owner`'s queries whose partial results `rank` sends home in pass-Q."""
        return self._some(owner, (rank,))

    def own(self, rank: int) -> Block:
        """A rank's own block, all of it."""
        return self._visitors[rank]

    def _some(self, owner: int, ranks: tuple[int, ...]) -> Block:
        """The chunks of `owner`'s block that the rows of some of `ranks` meet, in adjacent rows."""
        whole = self._visitors[owner]
        if not ranks:
            return packed([()] * len(whole.ranges), 0)
        if not self._mask.is_local:
            return whole
        if (owner, ranks) not in self._found:
            self._found[owner, ranks] = self._kept(whole, ranks)
        return self._found[owner, ranks]

    def _kept(self, whole: Block, ranks: tuple[int, ...]) -> Block:
        kept, all_of_it = [], whole.tokens > 0  # a block of padding alone doesn't travel
        for i, own in enumerate(checking(whole.ranges, self._check_cancelled)):
            parts = [part for one in own for part in in_chunks(one, self._bounds_of(i))]
            wanted = [p for p in parts if any(self._meets(p, self._residents[k].ranges[i]) for k in ranks)]
            all_of_it &= len(wanted) == len(parts)
            kept.append(joined(wanted))
        return whole if all_of_it else packed(kept, sum(end - start for own in kept for start, end in own))

    def _bounds_of(self, sequence: int) -> list[int]:
        if sequence not in self._bounds:
            T, P = self._job.sequences[sequence]
            self._bounds[sequence] = chunk_bounds(T, P, self._size, self._job.dealing)
        return self._bounds[sequence]

    def _meets(self, visitor: Range, residents: Ranges) -> bool:
        return (
            any_query_sees(self._mask, residents, visitor)
            if self._pass_kv
            else sees_any_key(self._mask, visitor, residents)
        )


def in_chunks(run: Range, bounds: list[int]) -> list[Range]:
    """A range, cut where chunks begin."""
    start, end = run
    cuts = [start, *sorted({c for c in bounds[bisect_right(bounds, start) : bisect_left(bounds, end)]}), end]
    return list(pairwise(cuts))


def sees(mask: Mask, queries: Range, keys: Range) -> bool:
    """Whether some query of a range sees some key of another one of its sequence."""
    # The first query at or after the first key reaches back farthest of those that see any.
    first = max(queries[0], keys[0])
    if first >= queries[1]:
        return False
    return mask.first_seen(first) < keys[1] or keys[0] < mask.sink_tokens


def any_query_sees(mask: Mask, queries: Ranges, keys: Range) -> bool:
    """The same for ascending ranges of queries: the first that ends after the first key reaches back farthest."""
    i = bisect_right(queries, keys[0], key=lambda run: run[1])
    return i < len(queries) and sees(mask, queries[i], keys)


def sees_any_key(mask: Mask, queries: Range, keys: Ranges) -> bool:
    """The same for ascending ranges of keys: the last before the queries' end is nearest, the first has sink tokens."""
    i = bisect_left(keys, queries[1], key=lambda run: run[0])
    return i > 0 and (sees(mask, queries, keys[i - 1]) or sees(mask, queries, keys[0]))


def shared(source: Block, target: Block) -> list[tuple[int, int, int]]:
    """(row in `source`, row in `target`, rows) of the tokens that two blocks share."""
    out = []
    for i, wanted in enumerate(target.ranges):
        held, row, j = source.ranges[i], target.first[i], 0
        at = source.first[i]
        for start, end in wanted:
            while j < len(held) and held[j][1] <= start:
                at += held[j][1] - held[j][0]
                j += 1
            n, to = j, at
            while n < len(held) and held[n][0] < end:
                first, last = max(start, held[n][0]), min(end, held[n][1])
                out.append((to + first - held[n][0], row + first - start, last - first))
                to += held[n][1] - held[n][0]
                n += 1
            row += end - start
    return out
