"""Masks over gloo with 1, 2 and 4 processes: against float64, and the same messages as simulated ranks."""

import pytest
import worlds
from checks import attend

BAR = 5e-6


@pytest.fixture(scope="module", params=[1, 2, 4])
def world(request):
    return request.param, worlds.result(worlds.start(request.param, "masked,windowed"), timeout=240)


def test_every_mask_is_right(world):
    found = world[1]["masked"]
    assert found["worst"] <= BAR and found["bf16"] <= 0.03


def test_sessions_with_a_local_mask(world):
    assert world[1]["windowed"] <= BAR


def test_processes_send_what_simulated_ranks_count(engine, world):
    for variant, (skipped, per_rank) in zip(("pass-kv", "pass-q"), world[1]["masked"]["facts"]):
        _, report, _, _ = attend(
            engine,
            sequences=[{"new": 128, "cached": 31}],
            mask={"kind": "window", "size": 16},
            variant=variant,
            ranks=world[0],
            dealing="contiguous",
        )
        assert report["skipped"] == skipped and report["perRank"] == per_rank
        assert world[0] == 1 or skipped["bytes"] > 0
