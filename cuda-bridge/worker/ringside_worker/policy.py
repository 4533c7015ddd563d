"""
Pass-KV or pass-Q: Algorithm 5 of the paper (engine/policy has the other rules and the full reasons).

The derivations also hold if V has a different head size or is part of K: we count the elements that travel.
"""


def choose(
    new: int,
    cached: int,
    ranks: int,
    heads: int,
    kv_heads: int,
    bytes: int,
    flops: float,
    bandwidth: float | None,
    dims: tuple[int, int] = (1, 1),
    values_in_keys: bool = False,
) -> tuple[str, dict]:
    """
    The variant, and why.

    `flops`: C of a rank in FLOP/s. `bandwidth`: BW in bytes/s, None for transfers that take no time. `dims`: D and Dv.
    """
    if ranks == 1:
        return "pass-kv", {"variant": "pass-kv", "rule": "alg5", "reason": "one rank: nothing travels"}
    dim, value_dim = dims
    kv = kv_heads * (dim if values_in_keys else dim + value_dim)
    both = dim + value_dim
    miss = new / (new + cached)
    hidden = 0.0 if bandwidth is None else ranks * flops * (kv / both) * bytes / (2 * heads * bandwidth)
    late = 0.0 if bandwidth is None else 2 * both / value_dim * new * bandwidth / (ranks * flops * bytes)
    border = kv / (heads * value_dim) - late
    variant = "pass-kv" if new >= hidden or miss >= border else "pass-q"
    reason = (
        f"T = {new} against Eq. 2's {hidden:.0f}, miss rate {100 * miss:.3g} % against Eq. 5's {100 * border:.3g} %"
    )
    terms = {"new": new, "cached": cached, "missRate": miss, "newEq2": hidden, "missEq5": border}
    return variant, {"variant": variant, "rule": "alg5", "reason": reason, "terms": terms}


def fewer_bytes(mask: str, pass_kv: int, pass_q: int) -> tuple[str, dict]:
    """
    The variant whose ranks send fewer bytes, and why.

    Algorithm 5 assumes a causal mask, so this replaces it under a window or chunk mask.
    """
    variant = "pass-kv" if pass_kv <= pass_q else "pass-q"
    reason = f"under the mask {mask} all ranks send {pass_kv} bytes in pass-KV, {pass_q} in pass-Q"
    return variant, {"variant": variant, "rule": "alg5", "reason": reason}
