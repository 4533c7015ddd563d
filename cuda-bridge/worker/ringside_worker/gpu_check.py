"""
What a GPU makes of all this, in under ten minutes and one JSON: self-check, ceilings, one kernel call beside the ring, pass-Q at Table 4's miss rates, decode
of Table 8, layer mode, and the bars.

    python -m ringside_worker.gpu_check --out results.json [--quick]

Shapes are one GPU's of TP8 (16 query heads, 1 KV head, D 128, bf16, causal), K is 1,000 as in the paper. Without a GPU it takes tiny sizes, so that tests can
drive it, and the JSON says that it was not run on one. What the time or the memory does not allow is left out and named under "skipped".
"""

import argparse
import datetime
import json
import sys
import time
from collections.abc import Callable

import torch

from .engine import Cancelled, Engine, Refused
from .exchange import parcel_bytes
from .reference import reference
from .seeded import seeded_rows

HEADS, DIM, SEED = 16, 128, 7
GTT = {"bandwidth": 26e9, "latency": 35e-6}
"""The wire of the simulated ranks: what the paper's Tables 5 and 8 imply of its RDMA fabric."""
TABLE_4 = [
    (126720, 1280, 1023.39, 898.71),
    (124800, 3200, 1110.18, 1046.43),
    (123840, 4160, 1298.92, 1280.1),
    (121600, 6400, 1305.56, 1302.01),
    (115200, 12800, 2080.67, 2205.27),
]
TABLE_4 += [
    (89600, 38400, 4629.23, 4922.52),
    (64000, 64000, 6845.21, 7367.99),
    (51200, 76800, 7890.35, 8468.66),
    (25600, 102400, 10105.78, 10652.39),
    (12800, 115200, 11136.4, 11571.62),
    (0, 128000, 11462.15, 12360.57),
]
"""P, T, TTFT in ms by pass-KV and by pass-Q on CP4."""
TABLE_8 = [
    (128000, 1, 1, 38.9),
    (128000, 1, 2, 22.0),
    (128000, 1, 4, 14.7),
    (32000, 4, 1, 60.1),
    (32000, 4, 2, 13.9),
    (32000, 4, 4, 9.6),
]
"""Context, B, N, and one attention op in microseconds."""
TINY = {"dModel": 128, "heads": 16, "kvHeads": 8, "headDim": 16, "ffn": 256, "layers": 126}
RING_BAR, RATE_BAR, ERROR_BAR = 1.03, 0.70, 2.0


