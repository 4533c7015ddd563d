"""The kernel calls of a block: each visible pair in exactly one, and few of them."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ringside_worker.cuts import KernelCall, kernel_calls, split
from ringside_worker.layout import padded, shard
from ringside_worker.mask import CAUSAL, FULL, Mask


def sees(mask: Mask, p: int, key: int) -> bool:
    """By the definition of each mask, not by the worker's functions."""
    if mask.kind == "full":
        return True
    near = {"causal": True, "window": key > p - mask.size, "chunk": mask.size and key // mask.size == p // mask.size}
    return key <= p and (near[mask.kind] or key < mask.sink_tokens)


def visible(q, kv, mask: Mask) -> set:
    """(sequence, query row, key's row in its sequence) of every pair."""
    out = set()
    for i, start, end, row in q.runs():
        positions = [p for a, b in kv.ranges[i] for p in range(a, b)]
        out |= {
            (i, row + r, n) for r in range(end - start) for n, p in enumerate(positions) if sees(mask, start + r, p)
        }
    return out


def covered(calls: list[KernelCall]) -> list:
    """The pairs of the calls; each call agrees with its own count."""
    out = []
    for call in calls:
        assert call.kind in ("full", "band") or call.q1 - call.q0 == call.k1 - call.k0 > 0
        own = []
        for t in range(call.times):
            for r in range(call.q1 - call.q0):
                for k in range(call.k1 - call.k0):
                    if {
                        "full": True,
                        "causal": k <= r,
                        "anti": k >= r,
                        "band": bool(call.starts) and k >= call.starts[r],
                    }[call.kind]:
                        own.append((call.sequence, call.q0 + r + t * call.step, call.k0 + k + t * call.step))
        assert len(own) == call.pairs
        out += own
    return out


def test_head_tail_shards_take_one_call_a_hop():
    """
    Against this rank's keys: one square. Against an earlier rank's: all queries to its first chunk.

    Against a later rank's: the second chunk of the queries to all keys.
    """
    queries, keys = shard([(128, 0)], 4)
    for k in range(4):
        for s in range(4):
            expected = (
                KernelCall(0, 0, 32, 0, 32, "causal")
                if s == k
                else KernelCall(0, 0, 32, 0, 16, "full")
                if s < k
                else KernelCall(0, 16, 32, 0, 32, "full")
            )
            assert kernel_calls(queries[k], keys[s], CAUSAL) == [expected]


def test_a_long_window_takes_few_calls():
    """One rank: the head's triangles and rectangle, then two batches of triangles, and the rest."""
    (q,), (kv,) = shard([(1_000_000, 0)], 1)
    for size in (16, 1024, 4096):
        calls = kernel_calls(q, kv, Mask("window", size))
        assert len(calls) <= 8 and sum(call.pairs for call in calls) == Mask("window", size).pairs(1_000_000, 0)
    assert len(kernel_calls(q, kv, Mask("chunk", 8192, 4))) <= 6
    assert max(call.times for part in calls for call in split(part, 1 << 40)) <= 4096


masks = st.one_of(
    st.sampled_from([CAUSAL, FULL]),
    st.builds(Mask, st.sampled_from(["window", "chunk"]), st.integers(1, 30), st.integers(0, 9)),
)


@given(
    st.lists(st.tuples(st.integers(0, 24), st.integers(0, 20)), min_size=1, max_size=3),
    st.integers(1, 5),
    masks,
    st.integers(1, 60),
    st.sampled_from(["head-tail", "contiguous"]),
)
@settings(max_examples=400, deadline=None)
def test_calls_cover_each_visible_pair_once(sequences, ranks, mask, pairs, dealing):
    queries, keys = shard(sequences, ranks, dealing=dealing)
    seen = 0
    for q in queries:
        for kv in keys:
            calls = kernel_calls(q, kv, mask)
            parts = [part for call in calls for part in split(call, pairs)]
            for found in (covered(calls), covered(parts)):
                assert len(found) == len(set(found)) and set(found) == visible(q, kv, mask)
            assert all(part.pairs <= pairs + part.k1 - part.k0 for part in parts)
            seen += len(found)
    assert seen == sum(mask.pairs(T, P) for T, P in sequences)


@pytest.mark.parametrize("seed", range(60))
def test_keys_in_many_small_ranges(seed):
    """As decode steps leave them: the left edge becomes a band. Queries in one range or two."""
    chance = random.Random(seed)
    for _ in range(12):
        new, cached, ranks = chance.randint(1, 40), chance.randint(0, 90), chance.randint(1, 4)
        mask = Mask(chance.choice(["window", "chunk"]), chance.randint(1, 60), chance.choice([0, 0, 3]))
        owner = [chance.randrange(ranks) for _ in range(cached)]
        cut = cached + chance.randint(0, new)
        for rank in range(ranks):
            held = [(p, p + 1) for p in range(cached) if owner[p] == rank]
            joined = []
            for start, end in [*held, *chance.choice([[], [(cached, cut)], [(cut, cached + new)]])]:
                if joined and joined[-1][1] == start:
                    joined[-1] = (joined[-1][0], end)
                elif end > start:
                    joined.append((start, end))
            kv = padded([joined], [100])
            for ranges in ([(cached, cached + new)], [(cached, cut), (cut + 1, cached + new)]):
                q = padded([[r for r in ranges if r[0] < r[1]]], [50])
                calls = kernel_calls(q, kv, mask)
                parts = [part for call in calls for part in split(call, 25)]
                for found in (covered(calls), covered(parts)):
                    assert len(found) == len(set(found)) and set(found) == visible(q, kv, mask)
