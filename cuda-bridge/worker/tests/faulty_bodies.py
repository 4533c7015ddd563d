"""What rank 0 does in the tests of several processes, where something is cancelled, refused, late or lost."""

import threading
import time

import numpy as np
import torch
from checks import attend_errors, attend_params, expected, never, quiet
from ringside_worker import run
from ringside_worker.engine import Cancelled, Refused
from ringside_worker.seeded import seeded_rows


def cancelling(engine) -> dict:
    """Cancels a long run and a session's step from another thread. The next run and the next step must be right."""
    asked = threading.Event()

    def cancelled_after(method: str, p: dict) -> float:
        began, at = threading.Event(), []

        def see(event: dict) -> None:
            if event["type"] == "spans":
                began.set()

        def ask() -> None:
            began.wait(30)
            time.sleep(0.2)
            at.append(time.monotonic())
            asked.set()

        asked.clear()
        threading.Thread(target=ask, daemon=True).start()
        try:
            engine.run(method, p, {}, see, asked.is_set)
        except Cancelled:
            return time.monotonic() - at[0]
        raise AssertionError("ended before it was cancelled")

    ranks = engine.world if engine.world > 1 else 4
    out = {"attend": [], "worst": 0.0}
    for variant in ("pass-kv", "pass-q"):
        long = attend_params(
            sequences=[{"new": 16000, "cached": 0}],
            heads=8,
            kvHeads=1,
            headDim=64,
            ranks=ranks,
            variant=variant,
            output="none",
        )
        out["attend"].append(cancelled_after("attend", long))
        out["worst"] = max(out["worst"], *attend_errors(engine, ranks=ranks, variant=variant))
    value, _ = engine.run(
        "session.open",
        {
            "ranks": ranks,
            "heads": 8,
            "kvHeads": 1,
            "headDim": 64,
            "dtype": "f32",
            "capacity": 20000,
            "variant": "pass-kv",
        },
        {},
        quiet,
        never,
    )
    step = {"session": value["session"], "output": "full", "seed": 1}
    engine.run("session.prefill", {**step, "batch": [{"sequence": 1, "new": 10}]}, {}, quiet, never)
    out["step"] = cancelled_after(
        "session.prefill", {**step, "batch": [{"sequence": 1, "new": 16000}, {"sequence": 2, "new": 5}]}
    )
    report, tensors = engine.run("session.prefill", {**step, "batch": [{"sequence": 1, "new": 10}]}, {}, quiet, never)
    q = seeded_rows(2, "q", 10, torch.empty(10, 8, 64))
    k, v = (seeded_rows(2, name, 0, torch.empty(20, 1, 64)) for name in "kv")
    o, _ = expected({"headDim": 64, "causal": True, "sequences": [{"new": 10, "cached": 10}]}, q, k, v)
    out["worst"] = max(out["worst"], float(np.abs(tensors["out"] - o.numpy()).max()))
    out["tokens"] = report["tokens"]
    return out


def refused(engine) -> list:
    """Refused calls, by code. The run after each must be right."""
    cases = [
        ("attend", attend_params(ranks=engine.world, sequences=[{"new": 1 << 28, "cached": 0}], output="none"), {}),
        ("attend", attend_params(ranks=3 if engine.world > 1 else 0), {}),
        ("attend", attend_params(ranks=engine.world, heads=3), {}),
        ("attend", attend_params(ranks=engine.world, output="rows", rows=[[24, 0]]), {}),
        (
            "attend",
            {k: v for k, v in attend_params(ranks=engine.world).items() if k != "seed"},
            {"q": np.zeros((24, 4, 32), np.float32)},
        ),
        (
            "session.open",
            {
                "ranks": engine.world,
                "heads": 4,
                "kvHeads": 2,
                "headDim": 32,
                "dtype": "f32",
                "capacity": 1 << 40,
                "variant": "pass-kv",
            },
            {},
        ),
        ("session.decode", {"session": 99, "batch": [{"sequence": 1, "new": 1}], "output": "none", "seed": 1}, {}),
    ]
    out = []
    for method, p, inputs in cases:
        try:
            engine.run(method, p, inputs, quiet, never)
            out.append(["none", "", {}])
        except Refused as error:
            out.append([error.code, str(error), error.details])
        assert max(attend_errors(engine, ranks=engine.world)) < 1e-5
    return out


