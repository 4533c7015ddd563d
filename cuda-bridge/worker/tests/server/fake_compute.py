"""
A compute process for the server's tests: float64 attention in NumPy with the engine's interface.

`link.latency` of an attend is how long it takes. A seed of MISCHIEF makes it misbehave.
"""

import ctypes
import os
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy

sys.path.insert(0, str(Path(__file__).parents[2]))
from ringside_worker import compute
from ringside_worker.errors import Cancelled, Refused

MISCHIEF = {
    "crash": 9001,
    "raise": 9002,
    "deaf": 9003,
    "spans": 9004,
    "nan": 9005,
    "refuse": 9006,
    "segfault": 9007,
    "lost": 9008,
    "large": 9009,
    "nan value": 9010,
    "unlike": 9011,
    "garbled": 9012,
}


def mix(x: numpy.ndarray) -> numpy.ndarray:
    x = x ^ (x >> numpy.uint32(16))
    x = x * numpy.uint32(0x7FEB352D)
    x = x ^ (x >> numpy.uint32(15))
    x = x * numpy.uint32(0x846CA68B)
    return x ^ (x >> numpy.uint32(16))


def seeded(seed: int, tensor: int, first: int, rows: int, heads: int, dim: int) -> numpy.ndarray:
    """The recipe of engine/tensor/seeded.ts, as f64 [rows, heads, dim]."""
    golden = numpy.uint32(0x9E3779B9)
    with numpy.errstate(over="ignore"):
        key = mix(mix(numpy.array([seed], dtype=numpy.uint32) + golden) + numpy.uint32(tensor))
        row = mix(key ^ numpy.arange(first, first + rows, dtype=numpy.uint32))
        column = numpy.arange(heads * dim, dtype=numpy.uint32) * golden
        bits = mix((row[:, None] ^ column[None, :]) + key)
    fields = sum((bits >> numpy.uint32(shift)) & numpy.uint32(63) for shift in (0, 6, 12, 18))
    return ((fields.astype(numpy.float64) - 126) / 32).reshape(rows, heads, dim)


