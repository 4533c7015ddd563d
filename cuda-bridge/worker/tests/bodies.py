"""What rank 0 does in the tests of several processes, where all goes well. Each returns something for JSON."""

import os

import numpy as np
import torch
from checks import attend_errors, attend_params, errors, expected, never, quiet, seeded
from ringside_worker.engine import Refused
from ringside_worker.seeded import seeded_rows

BATCHES = [
    [(24, 0)],
    [(37, 0)],
    [(5, 43)],
    [(1, 64)],
    [(8, 0), (8, 0)],
    [(13, 7), (0, 9), (1, 0), (30, 2)],
]


def sweep(engine) -> dict:
    """Every program on fused, odd and partial batches, grouped heads and types. Returns the largest errors."""
    worst = [0.0, 0.0]
    for batch in BATCHES:
        sequences = [{"new": T, "cached": P} for T, P in batch]
        for variant in ("pass-kv", "pass-q"):
            for causal in (True, False):
                found = attend_errors(engine, sequences=sequences, variant=variant, causal=causal, ranks=engine.world)
                worst = [max(a, b) for a, b in zip(worst, found)]
    for heads, kv_heads, dim in ((4, 4, 16), (8, 1, 64), (16, 2, 128)):
        for variant in ("pass-kv", "pass-q"):
            found = attend_errors(
                engine, heads=heads, kvHeads=kv_heads, headDim=dim, variant=variant, ranks=engine.world
            )
            worst = [max(a, b) for a, b in zip(worst, found)]
    sixteen = attend_errors(
        engine, sequences=[{"new": 200, "cached": 0}], dtype="bf16", variant="pass-q", ranks=engine.world
    )
    return {"out": worst[0], "lse": worst[1], "bf16": sixteen}


def given(engine) -> dict:
    """Given tensors, sampled rows, and the report of a run with its spans."""
    p = attend_params(
        sequences=[{"new": 21, "cached": 10}, {"new": 9, "cached": 0}], ranks=engine.world, variant="pass-q"
    )
    del p["seed"]
    generator = torch.Generator().manual_seed(3)
    q, k, v = (
        torch.randn(30, 4, 32, generator=generator),
        torch.randn(40, 2, 32, generator=generator),
        torch.randn(40, 2, 32, generator=generator),
    )
    inputs, events = {"q": q.numpy(), "k": k.numpy(), "v": v}, []
    report, tensors = engine.run("attend", p, inputs, events.append, never)
    rows = [[0, 0], [29, 3], [20, 1], [21, 2], [7, 0]]
    _, sampled = engine.run("attend", {**p, "output": "rows", "rows": rows}, inputs, quiet, never)
    at = tuple(np.array(rows).T)
    same = bool(
        np.array_equal(sampled["out"], tensors["out"][at]) and np.array_equal(sampled["lse"], tensors["lse"][at])
    )
    spans = [s for e in events if e["type"] == "spans" for s in e["spans"]]
    return {
        "errors": errors(p, tensors, (q, k, v)),
        "same": same,
        "report": report,
        "spans": spans,
        "progress": [e for e in events if e["type"] == "progress"],
    }


def masked(engine) -> dict:
    """Every mask with sinks, dealings and values of other sizes. Returns the largest errors, and facts of a window."""
    worst, sixteen, N = 0.0, 0.0, engine.world
    for mask in (
        {"kind": "causal"},
        {"kind": "full"},
        *({"kind": kind, "size": size} for kind in ("window", "chunk") for size in (1, 7, 16, 300)),
        {"kind": "window", "size": 8, "sinkTokens": 3},
        {"kind": "chunk", "size": 6, "sinkTokens": 10},
    ):
        for variant in ("pass-kv", "pass-q"):
            for batch, more in (
                ([(37, 0)], {"dealing": "contiguous", "sinks": [-50.0, 0.0, 50.0, 1.0]}),
                ([(13, 47), (0, 9), (1, 0), (30, 2)], {"valueDim": 16}),
                ([(1, 64), (1, 30)], {"valueDim": 20, "valuesInKeys": True, "dealing": "contiguous"}),
            ):
                p = {
                    "sequences": [{"new": T, "cached": P} for T, P in batch],
                    "variant": variant,
                    "mask": mask,
                    "causal": mask["kind"] != "full",
                    "ranks": N,
                    **more,
                }
                worst = float(np.max([worst, *attend_errors(engine, **p)]))
        sixteen = max(sixteen, *attend_errors(engine, **{**p, "dtype": "bf16", "sinks": [0.5] * 4}))
    facts = []
    for variant in ("pass-kv", "pass-q"):
        p = attend_params(
            sequences=[{"new": 128, "cached": 31}],
            mask={"kind": "window", "size": 16},
            variant=variant,
            ranks=N,
            dealing="contiguous",
        )
        report, tensors = engine.run("attend", p, {}, quiet, never)
        worst = float(np.max([worst, *errors(p, tensors)]))
        facts.append([report["skipped"], report["perRank"]])
    return {"worst": worst, "bf16": sixteen, "facts": facts}


