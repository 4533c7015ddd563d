"""Every mask, with sinks, dealings and values of other sizes, on simulated ranks, against float64."""

import pytest
from checks import attend, attend_params, errors
from ringside_worker.choice import resolved
from ringside_worker.errors import Cancelled

BAR = 2e-5
BATCH = [{"new": 37, "cached": 0}, {"new": 13, "cached": 51}, {"new": 0, "cached": 9}, {"new": 1, "cached": 30}]
MASKS = [
    {"kind": "causal"},
    {"kind": "full"},
    *({"kind": kind, "size": size} for kind in ("window", "chunk") for size in (1, 2, 16, 37, 200)),
    {"kind": "window", "size": 8, "sinkTokens": 3},
    {"kind": "chunk", "size": 8, "sinkTokens": 10},
    {"kind": "window", "size": 5, "sinkTokens": 60},
]


def name(x) -> str:
    return ":".join(str(value) for value in x.values()) if isinstance(x, dict) else str(x)


@pytest.mark.parametrize("mask", MASKS, ids=name)
@pytest.mark.parametrize("variant", ["pass-kv", "pass-q"])
def test_simulated_ranks_are_right(engine, mask, variant):
    for ranks, dealing, more in (
        (1, "head-tail", {}),
        (2, "head-tail", {"sinks": [-50.0, 0.0, 50.0, 1.5]}),
        (3, "contiguous", {"valueDim": 16}),
        (4, "head-tail", {"valueDim": 64, "sinks": [0.0] * 4}),
        (4, "contiguous", {"valueDim": 20, "valuesInKeys": True}),
    ):
        p, report, tensors, spans = attend(
            engine,
            sequences=BATCH,
            mask=mask,
            causal=mask["kind"] != "full",
            variant=variant,
            ranks=ranks,
            dealing=dealing,
            **more,
        )
        assert max(errors(p, tensors)) <= BAR, (ranks, dealing, more)
        assert (report["mask"], report["dealing"], report["sinks"]) == (mask, dealing, "sinks" in more)
        assert sum(s["flops"] for s in spans) == report["flops"]
        assert report["causal"] == (mask["kind"] != "full")
        assert report["shape"]["valueDim"] == p.get("valueDim", 32)
        assert report["shape"]["valuesInKeys"] == ("valuesInKeys" in more)


def test_keys_with_their_values_and_large_heads(engine):
    """MLA in its absorbed form: one KV head, K of 576 and V its first 512 elements."""
    p, _, tensors, _ = attend(
        engine,
        sequences=[{"new": 20, "cached": 9}],
        heads=4,
        kvHeads=1,
        headDim=576,
        valueDim=512,
        valuesInKeys=True,
        ranks=2,
        mask={"kind": "window", "size": 12},
    )
    assert max(errors(p, tensors)) <= BAR
    p, whole, tensors, _ = attend(
        engine,
        heads=4,
        kvHeads=1,
        headDim=576,
        valueDim=512,
        valuesInKeys=True,
        ranks=2,
        sequences=[{"new": 20, "cached": 8}],
    )
    assert max(errors(p, tensors)) <= BAR
    assert [t["bytesSent"] for t in whole["perRank"]] == [14 * 576 * 4] * 2


@pytest.mark.parametrize("dtype,bar", [("bf16", 0.03), ("f16", 4e-3)])
def test_sixteen_bits(engine, dtype, bar):
    for variant in ("pass-kv", "pass-q"):
        p, _, tensors, _ = attend(
            engine,
            sequences=[{"new": 200, "cached": 31}],
            mask={"kind": "window", "size": 40, "sinkTokens": 4},
            sinks=[1.0, 0.0, -1.0, 2.0],
            dtype=dtype,
            variant=variant,
            ranks=4,
        )
        assert max(errors(p, tensors)) <= bar


def test_a_window_sends_what_later_ranks_need(engine):
    """T = 128 contiguous over 4 ranks, W = 16: each rank needs the last 1/8 of the rank before it, and no other."""
    p, report, tensors, spans = attend(
        engine,
        sequences=[{"new": 128, "cached": 0}],
        mask={"kind": "window", "size": 16},
        ranks=4,
        dealing="contiguous",
    )
    assert max(errors(p, tensors)) <= BAR
    chunk = 16 * 2 * 2 * 32 * 4
    assert [t["ring"] for t in report["perRank"]] == [{"messages": 1, "bytes": chunk}] * 3 + [
        {"messages": 0, "bytes": 0}
    ]
    assert [t["bytesReceived"] for t in report["perRank"]] == [0, chunk, chunk, chunk]
    assert report["skipped"] == {"hops": 9, "messages": 9, "bytes": 12 * 2 * chunk - 3 * chunk}
    assert sorted((s["rank"], s["hop"]) for s in spans if s["kind"] == "attend") == [
        (0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1)
    ]  # fmt: skip


def test_auto_takes_the_variant_that_sends_fewer_bytes(engine):
    """Under a local mask. 8 query heads of D 32 against 1 KV head: Q is 4 times K and V; few new tokens turn that."""
    for new, cached in ((64, 0), (2, 300), (64, 64)):
        common = {"sequences": [{"new": new, "cached": cached}], "heads": 8, "kvHeads": 1, "ranks": 4}
        common["mask"] = {"kind": "window", "size": 200}
        _, chosen, _, _ = attend(engine, **common, variant="auto")
        sent = {
            variant: sum(t["bytesSent"] for t in attend(engine, **common, variant=variant)[1]["perRank"])
            for variant in ("pass-kv", "pass-q")
        }
        assert chosen["variant"] == min(sent, key=sent.get) == chosen["choice"]["variant"]
        assert all(str(bytes) in chosen["choice"]["reason"] for bytes in sent.values())


def test_auto_is_cancelled_while_it_counts_bytes(engine):
    """Many sequences on many ranks take seconds."""
    checks = 0

    def check_cancelled() -> None:
        nonlocal checks
        checks += 1
        if checks > 1000:
            raise Cancelled

    p = attend_params(sequences=[{"new": 9, "cached": 90}] * 64, ranks=32, mask={"kind": "window", "size": 40})
    with pytest.raises(Cancelled):
        resolved(engine, "attend", {**p, "variant": "auto"}, check_cancelled)
