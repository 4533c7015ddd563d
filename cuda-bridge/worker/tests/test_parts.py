"""The parts by themselves, in one process: seeded numbers, layout, kernel calls, kernels, merge, memory, simulated time."""

import json
import math
import random
from pathlib import Path

import pytest
import torch
from checks import attend_params, errors, seeded, single_pass_error
from hypothesis import given, settings
from hypothesis import strategies as st
from ringside_worker import layout, memory, ops, policy
from ringside_worker.engine import Engine, Refused
from ringside_worker.facts import driver
from ringside_worker.merge import Accumulator, Merger, combine, weights
from ringside_worker.reference import reference
from ringside_worker.seeded import seeded_rows
from ringside_worker.spans import HostClock, SimulatedTimeline, times_of

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def engine():
    return Engine.start(device="cpu")


def attend(engine, **more):
    p, events = attend_params(**more), []
    report, tensors = engine.run("attend", p, {}, events.append, lambda: False)
    return p, report, tensors, [s for e in events if e["type"] == "spans" for s in e["spans"]]


# Seeded numbers


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_seeded_rows_are_those_of_typescript(dtype):
    for vector in json.loads((Path(__file__).parent / "seeded.json").read_text()):
        found = seeded_rows(
            vector["seed"],
            vector["tensor"],
            vector["first"],
            torch.empty(len(vector["rows"]), vector["columns"], dtype=dtype),
        )
        assert (found.float() * 32).tolist() == vector["rows"]


def test_a_seeded_slice_is_that_of_the_whole_whatever_the_tile(monkeypatch):
    whole = seeded_rows(9, "k", 0, torch.empty(300, 2, 8))
    monkeypatch.setattr("ringside_worker.seeded.TILE", 64)
    assert torch.equal(seeded_rows(9, "k", 37, torch.empty(100, 2, 8)), whole[37:137])
    with pytest.raises(ValueError, match="found seed -1"):
        seeded_rows(-1, "k", 0, torch.empty(1, 2))


# Who holds what


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
    """Own keys: one square. Keys of an earlier rank: all queries to its first chunk. Of a later one: the second chunk of the queries to all."""
    queries, keys = layout.shard([(128, 0)], 4)
    for k in range(4):
        for s in range(4):
            expected = (
                layout.Call(0, 0, 32, 0, 32, True)
                if s == k
                else layout.Call(0, 0, 32, 0, 16, False)
                if s < k
                else layout.Call(0, 16, 32, 0, 32, False)
            )
            assert layout.calls(queries[k], keys[s], True) == [expected]


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
            for call in (part for c in layout.calls(q, kv, causal) for part in layout.split(c, pairs)):
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


# Kernels


@pytest.mark.parametrize("name", ["cpu-flash", "math"])
@pytest.mark.parametrize("T,S", [(1, 1), (64, 128), (239, 1), (113, 203), (1, 4097), (3, 3000), (1023, 1024)])
@pytest.mark.parametrize("heads,kv_heads,dim", [(8, 1, 64), (4, 4, 16), (6, 2, 36)])
def test_every_op_keeps_the_contract(name, T, S, heads, kv_heads, dim):
    kernels = ops.Kernels(CPU, splits=7)
    kernels.names = [name]
    kernels.ready(torch.float32, heads, kv_heads, dim)
    generator = torch.Generator().manual_seed(T)
    q, k, v = (torch.randn(n, h, dim, generator=generator) for n, h in ((T, heads), (S, kv_heads), (S, kv_heads)))
    for causal in (False, True):
        keys, values = (k[:T], v[:T]) if causal else (k, v)
        if causal and T > S:
            continue
        ends = torch.arange(1, T + 1) if causal else torch.full((T,), S)
        o, lse = kernels.attend(q, keys, values, causal, 0.2)
        expected_o, expected_lse = reference(q, keys, values, ends, 0.2)
        assert (
            (o - expected_o).abs().max() < 5e-6
            and (lse - expected_lse).abs().max() < 5e-6
            and lse.dtype == torch.float32
        )
    o, lse = kernels.attend(q, k[:0], v[:0], False, 0.2)
    assert o.abs().max() == 0 and (lse == -torch.inf).all()


