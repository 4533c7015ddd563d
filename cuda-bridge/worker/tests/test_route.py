"""What travels: the engine's messages, and a rule that equals trying every pair."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ringside_worker.job import Job
from ringside_worker.layout import Block, joined, packed, padded
from ringside_worker.mask import Mask
from ringside_worker.route import Route, any_query_sees, sees_any_key, shared

CASES = json.loads((Path(__file__).parent / "routes.json").read_text())


def read_mask(text: str) -> dict:
    kind, _, rest = text.partition(":")
    size, _, sinks = rest.partition("+")
    return {"kind": kind, **({"size": int(size)} if size else {}), **({"sinkTokens": int(sinks)} if sinks else {})}


def say(block: Block) -> str:
    return f"{' '.join(f'{i}:{start}-{end}' for i, start, end, _ in block.runs())} = {block.rows}"


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['mask']}-{c['variant']}-{c['ranks']}")
def test_the_engine_sends_the_same(case):
    ranks = case["ranks"]
    p = {"heads": 2, "kvHeads": 1, "headDim": 16, "dtype": "f32", "mask": read_mask(case["mask"])}
    p |= {name: case[name] for name in ("ranks", "dealing", "variant")}
    p["sequences"] = [{"new": T, "cached": P} for T, P in case["sequences"]]
    route = Route(Job.of_attend(p, 1))
    assert [[say(route.sent(k, hop)) for hop in range(ranks - 1)] for k in range(ranks)] == case["sent"]
    assert [[say(route.parcel(k, owner)) for owner in range(ranks)] for k in range(ranks)] == case["parcels"]


def ranges(chance) -> tuple:
    """Some ascending ranges of 40 positions."""
    held = chance.draw(st.sets(st.integers(0, 39), min_size=1))
    return joined([(p, p + 1) for p in sorted(held)])


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_one_comparison_equals_all_pairs(chance):
    mask = Mask(
        chance.draw(st.sampled_from(["window", "chunk"])),
        chance.draw(st.integers(1, 20)),
        chance.draw(st.integers(0, 4)),
    )
    start = chance.draw(st.integers(0, 39))
    visitor, residents = (start, start + chance.draw(st.integers(1, 9))), ranges(chance)

    def any_pair(queries, keys) -> bool:
        return any(
            key <= p and (key >= mask.first_seen(p) or key < mask.sink_tokens)
            for a, b in queries
            for p in range(a, b)
            for c, d in keys
            for key in range(c, d)
        )

    assert any_query_sees(mask, residents, visitor) == any_pair(residents, [visitor])
    assert sees_any_key(mask, visitor, residents) == any_pair([visitor], residents)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_rows_are_copied_to_their_tokens(chance):
    whole = [ranges(chance), ranges(chance)]
    kept = [joined([r for r in own if chance.draw(st.booleans())]) for own in whole]
    source, target = padded(whole, [45, 41]), packed(kept, 90)
    rows = {(i, p): row + p - start for i, start, end, row in source.runs() for p in range(start, end)}
    out = torch.full((90,), -1)
    for at, to, n in shared(source, target):
        out[to : to + n] = torch.arange(at, at + n)
    for i, start, end, row in target.runs():
        assert out[row : row + end - start].tolist() == [rows[i, p] for p in range(start, end)]
    assert (out >= 0).sum() == target.tokens
