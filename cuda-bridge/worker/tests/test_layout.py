"""Who holds which token."""

import random

import pytest
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


@pytest.mark.parametrize("dealing", ["head-tail", "contiguous"])
def test_any_steps_keep_a_sequence_even_over_the_ranks(dealing):
    chance = random.Random(5)
    for ranks in (2, 3, 5):
        held, length = [0] * ranks, 0
        for step in range(40):
            if length and chance.random() < 0.5:
                held[layout.deal_decode([held], step)[0]] += 1
                length += 1
            else:
                new = chance.randrange(1, 30)
                dealt = layout.deal_prefill(new, length, held, dealing)
                assert sorted(p for own in dealt for a, b in own for p in range(a, b)) == list(
                    range(length, length + new)
                )
                held, length = [h + layout.count(own) for h, own in zip(held, dealt)], length + new
            assert max(held) - min(held) <= 1