def test_an_op_that_is_wrong_is_not_chosen(monkeypatch):
    """In the base of its LSE, in its mask, by an exception: each named with its error or its words."""

    def base2(q, k, v, causal, scale):
        o, lse = ops._math(q, k, v, causal, scale)
        return o, lse / math.log(2)

    def blind(q, k, v, causal, scale):
        return ops._math(q, k, v, False, scale)

    def broken(q, k, v, causal, scale):
        raise RuntimeError("No available kernel")

    always = lambda device, dtype, dim: True
    monkeypatch.setattr(
        ops,
        "OPS",
        {"base2": (base2, always), "blind": (blind, always), "broken": (broken, always), "math": ops.OPS["math"]},
    )
    kernels = ops.Kernels(CPU)
    assert kernels.choice(torch.float32, 4, 2, 32) == {
        "square": "math",
        "full": "blind",
        "few": "blind",
        "one-key": "blind",
    }
    found = {(c["op"], c["kind"]): c for c in kernels.checks}
    assert found["base2", "full"]["error"] > 0.1 and "bar" in found["base2", "full"]["why"]
    assert "No available kernel" in found["broken", "square"]["why"]


def test_an_op_that_refuses_later_gives_way_and_says_so(monkeypatch):
    def picky(q, k, v, causal, scale):
        if q.shape[1] > 1000:
            raise RuntimeError("cuDNN: no execution plan")
        return ops._math(q, k, v, causal, scale)

    monkeypatch.setattr(ops, "OPS", {"picky": (picky, lambda *_: True), "math": ops.OPS["math"]})
    kernels = ops.Kernels(CPU)
    kernels.ready(torch.float32, 2, 1, 16)
    q, k = torch.randn(1500, 2, 16), torch.randn(40, 1, 16)
    o, _ = kernels.attend(q, k, k, False, 0.25)
    assert (o - reference(q, k, k, torch.full((1500,), 40), 0.25)[0]).abs().max() < 5e-6
    assert "picky refused" in kernels.notes[0] and kernels.used == {"math"}


# Merge


@pytest.mark.parametrize("fused", [False, True])
def test_merge_over_the_grid(fused):
    """Random splits of the keys, 10 % of LSE infinite, several partials at once and one after the other."""
    merger = Merger(CPU, fused)
    if fused and merger.how != "fused":
        pytest.fail(f"torch.compile does not work here: {merger.note}")
    for rows, heads, dim, parts in ((256, 4, 32, 3),) if fused else ((256, 4, 32, 2), (700, 8, 64, 11)):
        generator = torch.Generator().manual_seed(rows)
        os = [torch.randn(rows, heads, dim, generator=generator) for _ in range(parts)]
        lses = [torch.randn(rows, heads, generator=generator) * 30 for _ in range(parts)]
        for o, lse in zip(os, lses):
            empty = torch.rand(rows, heads, generator=generator) < 0.1
            lse[empty], o[empty] = -torch.inf, 0
            lse[:3], o[:3] = -torch.inf, 0
        total = torch.logsumexp(torch.stack(lses).double(), 0)
        share = torch.exp(torch.stack(lses).double() - torch.where(total == -torch.inf, 0, total))
        exact = (torch.stack(os).double() * share[..., None]).sum(0)
        for hold in (8,) if fused else (1, 3, 8):
            out = Accumulator(
                torch.full((rows, heads, dim), torch.nan), torch.full((rows, heads), torch.nan), merger, hold, Untimed
            )
            for o, lse in zip(os, lses):
                out.add(0, rows, o, lse)
                out.settle()
            out.finish()
            assert (out.o - exact).abs().max() < 1e-5  # an LSE of 100 is 8e-6 from the next in f32
            assert (out.lse[:3] == -torch.inf).all() and (out.o[:3] == 0).all()
            assert torch.allclose(out.lse.double(), total, atol=1e-5)


