"""
Measures the worker on a GPU: self-check, ceilings, one call beside the ring, pass-Q, decode, layer mode, the bars.

gpu_check.py runs it from a command line, and the engine as the protocol's `bench`. The shapes are those of one GPU of
TP8 (16 query heads, 1 KV head, D 128, bf16, causal); K is 1,000 as in the paper. Without a GPU it uses tiny sizes, so
that tests can run it, and the document says that it was not run on one. "skipped" lists the parts that exceeded the
time or the memory.
"""

import datetime
import time
from collections.abc import Callable

import torch

from .errors import Cancelled, Refused
from .exchange import parcel_bytes
from .paper import GTT, TABLE_4, TABLE_8
from .reference import reference
from .seeded import seeded_rows

HEADS, DIM, SEED = 16, 128, 7
TINY = {"dModel": 128, "heads": 16, "kvHeads": 8, "headDim": 16, "ffn": 256, "layers": 126}
RING_BAR, RATE_BAR, ERROR_BAR = 1.03, 0.70, 2.0
LONGEST_CALL = 0.9
"""Seconds of a kernel call that `bench` may still make: no call can be cancelled in the middle."""


class Bench:
    """One pass over the measurements. `document` grows with each."""

    def __init__(
        self,
        engine,
        quick: bool,
        budget: float,
        longest_call: float,
        progress: Callable[[int, int, str], None],
        cancelled: Callable[[], bool],
    ):
        self.engine, self.quick, self.progress, self.cancelled = engine, quick, progress, cancelled
        self.gpu = engine.device.type == "cuda"
        self.started, self.budget, self.longest_call = time.monotonic(), budget, longest_call
        self.dtype, self.name = (torch.bfloat16, "bf16")
        self.sizes = ([16000, 128000] if quick else [16000, 128000, 1000000]) if self.gpu else [160, 640]
        self.shrink = 1 if self.gpu else 200
        self.rings = (
            [2, 4, 8, 16]
            if engine.world == 1
            else sorted({n for n in (2, 4, 8, 16) if n < engine.world} | {engine.world})
        )
        no_gpu = "not run on a GPU: tiny sizes on a CPU, which show that the script works and nothing else"
        self.document: dict = {
            "what": "ringside_worker.gpu_check",
            "version": 1,
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "ranOnGpu": self.gpu,
            **({} if self.gpu else {"note": no_gpu}),
            "quick": quick,
            "machine": engine.facts(),
            "selfCheck": engine.kernels.checks,
            "shape": {"heads": HEADS, "kvHeads": 1, "headDim": DIM, "dtype": self.name, "causal": True},
            "skipped": [],
        }

    def run(self) -> dict:
        # What takes longest comes last, because the time may not be enough for it.
        parts = [
            ("ceilings", self.ceilings),
            ("decode", self.decode),
            *((f"attention {n}", lambda n=n: self.attention(n)) for n in self.sizes),
            ("layer", self.layers),
            ("pass-Q", self.pass_q),
        ]
        self.document["attention"] = []
        for i, (name, part) in enumerate(parts):
            self.progress(i, len(parts), name)
            if self.left() < 0.05 * self.budget:
                self.skip(name, self.out_of_time())
                continue
            part()
        self.document["bars"] = self.bars()
        self.document["seconds"] = time.monotonic() - self.started
        self.progress(len(parts), len(parts), "done")
        return self.document

    def left(self) -> float:
        """Seconds left of the budget. Raises Cancelled."""
        if self.cancelled():
            raise Cancelled
        return self.budget - (time.monotonic() - self.started)

    def out_of_time(self) -> str:
        return f"the time budget of {self.budget:.0f} s is used up"

    def skip(self, what: str, why: str) -> None:
        self.document["skipped"].append({"what": what, "why": why})

    def timed(self, fn: Callable[[], object], repeats: int) -> float:
        """Seconds of one call: the median of `repeats` after a first one that doesn't count."""
        clock = self.engine.clock
        clock.start()
        fn()
        if repeats == 1:  # a call of seconds
            clock.wait(clock.mark())
        marks = []
        for _ in range(repeats):
            a = clock.mark()
            fn()
            marks.append((a, clock.mark()))
        clock.wait(marks[-1][1])
        times = sorted(clock.between(a, b) for a, b in marks)
        return times[len(times) // 2]

    def timed_small(self, fn: Callable[[], object]) -> tuple[float, str]:
        """Seconds of a call of microseconds, and how: 50 in a CUDA graph, so that launches don't count; else singly."""
        if self.gpu:
            try:
                side = torch.cuda.Stream()
                side.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(side):
                    for _ in range(3):
                        fn()
                torch.cuda.current_stream().wait_stream(side)
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph):
                    for _ in range(50):
                        fn()
                return self.timed(graph.replay, 5) / 50, "CUDA graph"
            except RuntimeError as error:
                self.document.setdefault("notes", []).append(f"no CUDA graph: {str(error).splitlines()[0][:160]}")
                torch.cuda.synchronize()
        return self.timed(fn, 20), "one by one"

    def ceilings(self) -> None:
        """The rates of a large matrix product and of a copy."""
        n, size = (8192, 1 << 30) if self.gpu else (256, 1 << 22)
        a, b = (torch.randn(n, n, device=self.engine.device).to(self.dtype) for _ in range(2))
        out = torch.empty_like(a)
        seconds = self.timed(lambda: torch.mm(a, b, out=out), 20)
        source = torch.zeros(size, dtype=torch.uint8, device=self.engine.device)
        copy = torch.empty_like(source)
        moved = self.timed(lambda: copy.copy_(source), 20)
        self.document["ceilings"] = {
            "product": {"n": n, "dtype": self.name, "seconds": seconds, "rate": 2 * n**3 / seconds},
            "copy": {"bytes": size, "seconds": moved, "rate": 2 * size / moved},
        }

    def attention(self, tokens: int) -> None:
        """One call, and the ring at each N: device time, and errors on sampled rows of the same seeded inputs."""
        samples = sorted(
            {0, 1, tokens // 3, tokens // 2, tokens - 2, tokens - 1, *(tokens * i // 11 for i in range(1, 11))}
        )
        row: dict = {"tokens": tokens, "flops": 4.0 * DIM * HEADS * tokens * (tokens + 1) / 2, "rings": []}
        exact, exact_lse = self.single(row, samples)
        if self.gpu:
            torch.cuda.empty_cache()
        for ranks in self.rings:
            p = {
                "sequences": [{"new": tokens, "cached": 0}],
                "ranks": ranks,
                "variant": "pass-kv",
                "output": "rows",
                "rows": [[t, h] for t in samples for h in range(HEADS)],
            }
            found = self.ring(p, f"ring of {ranks} at {tokens} tokens", 1 if not self.gpu or tokens >= 500000 else 3)
            if found is not None:
                report, tensors, device_seconds = found
                out, lse = (
                    torch.as_tensor(tensors[name])
                    .view(len(samples), HEADS, *(() if name == "lse" else (DIM,)))
                    .to(self.engine.device)
                    for name in ("out", "lse")
                )
                ring = {
                    "ranks": ranks,
                    "deviceSeconds": device_seconds,
                    "seconds": report["times"]["total"],
                    "kernel": report["kernel"],
                    "merge": report["merge"],
                    "plannedBytes": report["plannedBytes"],
                    **({"peakMemoryBytes": report["peakMemoryBytes"]} if self.gpu else {}),
                    **self.errors(out, lse, exact, exact_lse),
                }
                if "single" in row:
                    ring["ofSingle"] = device_seconds / row["single"]["seconds"]
                row["rings"].append(ring)
        self.document["attention"].append(row)

    def single(self, row: dict, samples: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """One call over all tokens, into `row["single"]`. Returns the exact O and LSE of the sampled rows."""
        engine, device, tokens, flops = self.engine, self.engine.device, row["tokens"], row["flops"]
        q, k, v = (torch.empty(tokens, heads, DIM, dtype=self.dtype, device=device) for heads in (HEADS, 1, 1))
        for name, tensor in (("q", q), ("k", k), ("v", v)):
            seeded_rows(SEED, name, 0, tensor)
        at = torch.tensor(samples, device=device)
        exact, exact_lse = reference(q[at], k, v, at + 1, DIM**-0.5)
        engine.kernels.ready(self.dtype, HEADS, 1, DIM)
        engine.kernels.used = set()
        if flops / engine.rate > self.longest_call:
            self.skip(
                f"one call at {tokens} tokens",
                "it could not be cancelled within a second; ringside_worker.gpu_check measures it",
            )
            return exact, exact_lse
        o, lse = engine.kernels.attend(q, k, v, True, DIM**-0.5)
        errors = self.errors(o[at], lse[at], exact, exact_lse)
        del o, lse
        seconds = self.timed(lambda: engine.kernels.attend(q, k, v, True, DIM**-0.5), 5 if tokens < 500000 else 1)
        row["single"] = {
            "seconds": seconds,
            "rate": flops / seconds,
            "kernel": sorted(engine.kernels.used),
            **errors,
        }
        engine.rate = max(engine.rate, 0.5 * flops / seconds)
        if "ceilings" in self.document:
            row["single"]["ofProduct"] = row["single"]["rate"] / self.document["ceilings"]["product"]["rate"]
        return exact, exact_lse

    def ring(self, p: dict, what: str, repeats: int) -> tuple[dict, dict, float] | None:
        """
        Runs after a first run that doesn't count. Returns report, tensors and device time; None if it was skipped.

        The device time is that of all ranks' attention and merges together, the median of the runs.
        """
        full = {
            "heads": HEADS,
            "kvHeads": 1,
            "headDim": DIM,
            "causal": True,
            "dtype": self.name,
            "seed": SEED,
            "link": GTT,
            **p,
        }
        found, times = None, []
        try:
            for i in range(repeats + 1):
                if self.left() < 0:
                    self.skip(what, self.out_of_time())
                    return None
                report, tensors, seconds = self.run_once(full)
                if i > 0:
                    times.append(seconds)
                found = (report, tensors)
        except Refused as error:
            if error.code != "does-not-fit":
                raise
            self.skip(what, str(error))
            return None
        return *found, sorted(times)[len(times) // 2]

    def run_once(self, p: dict) -> tuple[dict, dict, float]:
        """Report, tensors, and the device time of all ranks' attention and merges together."""
        spans: list[dict] = []
        report, tensors = self.engine.run("attend", p, {}, lambda e: spans.extend(e.get("spans", [])), self.cancelled)
        on_device = [s for s in spans if s["lane"] == "device" and s["kind"] in ("attend", "merge")]
        return report, tensors, sum(s["duration"] for s in on_device)

    def errors(self, o: torch.Tensor, lse: torch.Tensor, exact: torch.Tensor, exact_lse: torch.Tensor) -> dict:
        gap = o.double() - exact
        return {
            "error": gap.abs().max().item(),
            "rms": gap.square().mean().sqrt().item(),
            "lseError": (lse.double() - exact_lse).abs().max().item(),
        }

    def pass_q(self) -> None:
        """Both variants at Table 4's miss rates: seconds of a layer's ring with modelled transfers."""
        rows, ranks = [], 4 if self.engine.world == 1 else self.engine.world
        for cached, new, kv_ms, q_ms in TABLE_4[:: 5 if self.quick and not self.gpu else 1]:
            row: dict = {
                "cached": cached // self.shrink,
                "new": new // self.shrink,
                "ranks": ranks,
                "paper": {
                    "passKv": kv_ms / 1e3,
                    "passQ": q_ms / 1e3,
                    "faster": "pass-q" if q_ms < kv_ms else "pass-kv",
                },
            }
            for variant in ("pass-kv", "pass-q"):
                p = {
                    "sequences": [{"new": row["new"], "cached": row["cached"]}],
                    "ranks": ranks,
                    "variant": variant,
                    "output": "none",
                }
                found = self.ring(p, f"{variant} at T = {new}", 1)
                if found is not None:
                    times = found[0]["times"]
                    row[variant] = {
                        "seconds": times["total"],
                        "attend": times["attend"],
                        "exchange": times["exchange"],
                        "merge": times["merge"],
                    }
            if "pass-kv" in row and "pass-q" in row:
                row["faster"] = "pass-q" if row["pass-q"]["seconds"] < row["pass-kv"]["seconds"] else "pass-kv"
            rows.append(row)
        self.document["passQ"] = rows

    def decode(self) -> None:
        """One rank's attention op of a decode hop: ceil(B/N) queries, each against its own context over N."""
        self.engine.kernels.ready(self.dtype, HEADS, 1, DIM)
        self.document["decode"] = [
            self.decode_op(context // self.shrink, batch, ranks, paper) for context, batch, ranks, paper in TABLE_8
        ]

    def decode_op(self, context: int, batch: int, ranks: int, paper: float) -> dict:
        attend, own, queries = self.engine.kernels.attend, context // ranks, -(-batch // ranks)
        q = torch.randn(queries, 1, HEADS, DIM, device=self.engine.device).to(self.dtype)
        kv = torch.randn(queries, 2, own, 1, DIM, device=self.engine.device).to(self.dtype)
        seconds, how = self.timed_small(
            lambda: [attend(q[i], kv[i, 0], kv[i, 1], False, DIM**-0.5) for i in range(queries)]
        )
        return {
            "context": context,
            "batch": batch,
            "ranks": ranks,
            "op": seconds,
            "how": how,
            "ring": ranks * seconds,
            "read": queries * own * 2 * DIM * 2 / seconds,
            "messageBytes": queries * HEADS * DIM * 2,
            "parcelBytes": (ranks - 1) * parcel_bytes(queries, HEADS, DIM, self.dtype),
            "paper": {"op": paper * 1e-6},
        }

    def layers(self) -> None:
        """Layer mode, from which the TTFT of the 126 layers follows."""
        out = []
        cases = (
            (
                [(128000, 1), (128000, 4), (128000, 16), *([] if self.quick else [(1000000, 16)])]
                if self.gpu
                else [(640, 1), (640, 4)]
            )
            if self.engine.world == 1
            else [((128000 if self.gpu else 640), n) for n in (1, *self.rings)]
        )
        for tokens, ranks in cases:
            what = f"layer of {tokens} tokens over {ranks}"
            p = {
                "tokens": tokens,
                "ranks": ranks,
                "variant": "pass-kv",
                "dtype": self.name,
                "link": GTT,
                **({} if self.gpu else {"model": TINY}),
            }
            if self.left() < 0:
                self.skip(what, self.out_of_time())
                continue
            try:
                value, _ = self.engine.run("layer", p, {}, lambda e: None, self.cancelled)
                out.append({key: item for key, item in value.items() if key != "perRank"})
            except Refused as error:
                if error.code != "does-not-fit":
                    raise
                self.skip(what, str(error))
        self.document["layer"] = out

    def bars(self) -> list[dict]:
        """Each bar with the measured figure. `passed` is null if there is nothing to judge."""
        middle = next((a for a in self.document["attention"] if a["tokens"] == 128000), {})
        eight = next((r for r in middle.get("rings", []) if r["ranks"] == 8), {})
        of_product = middle.get("single", {}).get("ofProduct")
        errors = [
            ring["error"] / row["single"]["error"]
            for row in self.document["attention"]
            if "single" in row
            for ring in row["rings"]
        ]
        found = [
            ("the ring at N = 8 in device time, over one call, at 128K", "at most", RING_BAR, eight.get("ofSingle")),
            ("one call at 128K, over the matrix product's rate", "at least", RATE_BAR, of_product),
            (
                "the ring's largest error over one call's, worst of all sizes and N",
                "at most",
                ERROR_BAR,
                max(errors) if errors else None,
            ),
        ]
        unjudged = "not run on a GPU" if not self.gpu else "not measured; see skipped"
        out = []
        for name, sense, bar, value in found:
            passed = None if value is None else value <= bar if sense == "at most" else value >= bar
            row = {"name": name, "sense": sense, "bar": bar, "found": value, "passed": passed}
            out.append({**row, **({"why": unjudged} if value is None else {})})
        return out


def bench(engine, quick: bool, emit: Callable[[dict], None], cancelled: Callable[[], bool]) -> dict:
    """The protocol's `bench`: gpu_check's document, without single calls that take too long to be cancelled."""
    return Bench(
        engine,
        quick,
        540,
        LONGEST_CALL,
        lambda done, total, note: emit({"type": "progress", "done": done, "total": total, "note": note}),
        cancelled,
    ).run()
