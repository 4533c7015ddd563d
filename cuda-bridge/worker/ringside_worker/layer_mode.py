"""
Layer mode: one transformer layer over N context-parallel ranks, and the time to first token that follows from it.

Simulated ranks run one after another. A term's time is that of the rank that took longest. The all-reduce between the
GPUs of a TP group is modelled: a worker has only one GPU of each group, so it cannot measure that term.
"""

import torch

from . import fp8
from .exchange import Chunk
from .job import HOLDS, Job, need
from .layer import POST, PRE, TILE, Layer, Sizes
from .memory import largest_that, readable, require
from .paper import GTT, LLAMA, TTFT
from .run import Listener, Run
from .seeded import seeded_rows

HOST_BUS = 370e9
"""Bytes/s of an all-reduce in a host with NVLink 4 (engine/plan/fabrics.ts)."""


class Shifted(Listener):
    """Puts the ring's spans later, by the time of the terms before it."""

    shift = 0.0

    def put(self, span: dict) -> None:
        super().put({**span, "start": span["start"] + self.shift})


def layer(engine, p: dict, inputs: dict, listener: Listener, slice_flops: float) -> tuple[dict, dict]:
    """The protocol's `layer`; its value on rank 0. Raises Refused, Cancelled."""
    T, P, ranks, tp = p["tokens"], p.get("cached", 0), p["ranks"], p.get("tp", 8)
    model, seed, link = {**LLAMA, **p.get("model", {})}, p.get("seed", 1), p.get("link", GTT)
    if engine.world == 1 and ranks == 1:
        link = None

    def prepare():
        sizes = Sizes.of(model, tp)

        def job_of(tokens: int) -> Job:
            heads = {"heads": sizes.heads, "kvHeads": sizes.kv_heads, "headDim": sizes.dim}
            shape = {**heads, "dtype": p["dtype"], "ranks": ranks, "causal": True, "variant": p["variant"]}
            return Job.of_attend({"sequences": [{"new": tokens, "cached": P}], **shape}, engine.world)

        job = job_of(T)
        check = fp8.check(engine.device)
        use_fp8 = check["ok"] and job.dtype == torch.bfloat16 and sizes.d % 16 == 0 and sizes.f % 16 == 0
        local = 1 if engine.world > 1 else ranks

        def takes(j: Job, hold: int) -> dict[str, int]:
            e, tile = j.dtype.itemsize, min(TILE, max(1, j.queries[0].rows))
            making = 4 * max(2 * sizes.f, (sizes.heads + 2 * sizes.kv_heads) * sizes.dim) * sizes.d
            return {
                **need(j, local, hold),
                "weights": sizes.weight_count * (1 if use_fp8 else e) + 2 * making,
                "activations": tile * (6 * sizes.d + 6 * sizes.f) * max(2, e) + 48 * min(tile * sizes.d, 1 << 22),
            }

        have = engine.free()
        hold = next((h for h in HOLDS if sum(takes(job, h).values()) <= have), 1)
        if sum(takes(job, hold).values()) > have:
            most = largest_that(lambda n: sum(takes(job_of(max(1, n)), 1).values()) <= have, T)
            require(takes(job, 1), have, str(engine.device), f"about {most} new tokens would")
        engine.warm(job, hold, listener.check_cancelled)
        work = Layer(engine, sizes, job, seed, use_fp8, listener.check_cancelled)
        made = {}
        for k in engine.mine(ranks):
            q = torch.zeros(job.queries[k].rows, job.heads, job.head_dim, dtype=job.dtype, device=engine.device)
            kv = torch.zeros(2, job.keys[k].rows, job.kv_heads, job.head_dim, dtype=job.dtype, device=engine.device)
            fill_cached(kv, job, k, seed)
            made[k] = (q, kv)
        if engine.device.type == "cuda":
            # CUDA's libraries choose their kernels at the first call. That must not count as the layer's time.
            k = min(made)
            work.before(k, *made[k])
            work.after(k, made[k][0])
            work.forget_times()
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
    work.forget_times()

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
    return layer_report(engine, p, model, sizes, job, ring, run, seconds, link, check, use_fp8), {}


