"""Layer mode with a tiny model: the dataflow against float64, the terms, and FP8 if this machine has it."""

from itertools import pairwise

import pytest
import torch
import worlds
from ringside_worker import fp8
from ringside_worker.engine import Engine, Refused
from ringside_worker.exchange import Chunk
from ringside_worker.job import Job
from ringside_worker.layer import ROPE_BASE, Layer, Sizes
from ringside_worker.paper import GTT
from ringside_worker.reference import reference
from ringside_worker.run import Listener, Run

TINY = {"dModel": 64, "heads": 8, "kvHeads": 2, "headDim": 16, "ffn": 96, "layers": 3}


def exact(layer: Layer, T: int) -> torch.Tensor:
    """The layer in float64 for all tokens at once, written independently."""
    s, w = layer.sizes, layer.weights
    x = layer.input(0, T).double()
    norm = lambda y: y * torch.rsqrt((y * y).mean(-1, keepdim=True) + 1e-5)
    q, k, v = (norm(x) @ w.qkv.double().t()).split([s.heads * s.dim, s.kv_heads * s.dim, s.kv_heads * s.dim], -1)
    turn = torch.polar(
        torch.ones(T, s.dim // 2, dtype=torch.float64),
        torch.arange(T, dtype=torch.float64)[:, None] * ROPE_BASE ** (-2.0 * torch.arange(s.dim // 2) / s.dim).double(),
    )

    def rotated(y: torch.Tensor) -> torch.Tensor:
        y = y.view(T, -1, s.dim)
        z = torch.complex(y[..., : s.dim // 2], y[..., s.dim // 2 :]) * turn[:, None]
        return torch.cat([z.real, z.imag], -1)

    o, _ = reference(rotated(q), rotated(k), v.view(T, -1, s.dim), torch.arange(1, T + 1), s.dim**-0.5)
    x = x + o.flatten(1) @ w.out.double().t()
    gate, up = (norm(x) @ w.up.double().t()).split([s.f, s.f], -1)
    return x + (gate * torch.sigmoid(gate) * up) @ w.down.double().t()


@pytest.mark.parametrize(
    "ranks,dtype,use_fp8,bar",
    [(1, "f32", False, 1e-5), (3, "f32", False, 1e-5), (2, "bf16", False, 0.02), (2, "bf16", True, 0.05)],
)
def test_the_layer_is_llama_s(engine, ranks, dtype, use_fp8, bar, monkeypatch):
    """Largest error over largest output. FP8 has 3 bits of mantissa, but products of 64 and 48 terms average errors."""
    monkeypatch.setattr("ringside_worker.layer.TILE", 7)
    T, sizes = 41, Sizes.of(TINY, 2)
    if use_fp8 and not fp8.check(torch.device("cpu"))["ok"]:
        pytest.skip("this PyTorch has no row-wise FP8 product on a CPU")
    job = Job.of_attend(
        {
            "sequences": [{"new": T, "cached": 0}],
            "heads": 4,
            "kvHeads": 1,
            "headDim": 16,
            "dtype": dtype,
            "ranks": ranks,
            "causal": True,
            "variant": "pass-kv",
        },
        1,
    )
    layer, plain = (Layer(engine, sizes, job, 4, which, lambda: None) for which in (use_fp8, False))
    engine.clock.start()
    engine.kernels.ready(job.dtype, 4, 1, 16)
    made = {
        k: (
            torch.zeros(job.queries[k].rows, 4, 16, dtype=job.dtype),
            torch.zeros(2, job.keys[k].rows, 1, 16, dtype=job.dtype),
        )
        for k in range(ranks)
    }
    for k, (q, kv) in made.items():
        layer.before(k, q, kv)
    run = Run(
        engine,
        job,
        8,
        Listener(None, None),
        lambda k: Chunk(k, job.queries[k], made[k][0]),
        lambda k: Chunk(k, job.keys[k], made[k][1]),
        None,
        1e9,
        "",
    )
    run.go()
    expected = exact(plain, T)
    for k in range(ranks):
        out = torch.zeros(job.queries[k].rows, 64)
        layer.after(k, run.totals[k].o, out)
        for _, start, end, row in job.queries[k].runs():
            assert (out[row : row + end - start] - expected[start:end]).abs().max() < bar * expected.abs().max()


def check_value(value: dict, ranks: int) -> None:
    terms = {row["term"]: row for row in value["terms"]}
    assert list(terms) == [
        "norm 1",
        "qkv product",
        "rope",
        "attention",
        "exposed communication",
        "out product",
        "norm 2",
        "up product",
        "activation",
        "down product",
        "TP all-reduce",
    ]
    assert value["layerSeconds"] == pytest.approx(sum(row["seconds"] for row in value["terms"])) and value[
        "ttft"
    ] == pytest.approx(3 * value["layerSeconds"])
    assert terms["TP all-reduce"]["how"] == "modelled" and all(
        row["seconds"] > 0 for term, row in terms.items() if term != "exposed communication"
    )
    assert terms["qkv product"]["flops"] == 2 * -(-500 // ranks) * 64 * (4 + 2) * 16
    assert "paper" not in value


@pytest.mark.parametrize("ranks", [1, 4])
def test_terms_and_ttft(engine, ranks):
    events = []
    value, _ = engine.run(
        "layer",
        {
            "tokens": 500,
            "cached": 70,
            "ranks": ranks,
            "tp": 2,
            "model": TINY,
            "dtype": "f32",
            "variant": "auto",
            "link": {"bandwidth": 1e6, "latency": 1.0},
        },
        {},
        events.append,
        lambda: False,
    )
    check_value(value, ranks)
    exposed = next(row for row in value["terms"] if row["term"] == "exposed communication")
    assert exposed["how"] == "modelled" and (exposed["seconds"] > 2) is (ranks > 1)
    spans = [s for e in events if e["type"] == "spans" for s in e["spans"]]
    for k in range(ranks):
        own = sorted((s for s in spans if s["rank"] == k and s["lane"] == "device"), key=lambda s: s["start"])
        assert {s["kind"] for s in own} >= {"gemm", "attend"}
        assert all(a["start"] + a["duration"] <= b["start"] + 1e-6 for a, b in pairwise(own))


def test_real_ranks_measure_the_wire():
    value = worlds.run(2, "layered")
    check_value(value, 2)
    assert value["processes"] == 2 and value["link"] is None
    assert next(row["how"] for row in value["terms"] if row["term"] == "exposed communication") == "measured"


def test_wrong_sizes_and_too_many_tokens_are_refused(engine):
    with pytest.raises(Refused, match="multiple of tp 8"):
        engine.run(
            "layer",
            {"tokens": 10, "ranks": 1, "model": TINY, "dtype": "f32", "variant": "pass-kv"},
            {},
            lambda e: None,
            lambda: False,
        )
    small = Engine.start(device="cpu", memory_limit=1 << 30)
    with pytest.raises(Refused) as refused:
        small.run(
            "layer",
            {"tokens": 1_000_000, "ranks": 8, "dtype": "bf16", "variant": "pass-kv"},
            {},
            lambda e: None,
            lambda: False,
        )
    assert refused.value.code == "does-not-fit" and refused.value.details["need"] > 2 << 30
    assert GTT["bandwidth"] > 0


def test_fp8_rows_round_trip_and_the_check_speaks():
    x = torch.randn(16, 64) * torch.logspace(-3, 3, 16)[:, None]
    x8, scale = fp8.quantised(x)
    assert ((x8.float() * scale - x).abs() <= x.abs().amax(-1, keepdim=True) / 16).all()
    found = fp8.check(torch.device("cpu"))
    assert found["ok"] or found["why"]
