"""
Layer mode: one transformer layer's share of one GPU of a TP group, over N context-parallel ranks, and the time to the first token that follows from it.

The layer is Llama's: RMSNorm, Q K V product, RoPE, ring attention, output product, RMSNorm, gated feed-forward (row-wise FP8 where the device has it, else the
compute type). A GPU of TP8 has 1/8 of the heads and of the feed-forward; what its seven neighbours would add to the sums after the output and the down product
is not there, so the all-reduce between them is the one term that no machine of this worker measures: it is modelled. Every rank's rows are worked, simulated
ranks one after the other; a term's time is that of the rank that took longest.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from . import fp8
from .errors import Refused
from .exchange import Chunk
from .job import HOLDS, Job, need
from .memory import largest_that, require, text
from .run import Listener, Run
from .seeded import seeded_rows

LLAMA = {"dModel": 16384, "heads": 128, "kvHeads": 8, "headDim": 128, "ffn": 53248, "layers": 126}
"""Llama 3 405B (Table 9)."""
TILE = 8192
"""Rows worked at a time, which bounds activations."""
ROPE_BASE, EPSILON = 500000.0, 1e-5
HOST_BUS = 370e9
"""Bytes/s of an all-reduce in a host of NVLink 4 (engine/plan/fabrics.ts)."""
LINK = {"bandwidth": 26e9, "latency": 35e-6}
"""A ring transfer where none is given: what Table 5 and Table 8 imply of the paper's RDMA fabric (400 Gb/s a GPU)."""
PAPER = {
    (128000, 1): 42.010,
    (128000, 2): 21.042,
    (128000, 4): 10.950,
    (128000, 8): 5.85,
    (128000, 16): 3.8,
    (1000000, 16): 77.0,
}
"""TTFT in seconds by tokens and CP ranks (Tables 6 and 7, sections 4.2.1 to 4.2.3)."""
PRE, POST = ("norm 1", "qkv product", "rope"), ("out product", "norm 2", "up product", "activation", "down product")


@dataclass
class Weights:
    """One GPU's share: qkv `[(h + 2 hkv) D, d]`, out `[d, h D]`, up `[2 f, d]` (gate, then up), down `[d, f]`, as torch.nn.Linear stores them."""

    qkv: torch.Tensor
    out: torch.Tensor
    up: torch.Tensor
    down: torch.Tensor
    up8: tuple[torch.Tensor, torch.Tensor] | None = None
    down8: tuple[torch.Tensor, torch.Tensor] | None = None


@dataclass(frozen=True)
class Sizes:
    d: int
    heads: int
    kv_heads: int
    dim: int
    f: int
    layers: int

    @classmethod
    def of(cls, model: dict, tp: int) -> "Sizes":
        for name in ("heads", "kvHeads", "ffn"):
            if model[name] % tp:
                raise Refused("bad-input", f"model: found {name} {model[name]}, expected a multiple of tp {tp}")
        if model["heads"] % model["kvHeads"]:
            raise Refused(
                "bad-input", f"model: found {model['heads']} heads and {model['kvHeads']} KV heads, expected a multiple"
            )
        return cls(
            model["dModel"],
            model["heads"] // tp,
            model["kvHeads"] // tp,
            model["headDim"],
            model["ffn"] // tp,
            model["layers"],
        )

    @property
    def weights(self) -> int:
        return self.d * ((2 * self.heads + 2 * self.kv_heads) * self.dim + 3 * self.f)


def make_weights(sizes: Sizes, dtype: torch.dtype, device: torch.device, seed: int, use_fp8: bool) -> Weights:
    """Random, of such a spread that activations keep theirs."""
    generator = torch.Generator(device).manual_seed(seed)

    def matrix(outer: int, inner: int) -> torch.Tensor:
        return (
            torch.randn(outer, inner, generator=generator, device=device, dtype=torch.float32)
            .mul_(inner**-0.5)
            .to(dtype)
        )

    w = Weights(
        matrix((sizes.heads + 2 * sizes.kv_heads) * sizes.dim, sizes.d),
        matrix(sizes.d, sizes.heads * sizes.dim),
        matrix(2 * sizes.f, sizes.d),
        matrix(sizes.d, sizes.f),
    )
    if use_fp8:
        w.up8, w.down8 = fp8.quantised(w.up), fp8.quantised(w.down)
        w.up, w.down = w.up[:0], w.down[:0]
    return w