class Untimed:
    def __init__(self, bytes):
        pass

    def __enter__(self):
        pass

    def __exit__(self, *_):
        pass


def test_partials_of_some_rows_only():
    out = Accumulator(torch.full((10, 1, 4), torch.nan), torch.full((10, 1), torch.nan), Merger(CPU), 2, Untimed)
    one = lambda n, value: (torch.full((n, 1, 4), value), torch.zeros(n, 1))
    out.add(2, 6, *one(4, 1.0))
    out.add(4, 9, *one(5, 3.0))
    out.settle()
    out.add(5, 7, *one(2, 5.0))
    out.finish()
    assert out.o[:, 0, 0].tolist() == pytest.approx([0, 0, 1, 1, 2, 3, 4, 3, 3, 0])
    assert out.lse[:, 0].tolist() == pytest.approx(
        [-math.inf, -math.inf, 0, 0, math.log(2), math.log(3), math.log(2), 0, 0, -math.inf]
    )


def test_extreme_lses_do_not_overflow():
    lse, ws = weights([torch.tensor([[200.0, -200.0, -torch.inf]]), torch.tensor([[-200.0, -torch.inf, -torch.inf]])])
    assert lse.tolist() == [[200.0, -200.0, -math.inf]] and [w.tolist() for w in ws] == [[[1, 1, 0]], [[0, 0, 0]]]
    out = torch.empty(1, 3, 1)
    combine(out, [torch.ones(1, 3, 1), torch.zeros(1, 3, 1)], ws)
    assert out.flatten().tolist() == [1, 1, 0]


# Whole runs in one process, on simulated ranks


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
    """Message sizes by hand: L_i = ceil per rank, K and V in the compute type; padding counted."""
    _, report, _, _ = attend(engine, ranks=4, sequences=[{"new": 10, "cached": 0}], dtype="bf16")
    assert [t["ring"]["bytes"] for t in report["perRank"]] == [3 * 3 * 2 * 2 * 32 * 2] * 4  # 3 messages of 3 rows
    assert (
        sum(t["paddingBytes"] for t in report["perRank"]) == 3 * 2 * 2 * 2 * 32 * 2
    )  # each block's padding travels 3 times: 12 rows hold 10 tokens
    _, report, _, _ = attend(engine, ranks=4, sequences=[{"new": 10, "cached": 0}], dtype="bf16", variant="pass-q")
    assert [t["all2all"]["bytes"] for t in report["perRank"]] == [3 * 3 * 4 * (32 * 2 + 4)] * 4


def test_the_link_model_lays_transfers_beside_attention(engine):
    """A wire so slow that the run is its transfers: N-1 of them in a row, plus the first attention and the last."""
    bytes = 64 * 2 * 2 * 32 * 4
    link = {"bandwidth": bytes / 50, "latency": 10}
    _, report, _, spans = attend(engine, ranks=4, sequences=[{"new": 256, "cached": 0}], link=link)
    assert 3 * 60 <= report["times"]["total"] <= 3 * 60 + 30
    assert report["times"]["exchange"] > 150
    for s in spans:
        if s["kind"] == "send":
            assert s["duration"] == pytest.approx(60) and s["bytes"] == bytes
    by_rank = [s for s in spans if s["rank"] == 2 and s["lane"] == "device"]
    assert all(a["start"] + a["duration"] <= b["start"] + 1e-9 for a, b in zip(by_rank, by_rank[1:]))


