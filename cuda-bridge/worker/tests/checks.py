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
    D, Dv = p["headDim"], p.get("valueDim", p["headDim"])
    rows = {"q": (T, p["heads"], D), "k": (S, p["kvHeads"], D), "v": (S, p["kvHeads"], Dv)}
    q, k, v = (seeded_rows(p["seed"], name, 0, torch.empty(shape)) for name, shape in rows.items())
    return q, k, k[..., :Dv] if p.get("valuesInKeys") else v


def seen(p: dict, new: int, cached: int) -> torch.Tensor:
    """Which keys `[P + T]` each of T queries sees, by the definition of the masks."""
    mask = p.get("mask") or {"kind": "causal" if p.get("causal", True) else "full"}
    at, key = torch.arange(cached, cached + new)[:, None], torch.arange(cached + new)[None]
    if mask["kind"] == "full":
        return torch.ones(new, cached + new, dtype=torch.bool)
    near = torch.ones(1, 1, dtype=torch.bool)
    if mask["kind"] == "window":
        near = key > at - mask["size"]
    elif mask["kind"] == "chunk":
        near = key // mask["size"] == at // mask["size"]
    return (key <= at) & (near | (key < mask.get("sinkTokens", 0)))


def dense(q, k, v, seen: torch.Tensor, scale: float, sinks=None) -> tuple[torch.Tensor, torch.Tensor]:
    """O and LSE in float64 with a whole mask `[T, S]`. A sink of each head is one more term of the denominator."""
    T, H, _ = q.shape
    k, v = (x.double().repeat_interleave(H // k.shape[1], 1) for x in (k, v))
    scores = torch.einsum("thd,shd->ths", q.double(), k) * scale
    scores.masked_fill_(~seen[:, None, :], -torch.inf)
    own = torch.full((H,), -torch.inf) if sinks is None else torch.tensor(sinks)
    lse = torch.logsumexp(torch.cat([scores, own.double().expand(T, H)[..., None]], -1), -1)
    base = torch.where(lse == -torch.inf, 0.0, lse)
    return torch.einsum("ths,shd->thd", torch.exp(scores - base[..., None]), v), lse


def expected(p: dict, q, k, v) -> tuple[torch.Tensor, torch.Tensor]:
    """O and LSE in float64 of a fused batch."""
    scale = p.get("scale") or p["headDim"] ** -0.5
    news, alls = [s["new"] for s in p["sequences"]], [s["new"] + s["cached"] for s in p["sequences"]]
    os, lses = [], []
    for a, T, b, S in zip(offsets(news), news, offsets(alls), alls):
        rows = q[a : a + T], k[b : b + S], v[b : b + S]
        if "mask" in p or "sinks" in p or k.shape != v.shape:
            o, lse = dense(*rows, seen(p, T, S - T), scale, p.get("sinks"))
        else:
            ends = torch.arange(S - T + 1, S + 1) if p.get("causal", True) else torch.full((T,), S)
            o, lse = reference(*rows, ends, scale)
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