def attention(
    q: numpy.ndarray, k: numpy.ndarray, v: numpy.ndarray, causal: bool, scale: float
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """O [T, H, D] and LSE [T, H] of one sequence, causal masks aligned bottom-right."""
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat(group, axis=1), v.repeat(group, axis=1)
    scores = numpy.einsum("thd,shd->ths", q, k) * scale
    if causal:
        sees = numpy.arange(k.shape[0])[None, :] <= numpy.arange(q.shape[0])[:, None] + k.shape[0] - q.shape[0]
        scores = numpy.where(sees[:, None, :], scores, -numpy.inf)
    top = scores.max(axis=2, initial=-1e300)
    weights = numpy.exp(scores - top[..., None])
    total = weights.sum(axis=2)
    return numpy.einsum("ths,shd->thd", weights, v) / total[..., None], top + numpy.log(total)


class FakeEngine:
    """Like ringside_worker.engine.Engine."""

    @classmethod
    def start(cls, **options: object) -> "FakeEngine":
        if os.path.exists(os.environ.get("FAKE_FAILS_IF", "")):
            raise RuntimeError("no CUDA device")
        engine = cls()
        engine.rank = int(os.environ.get("RANK", "0"))
        engine.world = int(os.environ.get("WORLD_SIZE", "1"))
        engine.sessions, engine.last = {}, 0
        return engine

    def facts(self) -> dict:
        return {
            "worker": "0.1.0",
            "python": "3.11.2",
            "torch": "none",
            "platform": "a test",
            "backend": "gloo" if self.world > 1 else "single",
            "processes": self.world,
            "hosts": 1,
            "devices": [{"name": "NumPy", "kind": "cpu", "memoryBytes": 1 << 30}],
            "kernels": [{"name": "numpy", "ok": True, "maxError": 0.0, "chosen": True}],
        }

    def run(self, method: str, params: dict, inputs: dict, emit: Callable, cancelled: Callable) -> tuple[dict, dict]:
        methods = {
            "attend": self.attend,
            "session.open": self.open,
            "session.prefill": self.step,
            "session.decode": self.step,
            "session.close": self.shut,
            "session.evict": self.evict,
        }
        try:
            return methods[method](params, inputs, emit, cancelled)
        except (KeyError, IndexError, ValueError, MemoryError) as error:
            # Caused by what a fuzzer made up. Any other error counts as a failure of the compute process.
            if params.get("seed") in MISCHIEF.values():
                raise
            raise Refused("bad-input", f"{type(error).__name__}: {error}") from None

    def attend(self, params: dict, inputs: dict, emit: Callable, cancelled: Callable) -> tuple[dict, dict]:
        seed, heads, kv_heads, dim = params.get("seed"), params["heads"], params["kvHeads"], params["headDim"]
        self.misbehave(seed, emit)
        end = time.monotonic() + params.get("link", {}).get("latency", 0)
        while time.monotonic() < end:
            if cancelled() and seed != MISCHIEF["deaf"]:
                raise Cancelled
            emit({"type": "progress", "done": 1, "total": 2, "note": "waits"})
            time.sleep(0.01)
        rows_q = sum(sequence["new"] for sequence in params["sequences"])
        rows_k = rows_q + sum(sequence["cached"] for sequence in params["sequences"])
        if (
            max(
                rows_k * heads * dim,
                sum((sequence["new"] + sequence["cached"]) * sequence["new"] for sequence in params["sequences"])
                * heads,
            )
            > 1 << 24
        ):
            raise Refused("does-not-fit", "too much for a test")
        if seed == MISCHIEF["large"]:
            return {}, {"out": numpy.zeros(params["rows"][0][0], dtype=numpy.float32)}
        if inputs:
            q, k, v = (widen(inputs[name]) for name in "qkv")
            if q.shape != (rows_q, heads, dim) or k.shape != (rows_k, kv_heads, dim) or v.shape != k.shape:
                raise Refused(
                    "bad-input", f"params.tensors.q: found shape {list(q.shape)}, expected {[rows_q, heads, dim]}"
                )
        else:
            q, k, v = (
                seeded(seed, 0, 0, rows_q, heads, dim),
                seeded(seed, 1, 0, rows_k, kv_heads, dim),
                seeded(seed, 2, 0, rows_k, kv_heads, dim),
            )
        out, lse, at_q, at_k = [], [], 0, 0
        for sequence in params["sequences"]:
            t, s = sequence["new"], sequence["new"] + sequence["cached"]
            o, row_lse = attention(
                q[at_q : at_q + t],
                k[at_k : at_k + s],
                v[at_k : at_k + s],
                params["causal"],
                params.get("scale", dim**-0.5),
            )
            out.append(o)
            lse.append(row_lse)
            at_q, at_k = at_q + t, at_k + s
        emit({"type": "progress", "done": 2, "total": 2})
        emit(
            {
                "type": "spans",
                "spans": [
                    {
                        "rank": 0,
                        "lane": "device",
                        "kind": "attend",
                        "hop": 0,
                        "start": 0.0,
                        "duration": 0.001,
                        "bytes": 0,
                        "flops": 4 * rows_q * heads * dim,
                    }
                ],
            }
        )
        value = {"variant": "pass-kv" if params["variant"] == "auto" else params["variant"]}
        if seed == MISCHIEF["nan value"]:
            value["rate"] = float("nan")
        if seed == MISCHIEF["unlike"]:
            value["odd"] = object()
        return value, self.asked(params, numpy.concatenate(out), numpy.concatenate(lse))

    def misbehave(self, seed: int | None, emit: Callable) -> None:
        if seed == MISCHIEF["crash"]:
            os._exit(3)
        if seed == MISCHIEF["segfault"]:
            ctypes.string_at(0)
        if seed == MISCHIEF["raise"]:
            raise ZeroDivisionError("on demand")
        if seed == MISCHIEF["garbled"]:
            # A message that announces a tensor and brings none, as if the server had no descriptor left for it.
            os.write(int(sys.argv[2]), struct.pack("<II", 2, 1) + b"{}")
            time.sleep(60)
        if seed == MISCHIEF["nan"]:
            emit({"type": "progress", "done": float("nan"), "total": 1})
        if seed == MISCHIEF["refuse"]:
            raise Refused(
                "does-not-fit", "the run needs 9 bytes, and 3 are free", {"need": 9, "have": 3, "fits": "1 token"}
            )
        if seed == MISCHIEF["lost"]:
            raise Refused("rank-died", "rank 1 is silent for 30 s")
        if seed == MISCHIEF["spans"]:
            span = {
                "rank": 0,
                "lane": "device",
                "kind": "attend",
                "hop": 0,
                "start": 0.0,
                "duration": 0.001,
                "bytes": 0,
                "flops": 0,
            }
            for _ in range(1000):
                emit({"type": "spans", "spans": [span] * 1500})

    @staticmethod
    def asked(params: dict, out: numpy.ndarray, lse: numpy.ndarray) -> dict:
        if params["output"] == "none":
            return {}
        if params["output"] == "rows":
            tokens, heads = numpy.array(params["rows"], dtype=int).reshape(-1, 2).T
            out, lse = out[tokens, heads], lse[tokens, heads]
        return {"out": out.astype(numpy.float32), "lse": lse.astype(numpy.float32)}

    def open(self, params: dict, *_: object) -> tuple[dict, dict]:
        self.last += 1
        self.sessions[self.last] = {"params": params, "rows": {}}
        return {"session": self.last, "capacity": params["capacity"]}, {}

    def step(self, params: dict, inputs: dict, emit: Callable, cancelled: Callable) -> tuple[dict, dict]:
        """Prefill and decode alike."""
        if params["session"] not in self.sessions:
            raise Refused("unknown-session", f"found session {params['session']}")
        session = self.sessions[params["session"]]
        shape, held = session["params"], session["rows"]
        self.misbehave(params.get("seed"), emit)
        if params.get("seed") == MISCHIEF["deaf"]:
            time.sleep(2)
        outs, lses, at = [], [], 0
        for entry in params["batch"]:
            old, t = held.get(entry["sequence"], {"k": [], "v": []}), entry["new"]
            p = sum(len(part) for part in old["k"])
            if t * (t + p) * shape["heads"] > 1 << 24:
                raise Refused("does-not-fit", "too much for a test")
            if inputs:
                q, k, v = (widen(inputs[name])[at : at + t] for name in "qkv")
            else:
                q, k, v = (
                    seeded((params["seed"] + entry["sequence"]) % 2**32, number, p, t, heads, shape["headDim"])
                    for number, heads in enumerate((shape["heads"], shape["kvHeads"], shape["kvHeads"]))
                )
            at += t
            new = {"k": [*old["k"], k], "v": [*old["v"], v]}
            held[entry["sequence"]] = new
            o, row_lse = attention(
                q, numpy.concatenate(new["k"]), numpy.concatenate(new["v"]), True, shape["headDim"] ** -0.5
            )
            outs.append(o)
            lses.append(row_lse)
        return {}, self.asked(params, numpy.concatenate(outs), numpy.concatenate(lses))

    def evict(self, params: dict, *_: object) -> tuple[dict, dict]:
        self.sessions[params["session"]]["rows"].pop(params["sequence"], None)
        return {}, {}

    def shut(self, params: dict, *_: object) -> tuple[dict, dict]:
        if self.sessions.pop(params["session"], None) is None:
            raise Refused("unknown-session", f"found session {params['session']}")
        return {"closed": params["session"], "left": len(self.sessions)}, {}

    number = 0

    def cancel(self, run: int) -> None:
        pass

    def serve(self) -> bool:
        while True:
            time.sleep(1)

    def close(self) -> None:
        if self.world > 1:
            os._exit(0)


def widen(array: object) -> numpy.ndarray:
    """An array as f64. bf16 comes as a torch tensor."""
    return numpy.asarray(array if isinstance(array, numpy.ndarray) else array.double().numpy(), dtype=numpy.float64)


if __name__ == "__main__":
    compute.main(FakeEngine, sys.argv[1:])
