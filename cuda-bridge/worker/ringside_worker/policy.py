"""Pass-KV or pass-Q: Algorithm 5 of the paper (engine/policy has the other rules and the full reasons)."""


def choose(
    new: int, cached: int, ranks: int, heads: int, kv_heads: int, bytes: int, flops: float, bandwidth: float | None
) -> tuple[str, dict]:
    """
    The variant, and why.

    `flops`: C of a rank in FLOP/s. `bandwidth`: BW in bytes/s, None for transfers that take no time.
    """
    if ranks == 1:
        return "pass-kv", {"variant": "pass-kv", "rule": "alg5", "reason": "one rank: nothing travels"}
    miss = new / (new + cached)
    hidden = 0.0 if bandwidth is None else ranks * flops * kv_heads * bytes / (2 * heads * bandwidth)
    border = 2 * kv_heads / heads - (0.0 if bandwidth is None else 4 * new * bandwidth / (ranks * flops * bytes))
    variant = "pass-kv" if new >= hidden or miss >= border else "pass-q"
    reason = (
        f"T = {new} against Eq. 2's {hidden:.0f}, miss rate {100 * miss:.3g} % against Eq. 5's {100 * border:.3g} %"
    )
    terms = {"new": new, "cached": cached, "missRate": miss, "newEq2": hidden, "missEq5": border}
    return variant, {"variant": variant, "rule": "alg5", "reason": reason, "terms": terms}