class Check:
    """One pass over the measurements; `document` grows as they are made."""

    def __init__(
        self,
        engine: Engine,
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
        facts = engine.facts()
        self.document: dict = {
            "what": "ringside_worker.gpu_check",
            "version": 1,
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "ranOnGpu": self.gpu,
            **(
                {}
                if self.gpu
                else {
                    "note": "not run on a GPU: tiny sizes on a CPU, which show that the script works and nothing else"
                }
            ),
            "quick": quick,
            "machine": facts,
            "selfCheck": engine.kernels.checks,
            "shape": {"heads": HEADS, "kvHeads": 1, "headDim": DIM, "dtype": self.name, "causal": True},
            "skipped": [],
        }

    def run(self) -> dict:
        # What takes longest comes last: the time may not be enough for it.
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
                self.skip(name, f"the time budget of {self.budget:.0f} s is used up")
                continue
            part()
        self.document["bars"] = self.bars()
        self.document["seconds"] = time.monotonic() - self.started
        self.progress(len(parts), len(parts), "done")
        return self.document

    def left(self) -> float:
        if self.cancelled():
            raise Cancelled()
        return self.budget - (time.monotonic() - self.started)

    def skip(self, what: str, why: str) -> None:
        self.document["skipped"].append({"what": what, "why": why})

    def timed(self, fn: Callable[[], object], repeats: int) -> float:
        """Seconds of one call: the median of `repeats` after a first one that does not count."""
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
        """Seconds of a call of microseconds, and how: 50 in a CUDA graph, so that launches do not count; else one by one."""
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
        engine, device = self.engine, self.engine.device
        flops = 4.0 * DIM * HEADS * tokens * (tokens + 1) / 2
        samples = sorted(
            {0, 1, tokens // 3, tokens // 2, tokens - 2, tokens - 1, *(tokens * i // 11 for i in range(1, 11))}
        )
        row: dict = {"tokens": tokens, "flops": flops, "rings": []}
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
        else:
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
        del q, k, v
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
                    .to(device)
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

    def ring(self, p: dict, what: str, repeats: int) -> tuple[dict, dict, float] | None:
        """A run after one that does not count: the report, the tensors, and the device time of all ranks together, attention and merges (the median)."""
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
                    self.skip(what, f"the time budget of {self.budget:.0f} s is used up")
                    return None
                spans: list[dict] = []
                report, tensors = self.engine.run(
                    "attend", full, {}, lambda e: spans.extend(e.get("spans", [])), self.cancelled
                )
                if i > 0:
                    times.append(
                        sum(s["duration"] for s in spans if s["lane"] == "device" and s["kind"] in ("attend", "merge"))
                    )
                found = (report, tensors)
        except Refused as error:
            if error.code != "does-not-fit":
                raise
            self.skip(what, str(error))
            return None
        return *found, sorted(times)[len(times) // 2]

    def errors(self, o: torch.Tensor, lse: torch.Tensor, exact: torch.Tensor, exact_lse: torch.Tensor) -> dict:
        gap = o.double() - exact
        return {
            "error": gap.abs().max().item(),
            "rms": gap.square().mean().sqrt().item(),
            "lseError": (lse.double() - exact_lse).abs().max().item(),
        }

    def pass_q(self) -> None:
        """Both variants at Table 4's miss rates: seconds of a layer's ring on the modelled wire."""
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
        """One rank's attention op of a decode hop: ceil(B/N) queries, each to its own context over N."""
        kernels, rows = self.engine.kernels, []
        kernels.ready(self.dtype, HEADS, 1, DIM)
        for context, batch, ranks, paper in TABLE_8:
            context //= self.shrink
            own, queries = context // ranks, -(-batch // ranks)
            q = torch.randn(queries, 1, HEADS, DIM, device=self.engine.device).to(self.dtype)
            kv = torch.randn(queries, 2, own, 1, DIM, device=self.engine.device).to(self.dtype)
            seconds, how = self.timed_small(
                lambda: [kernels.attend(q[i], kv[i, 0], kv[i, 1], False, DIM**-0.5) for i in range(queries)]
            )
            message, parcel = queries * HEADS * DIM * 2, (ranks - 1) * parcel_bytes(queries, HEADS, DIM, self.dtype)
            rows.append(
                {
                    "context": context,
                    "batch": batch,
                    "ranks": ranks,
                    "op": seconds,
                    "how": how,
                    "ring": ranks * seconds,
                    "read": queries * own * 2 * DIM * 2 / seconds,
                    "messageBytes": message,
                    "parcelBytes": parcel,
                    "paper": {"op": paper * 1e-6},
                }
            )
        self.document["decode"] = rows

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
            p = {
                "tokens": tokens,
                "ranks": ranks,
                "variant": "pass-kv",
                "dtype": self.name,
                "link": GTT,
                **({} if self.gpu else {"model": TINY}),
            }
            if self.left() < 0:
                self.skip(
                    f"layer of {tokens} tokens over {ranks}", f"the time budget of {self.budget:.0f} s is used up"
                )
                continue
            try:
                value, _ = self.engine.run("layer", p, {}, lambda e: None, self.cancelled)
                out.append({key: item for key, item in value.items() if key != "perRank"})
            except Refused as error:
                if error.code != "does-not-fit":
                    raise
                self.skip(f"layer of {tokens} tokens over {ranks}", str(error))
        self.document["layer"] = out

    def bars(self) -> list[dict]:
        """Each with what was found; `passed` is null where it could not be judged."""
        middle = next((a for a in self.document["attention"] if a["tokens"] == 128000), {})
        eight = next((r for r in middle.get("rings", []) if r["ranks"] == 8), {})
        found = [
            ("the ring at N = 8 in device time, over one call, at 128K", "at most", RING_BAR, eight.get("ofSingle")),
            (
                "one call at 128K, over the matrix product's rate",
                "at least",
                RATE_BAR,
                middle.get("single", {}).get("ofProduct"),
            ),
        ]
        errors = [
            (ring["error"] / row["single"]["error"], ring["ranks"], row["tokens"])
            for row in self.document["attention"]
            if "single" in row
            for ring in row["rings"]
        ]
        found.append(
            (
                "the ring's largest error over one call's, worst of all sizes and N",
                "at most",
                ERROR_BAR,
                max(errors)[0] if errors else None,
            )
        )
        out = []
        for name, sense, bar, value in found:
            passed = None if value is None else value <= bar if sense == "at most" else value >= bar
            out.append(
                {
                    "name": name,
                    "sense": sense,
                    "bar": bar,
                    "found": value,
                    "passed": passed,
                    **(
                        {}
                        if value is not None
                        else {"why": "not run on a GPU" if not self.gpu else "not measured; see skipped"}
                    ),
                }
            )
        return out


def bench(engine: Engine, quick: bool, emit: Callable[[dict], None], cancelled: Callable[[], bool]) -> dict:
    """The protocol's `bench`: the same document; a single call too long to be cancelled is left out."""
    return Check(
        engine,
        quick,
        540,
        0.9,
        lambda done, total, note: emit({"type": "progress", "done": done, "total": total, "note": note}),
        cancelled,
    ).run()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ringside_worker.gpu_check",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", required=True, help="the JSON to write")
    parser.add_argument("--quick", action="store_true", help="without 1M tokens")
    parser.add_argument("--budget", type=float, default=540, help="seconds (default 540)")
    parser.add_argument("--device", choices=["cuda", "cpu"], help="default: CUDA where there is one")
    options = parser.parse_args()
    engine = Engine.start(device=options.device)
    if engine.rank != 0:
        engine.serve()
        return 0
    try:
        document = Check(
            engine,
            options.quick,
            options.budget,
            float("inf"),
            lambda done, total, note: print(f"{done}/{total} {note}", flush=True),
            lambda: False,
        ).run()
    finally:
        engine.close()
    with open(options.out, "w") as file:
        json.dump(document, file, indent=1, allow_nan=False)
        file.write("\n")
    print(summary(document))
    return 0 if all(bar["passed"] is not False for bar in document["bars"]) else 1


def summary(document: dict) -> str:
    """For people."""
    lines = [document["machine"]["devices"][0]["name"], *([document["note"]] if "note" in document else [])]
    if "ceilings" in document:
        c = document["ceilings"]
        lines.append(f"product {c['product']['rate'] / 1e12:.4g} TFLOP/s, copy {c['copy']['rate'] / 1e9:.4g} GB/s")
    for row in document["attention"]:
        single = row.get("single")
        lines.append(
            f"{row['tokens']} tokens: "
            + (
                f"one call {single['seconds'] * 1e3:.4g} ms, {single['rate'] / 1e12:.4g} TFLOP/s, error {single['error']:.3g} ({', '.join(single['kernel'])})"
                if single
                else "no single call"
            )
        )
        lines += [
            f"  N = {r['ranks']}: {r['deviceSeconds'] * 1e3:.4g} ms on the device"
            + (f", {r['ofSingle']:.4g} times one call" if "ofSingle" in r else "")
            + f", error {r['error']:.3g}"
            for r in row["rings"]
        ]
    for row in document.get("layer", []):
        lines.append(
            f"layer of {row['tokens']} tokens over {row['ranks']}: {row['layerSeconds'] * 1e3:.4g} ms, TTFT {row['ttft']:.4g} s"
            + (f" (paper {row['paper']:.4g} s)" if "paper" in row else "")
        )
    for bar in document["bars"]:
        verdict = {True: "passed", False: "FAILED", None: "not judged"}[bar["passed"]]
        lines.append(
            f"{verdict}: {bar['name']}: {'-' if bar['found'] is None else format(bar['found'], '.4g')}, {bar['sense']} {bar['bar']}"
            + (f" ({bar['why']})" if "why" in bar else "")
        )
    lines += [f"skipped: {s['what']}: {s['why']}" for s in document["skipped"]]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
