"""Resolves the variant "auto" on rank 0: by Algorithm 5, or under a local mask by the bytes that ranks would send."""

from . import policy
from .exchange import parcel_bytes
from .job import Job, Shape
from .layer import Sizes
from .layout import never_cancelled, shard
from .paper import GTT, LLAMA
from .route import Route


def resolved(engine, method: str, p: dict, check_cancelled=never_cancelled) -> dict:
    """
    Parameters that replace the call's: `variant`, and `choice` with the reason. Empty if there is nothing to choose.

    C and BW are those of the call if given. Otherwise C is the measured rate, and BW that of the link model or of the
    real transfers.
    """
    session = engine.sessions.get(p.get("session", 0))
    if method == "session.prefill" and session is not None:
        wanted, rates, link, shape = session.variant, session.rates, session.link, session.shape
        sequences = session.lengths(p["batch"])
    elif method == "attend" and p["variant"] == "auto":
        wanted, rates, link, shape = "auto", p.get("rates"), p.get("link"), Shape.of(p, engine.world)
        sequences = [(s["new"], s["cached"]) for s in p["sequences"]]
    elif method == "layer" and p["variant"] == "auto":
        sizes = Sizes.of({**LLAMA, **p.get("model", {})}, p.get("tp", 8))
        heads = {"heads": sizes.heads, "kvHeads": sizes.kv_heads, "headDim": sizes.dim}
        shape = Shape.of({**heads, "dtype": p["dtype"], "ranks": p["ranks"]}, engine.world)
        wanted, rates, link = "auto", None, p.get("link", GTT)
        sequences = [(p["tokens"], p.get("cached", 0))]
    else:
        return {}
    if wanted != "auto":
        return {"variant": wanted}
    if shape.mask.is_local and shape.ranks > 1:
        sent = (bytes_sent(shape, sequences, each, check_cancelled) for each in ("pass-kv", "pass-q"))
        variant, why = policy.fewer_bytes(str(shape.mask), *sent)
        return {"variant": variant, "choice": why}
    new, cached = (max(1, sum(s[0] for s in sequences)), sum(s[1] for s in sequences))
    bandwidth = rates["bandwidth"] if rates else link["bandwidth"] if link and engine.world == 1 else engine.bandwidth
    flops = rates["flops"] if rates else engine.rate
    variant, why = policy.choose(
        new,
        cached,
        shape.ranks,
        shape.heads,
        shape.kv_heads,
        shape.dtype.itemsize,
        flops,
        bandwidth,
        (shape.head_dim, shape.value_dim),
        shape.values_in_keys,
    )
    return {"variant": variant, "choice": why}


def bytes_sent(shape: Shape, sequences: list[tuple[int, int]], variant: str, check_cancelled=never_cancelled) -> int:
    """What all ranks send if the tokens, cached ones too, are dealt anew."""
    queries, keys = shard(sequences, shape.ranks, check_cancelled, shape.dealing)
    job = Job(**vars(shape), variant=variant, sequences=sequences, queries=queries, keys=keys)
    route, ranks = Route(job, check_cancelled), range(shape.ranks)
    hops = [route.sent(rank, hop).rows for rank in ranks for hop in ranks]
    if variant == "pass-kv":
        return sum(hops) * shape.kv_bytes
    parcels = [route.parcel(rank, owner).rows for rank in ranks for owner in ranks if owner != rank]
    return sum(hops) * shape.heads * shape.head_dim * shape.dtype.itemsize + sum(parcels) * parcel_bytes(
        1, shape.heads, shape.value_dim, shape.dtype
    )
