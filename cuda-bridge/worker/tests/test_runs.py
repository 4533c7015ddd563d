"""Whole runs in one process, on simulated ranks."""

from itertools import pairwise

import pytest
from checks import attend, errors, seeded, single_pass_error
from ringside_worker import policy
from ringside_worker.engine import Engine
from ringside_worker.spans import HostClock, SimulatedTimeline, times_of


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("variant", ["pass-kv", "pass-q"])
def test_simulated_ranks_are_right(engine, ranks, variant):
    for sequences in (
        [{"new": 120, "cached": 0}, {"new": 239, "cached": 113}],
        [{"new": 1, "cached": 799}],
        [{"new": 7, "cached": 0}, {"new": 2, "cached": 2}],
    ):
        p, report, tensors, spans = attend(
            engine, ranks=ranks, variant=variant, sequences=sequences, heads=8, kvHeads=2
        )
        assert max(errors(p, tensors)) <= 2e-6
        assert report["simulated"] is (ranks > 1) and ("simulated" in " ".join(report["notes"])) is (ranks > 1)
        assert sum(s["flops"] for s in spans) == report["flops"]


@pytest.mark.parametrize("dtype", ["bf16", "f16"])
@pytest.mark.parametrize("variant", ["pass-kv", "pass-q"])
def test_sixteen_bit_rings_err_at_most_twice_the_single_call(engine, dtype, variant):
    for ranks in (2, 4, 16):
        p, _, tensors, _ = attend(
            engine, ranks=ranks, variant=variant, dtype=dtype, sequences=[{"new": 1024, "cached": 0}], headDim=128
        )
        once = single_pass_error(p)
        for found, single in zip(errors(p, tensors), once):
            assert found <= 2 * single + 1e-3


def test_sliced_runs_are_right(monkeypatch):
    engine = Engine.start(device="cpu", slice_seconds=1e-5)
    for variant in ("pass-kv", "pass-q"):
        p, _, tensors, spans = attend(engine, ranks=3, variant=variant, sequences=[{"new": 700, "cached": 300}])
        assert len([s for s in spans if s["kind"] == "attend"]) > 3 * 3 * 3
        assert max(errors(p, tensors)) <= 2e-6


def test_traffic_is_the_typescript_engine_s(engine):
    """Message sizes by hand: L_i is rounded up for each rank, K and V are in the compute type, padding counts."""
    _, report, _, _ = attend(engine, ranks=4, sequences=[{"new": 10, "cached": 0}], dtype="bf16")
    assert [t["ring"]["bytes"] for t in report["perRank"]] == [3 * 3 * 2 * 2 * 32 * 2] * 4  # 3 messages of 3 rows
    # 12 rows hold 10 tokens, and each block's padding travels 3 times.
    assert sum(t["paddingBytes"] for t in report["perRank"]) == 3 * 2 * 2 * 2 * 32 * 2
    _, report, _, _ = attend(engine, ranks=4, sequences=[{"new": 10, "cached": 0}], dtype="bf16", variant="pass-q")
    assert [t["all2all"]["bytes"] for t in report["perRank"]] == [3 * 3 * 4 * (32 * 2 + 4)] * 4


def test_the_link_model_lays_transfers_beside_attention(engine):
    """On a very slow link the run takes N-1 transfers in a row, plus the first attention and the last."""
    bytes = 64 * 2 * 2 * 32 * 4
    link = {"bandwidth": bytes / 50, "latency": 10}
    _, report, _, spans = attend(engine, ranks=4, sequences=[{"new": 256, "cached": 0}], link=link)
    assert 3 * 60 <= report["times"]["total"] <= 3 * 60 + 30
    assert report["times"]["exchange"] > 150
    for s in spans:
        if s["kind"] == "send":
            assert s["duration"] == pytest.approx(60) and s["bytes"] == bytes
    by_rank = [s for s in spans if s["rank"] == 2 and s["lane"] == "device"]
    assert all(a["start"] + a["duration"] <= b["start"] + 1e-9 for a, b in pairwise(by_rank))


def test_simulated_time_by_hand():
    """
    Two ranks, kernels of 2 s and 1 s, transfers of 1.5 s.

    On its second hop rank 1 waits half a second for rank 0's chunk.
    """
    clock, spans = HostClock(), []
    timeline = SimulatedTimeline(clock, 2, {"bandwidth": 10, "latency": 0.5}, spans.append)
    for k, seconds in ((0, 2.0), (1, 1.0)):
        timeline.send(k, 1 - k, "ring", 0, 10)
        timeline.device(k, "attend", 0, 0.0, seconds)
    for k in range(2):
        timeline.arrive(k, 0)
        timeline.device(k, "attend", 1, 0.0, 1.0)
    timeline.drain(everything=True)
    assert timeline.end == 3.0
    assert [(s["rank"], s["start"], s["duration"]) for s in spans if s["kind"] == "wait"] == [(1, 1.0, 0.5)]
    assert times_of(spans, timeline.end) == {
        "compile": 0,
        "upload": 0,
        "attend": 3.0,
        "exchange": 0.5,
        "merge": 0,
        "total": 3.0,
    }


def test_auto_follows_algorithm_5(engine):
    few, many = [{"new": 16, "cached": 1000}], [{"new": 512, "cached": 0}]
    rates = {"flops": 8e14, "bandwidth": 5e10}
    for sequences, variant in ((few, "pass-q"), (many, "pass-kv")):
        _, report, _, _ = attend(engine, ranks=2, variant="auto", sequences=sequences, heads=16, kvHeads=1, rates=rates)
        assert report["variant"] == variant == report["choice"]["variant"] and "Eq. 2" in report["choice"]["reason"]
    # Table 4's border at peak rates: T = 3200 is an exact tie, 1280 gives pass-Q, 4160 pass-KV.
    chosen = [policy.choose(T, 128000 - T, 4, 128, 8, 2, 8e14, 5e10)[0] for T in (1280, 4160, 12800)]
    assert chosen == ["pass-q", "pass-kv", "pass-kv"]


def test_seeded_inputs_are_made_as_asked(engine):
    """The checks make the same q, k and v: a run with them as given tensors equals the seeded run bit for bit."""
    p, _, tensors, _ = attend(engine, ranks=3, sequences=[{"new": 30, "cached": 11}, {"new": 5, "cached": 0}])
    q, k, v = seeded(p)
    plain = {key: value for key, value in p.items() if key != "seed"}
    _, again = engine.run("attend", plain, {"q": q, "k": k, "v": v}, lambda e: None, lambda: False)
    assert (again["out"] == tensors["out"]).all() and (again["lse"] == tensors["lse"]).all()
