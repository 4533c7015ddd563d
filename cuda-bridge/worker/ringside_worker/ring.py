"""
The ring programs as in the paper: Algorithms 2, 3 and 4 on rank k.

Each is a generator that yields between bounded pieces of attention, where a run can be cancelled. Every rank yields
equally often. The programs use only a ring (`shift`, `arrived`, `home`, `all_to_all`; simulated_ring.py, world_ring.py)
and an attention (`attend`; attention.py).
"""


def owner_at(rank: int, hop: int, size: int) -> int:
    """The rank that first owned what rank k holds at step j: s = (k - j) mod N."""
    return (rank - hop) % size


def pass_kv(ring, attention, q, kv):
    """
    Fused varseq ring pass-KV partial prefill (Algorithm 2): queries stay, KV goes round the ring.

    Returns the merged (O, LSE) of `q`.
    """
    total = ring.home(ring.rank)
    for hop in range(ring.size):
        ring.shift(hop, kv)
        yield from attention.attend(hop, q, kv, total)
        kv = ring.arrived(hop, kv)
    return total.finish()


def pass_q(ring, attention, q, kv):
    """
    Fused varseq ring pass-Q partial prefill (Algorithm 3): KV stays, queries go round the ring.

    Partial results go home in one All2All.
    """
    for hop in range(ring.size):
        ring.shift(hop, q)
        yield from attention.attend(hop, q, kv, ring.home(q.owner))
        q = ring.arrived(hop, q)
    total = yield from ring.all_to_all()
    return total.finish()


decode = pass_q
"""
Batched ring pass-Q decode (Algorithm 4) is Algorithm 3 on one-token queries.

The block of a chunk says which sequence each of its rows belongs to.
"""
