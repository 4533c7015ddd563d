"""Runs of an engine compared with float64, on the inputs that the worker makes."""

import torch
from ringside_worker.job import DTYPES
from ringside_worker.reference import reference
from ringside_worker.seeded import seeded_rows
from ringside_worker.tensors import offsets


def quiet(event: dict) -> None:
    """An `emit` that drops progress and spans."""


def never() -> bool:
    """A `cancelled` for runs that nobody cancels."""
    return False


def attend_params(**more) -> dict:
    return {
        "sequences": [{"new": 24, "cached": 0}],
        "heads": 4,
        "kvHeads": 2,
        "headDim": 32,
        "variant": "pass-kv",
        "causal": True,
        "dtype": "f32",
        "ranks": 1,
        "output": "full",
        "seed": 5,
        **more,
    }


def seeded(p: dict) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """q, k, v of a seeded attend, f32 (their values are exact in 16 bit)."""
    T, S = sum(s["new"] for s in p["sequences"]), sum(s["new"] + s["cached"] for s in p["sequences"])
    rows = {"q": (T, p["heads"]), "k": (S, p["kvHeads"]), "v": (S, p["kvHeads"])}
    return tuple(seeded_rows(p["seed"], name, 0, torch.empty(n, h, p["headDim"])) for name, (n, h) in rows.items())


def expected(p: dict, q, k, v) -> tuple[torch.Tensor, torch.Tensor]:
    """O and LSE in float64 of a fused batch."""
    scale = p.get("scale") or p["headDim"] ** -0.5
    news, alls = [s["new"] for s in p["sequences"]], [s["new"] + s["cached"] for s in p["sequences"]]
    os, lses = [], []
    for a, T, b, S in zip(offsets(news), news, offsets(alls), alls):
        ends = torch.arange(S - T + 1, S + 1) if p["causal"] else torch.full((T,), S)
        o, lse = reference(q[a : a + T], k[b : b + S], v[b : b + S], ends, scale)
        os.append(o)
        lses.append(lse)
    return torch.cat(os), torch.cat(lses)


def errors(p: dict, tensors: dict, inputs=None) -> tuple[float, float]:
    """Largest errors of O and LSE of a full result."""
    o, lse = expected(p, *(inputs or seeded(p)))
    assert tuple(tensors["out"].shape) == tuple(o.shape) and tuple(tensors["lse"].shape) == tuple(lse.shape)
    return (torch.as_tensor(tensors["out"]).double() - o).abs().max().item(), (
        torch.as_tensor(tensors["lse"]).double() - lse
    ).abs().max().item()


def attend_errors(engine, **more) -> tuple[float, float]:
    p = attend_params(**more)
    _, tensors = engine.run("attend", p, {}, quiet, never)
    return errors(p, tensors)


def attend(engine, **more) -> tuple[dict, dict, dict, list[dict]]:
    """Parameters, report, tensors and spans of a run."""
    p, events = attend_params(**more), []
    report, tensors = engine.run("attend", p, {}, events.append, never)
    return p, report, tensors, [s for e in events if e["type"] == "spans" for s in e["spans"]]


def single_pass_error(p: dict, inputs=None) -> tuple[float, float]:
    """Errors of one kernel call of the same type over the whole sequence (P = 0, one sequence)."""
    from ringside_worker.ops import Kernels

    q, k, v = inputs or seeded(p)
    kernels, dtype = Kernels(torch.device("cpu")), DTYPES[p["dtype"]]
    kernels.ready(dtype, p["heads"], p["kvHeads"], p["headDim"])
    o, lse = kernels.attend(q.to(dtype), k.to(dtype), v.to(dtype), p["causal"], p["headDim"] ** -0.5)
    exact_o, exact_lse = expected(p, q, k, v)
    return (o.double() - exact_o).abs().max().item(), (lse.double() - exact_lse).abs().max().item()