def full_cache(engine) -> list:
    """A step beyond the session's capacity is refused. The session stays as it was."""
    value, _ = engine.run(
        "session.open",
        {
            "ranks": engine.world,
            "heads": 4,
            "kvHeads": 2,
            "headDim": 32,
            "dtype": "f32",
            "capacity": 10,
            "variant": "pass-kv",
        },
        {},
        quiet,
        never,
    )
    step = {"session": value["session"], "output": "none", "seed": 1}
    engine.run("session.prefill", {**step, "batch": [{"sequence": 1, "new": 4}]}, {}, quiet, never)
    try:
        engine.run("session.prefill", {**step, "batch": [{"sequence": 1, "new": 10 * engine.world}]}, {}, quiet, never)
        code, details = "none", {}
    except Refused as error:
        code, details = error.code, error.details
    report, _ = engine.run("session.prefill", {**step, "batch": [{"sequence": 1, "new": 2}]}, {}, quiet, never)
    return [code, details, report["tokens"]]


def slow_to_warm(engine, seconds: float) -> None:
    """Makes the first preparation of this process as long as a compilation."""
    ready = engine.kernels.ready

    def late_once(*sizes) -> None:
        engine.kernels.ready = ready
        time.sleep(seconds)
        ready(*sizes)

    engine.kernels.ready = late_once


def late(engine) -> list:
    """The others wait for a rank that takes long to warm up."""
    started = time.monotonic()
    found = max(attend_errors(engine, ranks=engine.world))
    return [found, time.monotonic() - started]


def stopped(engine) -> list:
    """Runs until the test stops a rank. Returns how the run ended, and the next one."""
    out = []
    p = attend_params(
        sequences=[{"new": 200000, "cached": 0}], heads=8, kvHeads=1, headDim=64, ranks=engine.world, output="none"
    )
    said = []

    def see(event: dict) -> None:
        if event["type"] == "spans" and not said:
            said.append(True)
            print("RUNNING", flush=True)

    for _ in range(2):
        started = time.monotonic()
        try:
            engine.run("attend", p, {}, see, never)
            out.append(["none", "", {}, 0])
        except Refused as error:
            out.append([error.code, str(error), error.details, time.monotonic() - started])
    return out


def losing(engine) -> list:
    """Announces that it is in a long run. Returns how that ended, and the next one."""
    p = attend_params(
        sequences=[{"new": 200000, "cached": 0}], heads=8, kvHeads=1, headDim=64, ranks=engine.world, output="none"
    )
    said = []

    def see(event: dict) -> None:
        if event["type"] == "spans" and not said:
            said.append(True)
            print("RUNNING", flush=True)

    out = []
    for _ in range(2):
        started = time.monotonic()
        try:
            engine.run("attend", p, {}, see, never)
            out.append(["none", 0])
        except Refused as error:
            out.append([error.code, time.monotonic() - started])
    return out


def sabotage(engine) -> None:
    """Makes the kernels of this process fail at the third long call of each run, and its merge of sinks at any."""
    attend, calls = engine.kernels.attend, []

    def fails(q, k, v, causal, scale):
        calls.append(q.shape[0])
        if q.shape[2] == 64 and len(calls) % 3 == 0:
            raise RuntimeError("sabotaged")
        return attend(q, k, v, causal, scale)

    def merge_fails(o, lse, sinks):
        raise RuntimeError("sabotaged")

    engine.kernels.attend, run.merge_sinks = fails, merge_fails


def failing(engine) -> list:
    """A kernel that fails on one rank mid-run, or a merge at its end, ends the run on all. The next run is right."""
    out = []
    for variant, more in (("pass-kv", {}), ("pass-q", {}), ("pass-kv", {"headDim": 32, "sinks": [0.5] * 8})):
        p = attend_params(
            sequences=[{"new": 4000, "cached": 0}],
            heads=8,
            kvHeads=1,
            ranks=engine.world,
            variant=variant,
            output="none",
            **{"headDim": 64, **more},
        )
        try:
            engine.run("attend", p, {}, quiet, never)
            out.append("none")
        except Refused as error:
            out.append(error.code)
        out.append(max(attend_errors(engine, ranks=engine.world, variant=variant)))
    return out