def windowed(engine) -> float:
    """Sessions with a local mask, sinks and other values: long decodes, then prefills over the rows that they left."""
    H, Hkv, D, N, worst = 4, 2, 32, max(2, engine.world), 0.0
    for mask, more in (
        ({"kind": "window", "size": 24}, {"sinks": [0.0, 1.0, -50.0, 50.0]}),
        ({"kind": "window", "size": 5, "sinkTokens": 2}, {"dealing": "contiguous", "valueDim": 16}),
        ({"kind": "chunk", "size": 12}, {"valueDim": 16, "valuesInKeys": True}),
    ):
        for variant in ("pass-kv", "pass-q"):
            shape = {"ranks": N, "heads": H, "kvHeads": Hkv, "headDim": D, "dtype": "f32", "mask": mask, **more}
            value, _ = engine.run("session.open", {**shape, "capacity": 300, "variant": variant}, {}, quiet, never)
            lengths = {3: 0, 8: 0}
            steps = [("prefill", {3: 25, 8: 9}), *[("decode", {3: 1, 8: 1})] * 21, ("prefill", {8: 33, 3: 2})]
            steps += [("decode", {3: 1}), ("prefill", {3: 40})]
            for mode, batch in steps:
                p = {"session": value["session"], "output": "full", "seed": 11}
                p["batch"] = [{"sequence": s, "new": n} for s, n in batch.items()]
                report, tensors = engine.run(f"session.{mode}", p, {}, quiet, never)
                assert report["mask"] == mask and report["sinks"] == ("sinks" in more)
                at = 0
                for s, n in batch.items():
                    P = lengths[s]
                    q = seeded_rows(11 + s, "q", P, torch.empty(n, H, D))
                    k = seeded_rows(11 + s, "k", 0, torch.empty(P + n, Hkv, D))
                    Dv = more.get("valueDim", D)
                    v = (
                        k[..., :Dv]
                        if "valuesInKeys" in more
                        else seeded_rows(11 + s, "v", 0, torch.empty(P + n, Hkv, Dv))
                    )
                    o, lse = expected({**shape, "sequences": [{"new": n, "cached": P}]}, q, k, v)
                    worst = max(
                        worst,
                        np.abs(tensors["out"][at : at + n] - o.numpy()).max(),
                        np.abs(tensors["lse"][at : at + n] - lse.numpy()).max(),
                    )
                    at, lengths[s] = at + n, P + n
            engine.run("session.close", {"session": value["session"]}, {}, quiet, never)
    return float(worst)


