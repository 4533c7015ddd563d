"""Who holds which token, and the kernel calls of a block."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from ringside_worker import layout


def test_layout_vectors():
    tokens = lambda block: [p for _, start, end, _ in block.runs() for p in range(start, end)]
    queries, _ = layout.shard([(8, 0)], 2)
    assert [tokens(b) for b in queries] == [[0, 1, 6, 7], [2, 3, 4, 5]]
    queries, keys = layout.shard([(8, 0), (8, 0)], 2)
    assert [[8 * i + p for i, s, e, _ in b.runs() for p in range(s, e)] for b in queries] == [
        [0, 1, 6, 7, 8, 9, 14, 15],
        [2, 3, 4, 5, 10, 11, 12, 13],
    ]
    queries, keys = layout.shard([(8, 8)], 2)
    assert tokens(queries[0]) == [8, 9, 14, 15] and tokens(keys[0]) == [0, 1, 6, 7, 8, 9, 14, 15]
    assert layout.deal_decode([[3, 3, 3], [4, 3, 4], [2, 2, 2]], 1) == [2, 1, 0]


def test_head_tail_shards_take_one_call_a_hop():
    """
    Against this rank's keys: one square. Against an earlier rank's: all queries to its first chunk.

    Against a later rank's: the second chunk of the queries to all keys.
    """
    queries, keys = layout.shard([(128, 0)], 4)
    for k in range(4):
        for s in range(4):
            expected = (
                layout.KernelCall(0, 0, 32, 0, 32, True)
                if s == k
                else layout.KernelCall(0, 0, 32, 0, 16, False)
                if s < k
                else layout.KernelCall(0, 16, 32, 0, 32, False)
            )
            assert layout.kernel_calls(queries[k], keys[s], True) == [expected]


@given(
    st.lists(st.tuples(st.integers(0, 24), st.integers(0, 20)), min_size=1, max_size=3),
    st.integers(1, 5),
    st.booleans(),
    st.integers(1, 60),
)
@settings(max_examples=150, deadline=None)
def test_calls_cover_each_visible_pair_once(sequences, ranks, causal, pairs):
    queries, keys = layout.shard(sequences, ranks)
    seen = 0
    for q in queries:
        for kv in keys:
            visible = set()
            for i, start, end, row in q.runs():
                positions = [p for a, b in kv.ranges[i] for p in range(a, b)]
                visible |= {
                    (i, row + r, n)
                    for r in range(end - start)
                    for n, p in enumerate(positions)
                    if not causal or p <= start + r
                }
            found = []
            for call in (part for c in layout.kernel_calls(q, kv, causal) for part in layout.split(c, pairs)):
                assert not call.causal or call.q1 - call.q0 == call.k1 - call.k0
                own = [
                    (call.sequence, r, k)
                    for r in range(call.q0, call.q1)
                    for k in range(call.k0, call.k1)
                    if not call.causal or k - call.k0 <= r - call.q0
                ]
                assert len(own) == call.pairs
                found += own
            assert len(found) == len(set(found)) and set(found) == visible
            seen += len(found)
    assert seen == sum(T * P + T * (T + 1) // 2 if causal else T * (T + P) for T, P in sequences)


def test_any_steps_keep_a_sequence_even_over_the_ranks():
    chance = random.Random(5)
    for ranks in (2, 3, 5):
        held, length = [0] * ranks, 0
        for step in range(40):
            if length and chance.random() < 0.5:
                held[layout.deal_decode([held], step)[0]] += 1
                length += 1
            else:
                new = chance.randrange(1, 30)
                dealt = layout.deal_prefill(new, length, held)
                assert sorted(p for own in dealt for a, b in own for p in range(a, b)) == list(
                    range(length, length + new)
                )
                held, length = [h + layout.count(own) for h, own in zip(held, dealt)], length + new
            assert max(held) - min(held) <= 1