def test_simulated_time_by_hand():
    """Two ranks, kernels of 2 s and 1 s, a wire of 1.5 s: the second hop of rank 1 waits for rank 0's chunk for half a second."""
    clock, spans = HostClock(), []
    line = SimulatedTimeline(clock, 2, {"bandwidth": 10, "latency": 0.5}, spans.append)
    for k, seconds in ((0, 2.0), (1, 1.0)):
        line.send(k, 1 - k, "ring", 0, 10)
        line.device(k, "attend", 0, 0.0, seconds)
    for k in range(2):
        line.arrive(k, 0)
        line.device(k, "attend", 1, 0.0, 1.0)
    line.drain(everything=True)
    assert line.end == 3.0
    assert [(s["rank"], s["start"], s["duration"]) for s in spans if s["kind"] == "wait"] == [(1, 1.0, 0.5)]
    assert times_of(spans, line.end) == {
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
    # Table 4's border with peak rates (paper.md 6.2): T = 3200 is an exact tie, 1280 pass-Q, 4160 pass-KV.
    chosen = [policy.choose(T, 128000 - T, 4, 128, 8, 2, 8e14, 5e10)[0] for T in (1280, 4160, 12800)]
    assert chosen == ["pass-q", "pass-kv", "pass-kv"]


def test_memory_is_planned(engine):
    with pytest.raises(Refused) as refused:
        memory.require({"q": 3_000_000_000, "kv": 1_000_000_000}, 2_000_000_000, "cuda:0", "500 new tokens would")
    assert refused.value.details == {"need": 4_000_000_000, "have": 2_000_000_000, "fits": "500 new tokens would"}
    assert "q 3 GB, kv 1 GB" in str(refused.value)
    assert memory.largest_that(lambda n: n <= 37, 100) == 37 and memory.largest_that(lambda n: False, 9) == 0
    small = Engine.start(device="cpu", memory_limit=64 << 20)
    fit = []
    for tokens in (4096, 1 << 20):
        try:
            attend(
                small, ranks=4, sequences=[{"new": tokens, "cached": 0}], output="none", heads=8, kvHeads=1, headDim=64
            )
        except Refused as error:
            fit.append(int(error.details["fits"].split()[1]))
    assert fit and attend(
        small, ranks=4, sequences=[{"new": fit[-1], "cached": 0}], output="none", heads=8, kvHeads=1, headDim=64
    )


def test_memory_of_simulated_ranks_grows_with_tokens_only():
    from ringside_worker.job import Job, need

    totals = {}
    for variant in ("pass-kv", "pass-q"):
        for ranks in (2, 16):
            p = attend_params(
                sequences=[{"new": 1 << 20, "cached": 0}],
                heads=16,
                kvHeads=1,
                headDim=128,
                dtype="bf16",
                ranks=ranks,
                variant=variant,
            )
            totals[variant, ranks] = sum(need(Job.of_attend(p, 1), ranks, 2).values())
    assert max(totals.values()) < 1.02 * min(totals.values()) < 30e9


def test_seeded_inputs_are_made_as_asked(engine):
    """The whole q, k, v of the checks are the worker's: a run of given tensors equals the seeded one bit for bit."""
    p, _, tensors, _ = attend(engine, ranks=3, sequences=[{"new": 30, "cached": 11}, {"new": 5, "cached": 0}])
    q, k, v = seeded(p)
    plain = {key: value for key, value in p.items() if key != "seed"}
    _, again = engine.run("attend", plain, {"q": q, "k": k, "v": v}, lambda e: None, lambda: False)
    assert (again["out"] == tensors["out"]).all() and (again["lse"] == tensors["lse"]).all()


def test_facts_say_what_was_chosen(engine):
    found = engine.facts()
    assert (
        found["backend"] == "single"
        and found["devices"][0]["kind"] == "cpu"
        and found["devices"][0]["memoryBytes"] > 1e8
    )
    assert any(k["chosen"] and k["ok"] and k["maxError"] < 2e-5 for k in found["kernels"])


@pytest.mark.parametrize(
    "line",
    [
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build  (root@host)",
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023",
    ],
)
def test_the_driver_is_its_version_and_no_number_beside(tmp_path, line):
    file = tmp_path / "version"
    file.write_text(f"{line}\nGCC version:  gcc version 12.3.0\n")
    assert driver(str(file)) == next(word for word in line.split() if word[0].isdigit() and word.count(".") == 2)
    assert driver(str(tmp_path / "none")) is None