def rope(x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Rotates x `[rows, heads, D]` by its positions; halves are the pairs."""
    half = x.shape[-1] // 2
    angle = positions.double()[:, None] * ROPE_BASE ** (
        -torch.arange(half, device=x.device, dtype=torch.float64) / half
    )
    cos, sin = angle.cos().float()[:, None, :], angle.sin().float()[:, None, :]
    a, b = x[..., :half].float(), x[..., half:].float()
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1).to(x.dtype)


def gated(x: torch.Tensor) -> torch.Tensor:
    """SiLU of the first half of the columns times the second."""
    f = x.shape[-1] // 2
    return F.silu(x[:, :f]) * x[:, f:]


class Layer:
    """The layer on the rows of some ranks, each term timed."""

    def __init__(self, engine, sizes: Sizes, job: Job, seed: int, use_fp8: bool, look):
        self._engine, self._job, self._look, self._fp8 = engine, job, look, use_fp8
        self.sizes, self.seed = sizes, seed
        self.weights = make_weights(sizes, job.dtype, engine.device, seed, use_fp8)
        compiled = engine.merger.how == "fused"
        self._rope, self._gated, self._quantised = (
            torch.compile(f, dynamic=True) if compiled else f for f in (rope, gated, fp8.quantised)
        )
        self._ones = torch.ones(sizes.d, dtype=job.dtype, device=engine.device)
        self._marks: list[tuple[int, str, object, object]] = []

    def rows(self, rank: int) -> list[tuple[int, int, int]]:
        """(row, end row, position of the row) of a rank's tokens, in tiles."""
        out = []
        for _, start, end, row in self._job.queries[rank].runs():
            out += [(row + at, row + min(at + TILE, end - start), start + at) for at in range(0, end - start, TILE)]
        return out

    def input(self, position: int, rows: int) -> torch.Tensor:
        """The residual stream `[rows, d]` that comes in, from the seeded generator: the same whatever the sharding."""
        return seeded_rows(
            self.seed, "q", position, torch.empty(rows, self.sizes.d, dtype=self._job.dtype, device=self._engine.device)
        )

    def before(self, rank: int, q: torch.Tensor, kv: torch.Tensor) -> None:
        """Up to attention: fills the rank's q `[rows, h, D]`, and its new rows of kv `[2, rows, hkv, D]` at `self.kv_row`."""
        s, cut = (
            self.sizes,
            (self.sizes.heads * self.sizes.dim, (self.sizes.heads + self.sizes.kv_heads) * self.sizes.dim),
        )
        for row, end, position in self.rows(rank):
            self._look()
            x = self.input(position, end - row)
            x = self._timed(rank, "norm 1", lambda: F.rms_norm(x, (s.d,), self._ones, EPSILON))
            both = self._timed(rank, "qkv product", lambda: F.linear(x, self.weights.qkv))
            at = torch.arange(position, position + end - row, device=q.device)
            to = self._kv_row(rank, position)

            def rotate() -> None:
                q[row:end] = self._rope(both[:, : cut[0]].unflatten(1, (s.heads, s.dim)), at)
                kv[0, to : to + end - row] = self._rope(both[:, cut[0] : cut[1]].unflatten(1, (s.kv_heads, s.dim)), at)
                kv[1, to : to + end - row] = both[:, cut[1] :].unflatten(1, (s.kv_heads, s.dim))

            self._timed(rank, "rope", rotate)

    def after(self, rank: int, o: torch.Tensor, keep: torch.Tensor | None = None) -> None:
        """From the rank's attention `[rows, h, D]` on; the layer's output goes to `keep` `[rows, d]` if given."""
        s, w = self.sizes, self.weights
        for row, end, position in self.rows(rank):
            self._look()
            x = self.input(position, end - row)
            x = self._timed(rank, "out product", lambda: x + F.linear(o[row:end].to(x.dtype).flatten(1), w.out))
            y = self._timed(rank, "norm 2", lambda: F.rms_norm(x, (s.d,), self._ones, EPSILON))
            y = self._timed(rank, "up product", lambda: self._product(y, w.up, w.up8))
            y = self._timed(rank, "activation", lambda: self._gated(y))
            x = self._timed(rank, "down product", lambda: x + self._product(y, w.down, w.down8))
            if keep is not None:
                keep[row:end] = x

    def seconds(self) -> dict[str, dict[int, float]]:
        """Time of each term by rank."""
        out: dict[str, dict[int, float]] = {}
        for rank, term, a, b in self._marks:
            self._engine.clock.wait(b)
            out.setdefault(term, {})[rank] = out.get(term, {}).get(rank, 0.0) + self._engine.clock.between(a, b)
        return out

    def _product(self, x, w, w8):
        return F.linear(x, w) if w8 is None else fp8.product(*self._quantised(x), *w8)

    def _kv_row(self, rank: int, position: int) -> int:
        row = 0
        for start, end in self._job.keys[rank].ranges[0]:
            if start <= position < end:
                return row + position - start
            row += end - start
        raise AssertionError("a rank's new tokens are among its keys")

    def _timed(self, rank: int, term: str, work):
        if len(self._marks) > 16:  # at most a few tiles ahead of the device, so that a cancelled run ends soon
            self._engine.clock.wait(self._marks[-16][3])
        a = self._engine.clock.mark()
        result = work()
        self._marks.append((rank, term, a, self._engine.clock.mark()))
        return result


class Shifted(Listener):
    """A listener to whom the ring's spans come later by what went before it."""

    shift = 0.0

    def put(self, span: dict) -> None:
        super().put({**span, "start": span["start"] + self.shift})


def layer(engine, p: dict, listener: Listener, slice_flops: float) -> dict:
    """Runs it; the value of the protocol's `layer`, on rank 0. Errors: Refused, Cancelled."""
    T, P, ranks, tp = p["tokens"], p.get("cached", 0), p["ranks"], p.get("tp", 8)
    model, seed, link = {**LLAMA, **p.get("model", {})}, p.get("seed", 1), p.get("link", LINK)
    if engine.world == 1 and ranks == 1:
        link = None

    look = listener.look

    def prepare():
        sizes = Sizes.of(model, tp)
        job_of = lambda n: Job.of_attend(
            {
                "sequences": [{"new": n, "cached": P}],
                "heads": sizes.heads,
                "kvHeads": sizes.kv_heads,
                "headDim": sizes.dim,
                "dtype": p["dtype"],
                "ranks": ranks,
                "causal": True,
                "variant": p["variant"],
            },
            engine.world,
        )
        job = job_of(T)
        check = fp8.check(engine.device)
        use_fp8 = check["ok"] and job.dtype == torch.bfloat16 and sizes.d % 16 == 0 and sizes.f % 16 == 0
        local = 1 if engine.world > 1 else ranks

        def takes(j: Job, hold: int) -> dict[str, int]:
            e, tile = j.dtype.itemsize, min(TILE, max(1, j.queries[0].rows))
            making = 4 * max(2 * sizes.f, (sizes.heads + 2 * sizes.kv_heads) * sizes.dim) * sizes.d
            return {
                **need(j, local, hold),
                "weights": sizes.weights * (1 if use_fp8 else e) + 2 * making,
                "activations": tile * (6 * sizes.d + 6 * sizes.f) * max(2, e) + 48 * min(tile * sizes.d, 1 << 22),
            }

        have = engine.free()
        hold = next((h for h in HOLDS if sum(takes(job, h).values()) <= have), 1)
        if sum(takes(job, hold).values()) > have:
            require(
                takes(job, 1),
                have,
                str(engine.device),
                f"about {largest_that(lambda n: sum(takes(job_of(max(1, n)), 1).values()) <= have, T)} new tokens would",
            )
        engine.warm(job, hold, look)
        work = Layer(engine, sizes, job, seed, use_fp8, look)
        made = {}
        for k in engine.mine(ranks):
            q = torch.zeros(job.queries[k].rows, job.heads, job.head_dim, dtype=job.dtype, device=engine.device)
            kv = torch.zeros(2, job.keys[k].rows, job.kv_heads, job.head_dim, dtype=job.dtype, device=engine.device)
            fill_cached(kv, job, k, seed)
            made[k] = (q, kv)
        if (
            engine.device.type == "cuda"
        ):  # products and kernels are chosen at their first call; that is not the layer's time
            k = min(made)
            work.before(k, *made[k])
            work.after(k, made[k][0])
            work._marks.clear()
        return sizes, job, hold, check, use_fp8, work, made

    sizes, job, hold, check, use_fp8, work, made = engine.together(prepare)
    listener.progress(0, 3, "norm, Q K V product, RoPE")

    def before():
        engine.clock.start()
        for k, (q, kv) in made.items():
            work.before(k, q, kv)
        return work.seconds()

    pre = engine.together(before)
    shifted = Shifted(listener._emit, listener._cancelled)
    lead = max(engine.team.share(sum(max(pre[t].values()) for t in PRE if t in pre)))
    shifted.shift = lead
    run = engine.together(
        lambda: Run(
            engine,
            job,
            hold,
            shifted,
            lambda k: Chunk(k, job.queries[k], made[k][0]),
            lambda k: Chunk(k, job.keys[k], made[k][1]),
            link,
            slice_flops,
            "ring",
        )
    )
    ring = run.go()
    listener.progress(2, 3, "output product, feed-forward")
    work._marks.clear()

    def after():
        engine.clock.start()
        for k in made:
            work.after(k, run.totals[k].o)
        return work.seconds()

    post = engine.together(after)
    gathered = engine.team.share({"pre": keyed(pre), "post": keyed(post)})
    seconds = {
        term: max(s for g in gathered for s in g["pre" if term in PRE else "post"].get(term, {"0": 0.0}).values())
        for term in (*PRE, *POST)
    }
    put_spans(listener, job, work, seconds, lead, lead + ring["times"]["total"])
    listener.flush(everything=True)
    listener.progress(3, 3, "done")
    return report(engine, p, model, sizes, job, ring, run, seconds, link, check, use_fp8)


def keyed(seconds: dict) -> dict:
    return {term: {str(k): s for k, s in by_rank.items()} for term, by_rank in seconds.items()}


def fill_cached(kv: torch.Tensor, job: Job, rank: int, seed: int) -> None:
    """The P cached rows, seeded; new ones are written by `before`."""
    (_, P), row = job.sequences[0], 0
    for start, end in job.keys[rank].ranges[0]:
        cut = min(end, P)
        if start < cut:
            for which, name in enumerate("kv"):
                seeded_rows(seed, name, start, kv[which, row : row + cut - start])
        row += end - start


def products(sizes: Sizes, rows: int) -> dict[str, float]:
    """FLOPs of the products on so many rows."""
    s = sizes
    return {
        "qkv product": 2.0 * rows * s.d * (s.heads + 2 * s.kv_heads) * s.dim,
        "out product": 2.0 * rows * s.d * s.heads * s.dim,
        "up product": 4.0 * rows * s.d * s.f,
        "down product": 2.0 * rows * s.d * s.f,
    }


def put_spans(listener: Listener, job: Job, work: Layer, seconds: dict, lead: float, ring_end: float) -> None:
    """What surrounds the ring, each term as long as on the rank that took longest."""
    flops = products(work.sizes, job.queries[0].rows)
    for k in range(job.ranks):
        for terms, at in ((PRE, lead - sum(seconds[t] for t in PRE)), (POST, ring_end)):
            at = max(0.0, at)
            for term in terms:
                listener.put(
                    {
                        "rank": k,
                        "lane": "device",
                        "kind": "gemm",
                        "hop": 0 if terms is PRE else job.ranks - 1,
                        "start": at,
                        "duration": seconds[term],
                        "bytes": 0,
                        "flops": flops.get(term, 0),
                    }
                )
                at += seconds[term]


def report(
    engine,
    p: dict,
    model: dict,
    sizes: Sizes,
    job: Job,
    ring: dict,
    run: Run,
    seconds: dict,
    link: dict | None,
    check: dict,
    use_fp8: bool,
) -> dict:
    """Terms, and the TTFT that follows."""
    rows, tp, ranks = job.queries[0].rows, p.get("tp", 8), job.ranks
    times, flops = ring["times"], products(sizes, rows)
    activations = rows * sizes.d * job.dtype.itemsize
    allreduce = 2 * (2 * (tp - 1) / tp * activations / HOST_BUS + 10e-6) if tp > 1 else 0.0
    wire = "measured" if engine.world > 1 else "modelled"
    measured = [{"term": t, "seconds": seconds[t], "flops": flops.get(t, 0), "how": "measured"} for t in PRE]
    measured += [
        {
            "term": "attention",
            "seconds": times["total"] - times["exchange"],
            "flops": job.flops / ranks,
            "how": "measured",
        },
        {"term": "exposed communication", "seconds": times["exchange"], "flops": 0, "how": wire},
    ]
    measured += [{"term": t, "seconds": seconds[t], "flops": flops.get(t, 0), "how": "measured"} for t in POST]
    measured.append({"term": "TP all-reduce", "seconds": allreduce, "flops": 0, "how": "modelled"})
    one = sum(row["seconds"] for row in measured)
    T = sum(t for t, _ in job.sequences)
    paper = PAPER.get((T, ranks)) if model == LLAMA and tp == 8 and p.get("cached", 0) == 0 else None
    notes = [
        f"TTFT is {model['layers']} times this layer; the embedding and the output head are left out",
        f"TP all-reduce: two of {text(activations)} over {tp} GPUs at {HOST_BUS / 1e9:.0f} GB/s of a host's bus, modelled",
        f"feed-forward: {'row-wise FP8' if use_fp8 else p['dtype']}"
        + ("" if use_fp8 else f" (FP8 was not used: {check.get('why', 'the compute type is not bf16')})"),
    ]
    if engine.world == 1 and ranks > 1:
        notes.append(
            f"{ranks} simulated ranks share one device; ring transfers are modelled at {link['bandwidth'] / 1e9:.3g} GB/s and {link['latency'] * 1e6:.3g} µs"
            + ("" if "link" in p else " (what the paper's Tables 5 and 8 imply, as no link was given)")
        )
    return {
        "tokens": T,
        "cached": p.get("cached", 0),
        "ranks": ranks,
        "tp": tp,
        "model": model,
        "variant": job.variant,
        **({"choice": p["choice"]} if "choice" in p else {}),
        "dtype": p["dtype"],
        "feedForward": "fp8" if use_fp8 else p["dtype"],
        "simulated": run.simulated,
        "processes": engine.world,
        "backend": engine.team.backend,
        "device": engine.device_name(),
        "kernel": " + ".join(ring["used"]),
        "clock": engine.clock.name,
        "link": link if engine.world == 1 else None,
        "terms": [
            {**row, **({"rate": row["flops"] / row["seconds"]} if row["flops"] and row["seconds"] > 0 else {})}
            for row in measured
        ],
        "layerSeconds": one,
        "ttft": one * model["layers"],
        **({"paper": paper} if paper is not None else {}),
        "perRank": ring["perRank"],
        "times": times,
        "notes": notes,
    }
