"""
What travels: which rows of a message some later rank needs. engine/ring/route.ts in Python, to the same bytes.

Under a causal or full mask every message is whole, as in the paper. Under a local one, a chunk of 1/2N of a sequence's
tokens is dropped once no later rank's query sees a key of it (in pass-KV), or it sees no later rank's key (in pass-Q).
This depends only on the mask and on who holds what, so all ranks agree on what comes.
"""

from bisect import bisect_left, bisect_right
from itertools import pairwise

from .layout import Block, Range, checking, chunk_bounds, count, joined, never_cancelled, nothing, packed
from .mask import Mask

Ranges = tuple[Range, ...]


class Route:
    """
    The messages of one job's ring. The job's `keys` travel in pass-KV, its `queries` in pass-Q.

    We keep how far each chunk travels, but no message: those of many ranks and sequences would fill the memory.
    """

    def __init__(self, job, check_cancelled=never_cancelled):
        self._job, self._check_cancelled = job, check_cancelled
        self._mask, self._size, self._pass_kv = job.mask, job.ranks, job.variant == "pass-kv"
        self._visitors, self._residents = (job.keys, job.queries) if self._pass_kv else (job.queries, job.keys)
        self._bounds: dict[int, list[int]] = {}
        self._reach: dict[int, list[list[tuple[Range, int]]]] = {}

    def sent(self, rank: int, hop: int) -> Block:
        """The rows that `rank` sends on at `hop`; none if no later rank needs any."""
        owner = (rank - hop) % self._size
        if hop == self._size - 1:
            return nothing(self._visitors[owner])
        return self._kept(owner, lambda i, chunk, reach: reach > hop)

    def parcel(self, rank: int, owner: int) -> Block:
        """The rows of `owner`'s queries whose partial results `rank` sends home in pass-Q."""
        return self._kept(owner, lambda i, chunk, reach: self._needs(rank, i, chunk))

    def own(self, rank: int) -> Block:
        """A rank's own block, all of it."""
        return self._visitors[rank]

    def _kept(self, owner: int, wanted) -> Block:
        """The wanted chunks of `owner`'s block in adjacent rows, or the block itself if all are wanted."""
        whole = self._visitors[owner]
        if not self._mask.is_local:
            return whole
        kept, all_of_it = [], whole.tokens > 0  # a block of padding alone doesn't travel
        for i, chunks in enumerate(checking(self._reach_of(owner), self._check_cancelled)):
            some = [chunk for chunk, reach in chunks if wanted(i, chunk, reach)]
            all_of_it &= len(some) == len(chunks)
            kept.append(joined(some))
        return whole if all_of_it else packed(kept, sum(count(own) for own in kept))

    def _reach_of(self, owner: int) -> list[list[tuple[Range, int]]]:
        """Each chunk of `owner`'s block by sequence, and the last hop at which a rank needs it."""
        if owner not in self._reach:
            later = [(hop, (owner + hop) % self._size) for hop in range(self._size - 1, 0, -1)]
            self._reach[owner] = [
                [
                    (chunk, next((hop for hop, rank in later if self._needs(rank, i, chunk)), 0))
                    for run in own
                    for chunk in in_chunks(run, self._bounds_of(i))
                ]
                for i, own in enumerate(checking(self._visitors[owner].ranges, self._check_cancelled))
            ]
        return self._reach[owner]

    def _bounds_of(self, sequence: int) -> list[int]:
        if sequence not in self._bounds:
            T, P = self._job.sequences[sequence]
            self._bounds[sequence] = chunk_bounds(T, P, self._size, self._job.dealing)
        return self._bounds[sequence]

    def _needs(self, rank: int, sequence: int, chunk: Range) -> bool:
        """Whether the rows that stay on `rank` meet a chunk that visits."""
        residents = self._residents[rank].ranges[sequence]
        if self._pass_kv:
            return any_query_sees(self._mask, residents, chunk)
        return sees_any_key(self._mask, chunk, residents)


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