def keyed(seconds: dict) -> dict:
    """With keys that JSON can have."""
    return {term: {str(k): s for k, s in by_rank.items()} for term, by_rank in seconds.items()}


def fill_cached(kv: torch.Tensor, job: Job, rank: int, seed: int) -> None:
    """Fills the P cached rows from the seed. `Layer.before` writes the new ones."""
    (_, P), row = job.sequences[0], 0
    for start, end in job.keys[rank].ranges[0]:
        cut = min(end, P)
        if start < cut:
            for which, name in enumerate("kv"):
                seeded_rows(seed, name, start, kv[which, row : row + cut - start])
        row += end - start


def products(sizes: Sizes, rows: int) -> dict[str, float]:
    """FLOPs of the matrix products on so many rows."""
    s = sizes
    return {
        "qkv product": 2.0 * rows * s.d * (s.heads + 2 * s.kv_heads) * s.dim,
        "out product": 2.0 * rows * s.d * s.heads * s.dim,
        "up product": 4.0 * rows * s.d * s.f,
        "down product": 2.0 * rows * s.d * s.f,
    }


def put_spans(listener: Listener, job: Job, work: Layer, seconds: dict, lead: float, ring_end: float) -> None:
    """The spans around the ring. Each term is as long as on the rank that took longest."""
    flops = products(work.sizes, job.queries[0].rows)
    for k in range(job.ranks):
        for terms, begin in ((PRE, lead - sum(seconds[t] for t in PRE)), (POST, ring_end)):
            at = max(0.0, begin)
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


def layer_report(
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
    """The terms, and the TTFT that follows from them."""
    rows, tp, ranks = job.queries[0].rows, p.get("tp", 8), job.ranks
    times, flops = ring["times"], products(sizes, rows)
    activations = rows * sizes.d * job.dtype.itemsize
    allreduce = 2 * (2 * (tp - 1) / tp * activations / HOST_BUS + 10e-6) if tp > 1 else 0.0
    wire = "measured" if engine.world > 1 else "modelled"
    terms = [{"term": t, "seconds": seconds[t], "flops": flops.get(t, 0), "how": "measured"} for t in PRE]
    terms += [
        {
            "term": "attention",
            "seconds": times["total"] - times["exchange"],
            "flops": job.flops / ranks,
            "how": "measured",
        },
        {"term": "exposed communication", "seconds": times["exchange"], "flops": 0, "how": wire},
    ]
    terms += [{"term": t, "seconds": seconds[t], "flops": flops.get(t, 0), "how": "measured"} for t in POST]
    terms.append({"term": "TP all-reduce", "seconds": allreduce, "flops": 0, "how": "modelled"})
    one = sum(row["seconds"] for row in terms)
    T = sum(t for t, _ in job.sequences)
    paper = TTFT.get((T, ranks)) if model == LLAMA and tp == 8 and p.get("cached", 0) == 0 else None
    fp8_note = "" if use_fp8 else f" (FP8 was not used: {check.get('why', 'the compute type is not bf16')})"
    bus = f"{HOST_BUS / 1e9:.0f} GB/s of a host's bus"
    notes = [
        f"TTFT is {model['layers']} times this layer, without the embedding and the output head",
        f"TP all-reduce (modelled): two of {readable(activations)} over {tp} GPUs at {bus}",
        f"feed-forward: {'row-wise FP8' if use_fp8 else p['dtype']}{fp8_note}",
    ]
    if engine.world == 1 and ranks > 1:
        source = "" if "link" in p else " (the default, which the paper's Tables 5 and 8 imply)"
        notes.append(
            f"{ranks} simulated ranks share one device; ring transfers are modelled at "
            f"{link['bandwidth'] / 1e9:.3g} GB/s and {link['latency'] * 1e6:.3g} µs{source}"
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
            for row in terms
        ],
        "layerSeconds": one,
        "ttft": one * model["layers"],
        **({"paper": paper} if paper is not None else {}),
        "perRank": ring["perRank"],
        "times": times,
        "notes": notes,
    }