def conversation(engine) -> dict:
    """A session of prefills and decodes, compared with one full prefill of everything; then eviction."""
    H, Hkv, D, N = 4, 2, 32, engine.world
    worst, tokens = 0.0, None
    for variant, ranks in (
        (("pass-kv", N), ("pass-q", N)) if N > 1 else (("pass-kv", 3), ("pass-q", 3), ("auto", 4), ("pass-kv", 1))
    ):
        value, _ = engine.run(
            "session.open",
            {
                "ranks": ranks,
                "heads": H,
                "kvHeads": Hkv,
                "headDim": D,
                "dtype": "f32",
                "capacity": 300,
                "variant": variant,
            },
            {},
            quiet,
            never,
        )
        session, lengths = value["session"], {3: 0, 8: 0}
        steps = [
            ("prefill", {3: 25, 8: 9}),
            ("prefill", {3: 1}),
            ("decode", {8: 1, 3: 1}),
            ("decode", {3: 1}),
            ("prefill", {8: 17, 3: 40}),
            ("decode", {3: 1, 8: 1}),
            ("decode", {8: 1}),
        ]
        for mode, batch in steps:
            p = {
                "session": session,
                "batch": [{"sequence": s, "new": n} for s, n in batch.items()],
                "output": "full",
                "seed": 11,
            }
            report, tensors = engine.run(f"session.{mode}", p, {}, quiet, never)
            at = 0
            for s, n in batch.items():
                P = lengths[s]
                q = seeded_rows(11 + s, "q", P, torch.empty(n, H, D))
                k, v = (seeded_rows(11 + s, name, 0, torch.empty(P + n, Hkv, D)) for name in "kv")
                o, lse = expected({"headDim": D, "causal": True, "sequences": [{"new": n, "cached": P}]}, q, k, v)
                worst = max(
                    worst,
                    np.abs(tensors["out"][at : at + n] - o.numpy()).max(),
                    np.abs(tensors["lse"][at : at + n] - lse.numpy()).max(),
                )
                at, lengths[s] = at + n, P + n
            tokens = report["tokens"]
            for row in tokens:
                assert max(row["perRank"]) - min(row["perRank"]) <= 1, tokens
                assert sum(row["perRank"]) == lengths[row["sequence"]], tokens
        after, _ = engine.run("session.evict", {"session": session, "sequence": 3}, {}, quiet, never)
        assert [row["sequence"] for row in after["tokens"]] == [8]
        engine.run("session.close", {"session": session}, {}, quiet, never)
    try:
        engine.run("session.evict", {"session": session, "sequence": 8}, {}, quiet, never)
        code = "none"
    except Refused as error:
        code = error.code
    return {"worst": float(worst), "closed": code}


def subsets(engine) -> dict:
    """Runs and sessions on the first N of the processes, in any order. The other ranks wait."""
    worst, seen, opened = 0.0, [], {}
    sizes = [n for n in (2, 1, 4, engine.world, 3) if n <= engine.world]
    step = {"output": "full", "seed": 11}
    for n in sizes:
        value, _ = engine.run(
            "session.open",
            {"ranks": n, "heads": 4, "kvHeads": 2, "headDim": 32, "dtype": "f32", "capacity": 64, "variant": "auto"},
            {},
            quiet,
            never,
        )
        opened[n] = value["session"]
    for n in sizes:
        for variant in ("pass-kv", "pass-q"):
            worst = float(
                np.max([worst, *attend_errors(engine, sequences=[{"new": 37, "cached": 9}], ranks=n, variant=variant)])
            )
        report, _ = engine.run(
            "session.prefill", {**step, "session": opened[n], "batch": [{"sequence": 0, "new": 20}]}, {}, quiet, never
        )
        seen.append([n, report["processes"], report["simulated"], report["backend"], len(report["perRank"])])
    for n in sizes:
        _, tensors = engine.run(
            "session.decode", {**step, "session": opened[n], "batch": [{"sequence": 0, "new": 1}]}, {}, quiet, never
        )
        q = seeded_rows(11, "q", 20, torch.empty(1, 4, 32))
        k, v = (seeded_rows(11, name, 0, torch.empty(21, 2, 32)) for name in "kv")
        o, _ = expected({"headDim": 32, "causal": True, "sequences": [{"new": 1, "cached": 20}]}, q, k, v)
        worst = float(np.max([worst, float(np.abs(tensors["out"] - o.numpy()).max())]))
    try:
        engine.run("attend", attend_params(ranks=engine.world + 1), {}, quiet, never)
    except Refused as error:
        return {"worst": worst, "seen": seen, "sessions": sorted(opened.values()), "more": [error.code, error.details]}
    raise AssertionError("more ranks than processes were taken")


def layered(engine) -> dict:
    model = {"dModel": 64, "heads": 8, "kvHeads": 2, "headDim": 16, "ffn": 96, "layers": 3}
    return engine.run(
        "layer",
        {"tokens": 500, "ranks": engine.world, "tp": 2, "model": model, "dtype": "f32", "variant": "pass-kv"},
        {},
        quiet,
        never,
    )[0]


def benched(engine) -> dict:
    return engine.run("bench", {"quick": True}, {}, quiet, never)[0]


def whoami(engine) -> dict:
    return {
        "facts": engine.facts(),
        "errors": attend_errors(engine, ranks=engine.world),
        "elastic": "TORCHELASTIC_RUN_ID" in os.environ,
        "seeded": [t.shape[0] for t in seeded(attend_params())],
    }
