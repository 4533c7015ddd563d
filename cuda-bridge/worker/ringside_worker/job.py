"""One attention, as each of its ranks sees it: the shapes, who holds what, and how much memory it takes."""

from dataclasses import KW_ONLY, dataclass

import torch

from .errors import Refused
from .exchange import parcel_bytes
from .layout import Block, never_cancelled, shard
from .mask import CAUSAL, Mask

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
HOLDS = (8, 4, 2, 1)
"""How many partials of a row we may merge at once, most first. Fewer take less memory (merge.py)."""


@dataclass(frozen=True)
class Shape:
    """The heads and types that all attentions of a run or a session share."""

    heads: int
    kv_heads: int
    head_dim: int
    scale: float
    dtype: torch.dtype
    ranks: int
    _: KW_ONLY
    value_dim: int = 0
    """Dv, of values and O; 0 becomes D."""
    values_in_keys: bool = False
    """V is the first Dv elements of each row of K, so one row is held and sent, not two."""
    mask: Mask = CAUSAL
    sinks: tuple[float, ...] | None = None
    """A learned logit for each query head, once in each row's denominator."""
    dealing: str = "head-tail"

    def __post_init__(self):
        object.__setattr__(self, "value_dim", self.value_dim or self.head_dim)

    @classmethod
    def of(cls, p: dict, world: int) -> "Shape":
        """From the parameters of a call; `world` is the number of processes. Raises Refused."""
        H, Hkv, D = p["heads"], p["kvHeads"], p["headDim"]
        if H < 1 or Hkv < 1 or H % Hkv != 0:
            raise Refused(
                "bad-input", f"heads: found H = {H} query heads and Hkv = {Hkv} KV heads, expected H a multiple of Hkv"
            )
        Dv, in_keys, sinks = p.get("valueDim", D), p.get("valuesInKeys", False), p.get("sinks")
        for name, letter, dim in (("head dimension", "D", D), ("value head dimension", "Dv", Dv)):
            if dim % 4 != 0 or not 16 <= dim <= 576:
                raise Refused("bad-input", f"{name}: found {letter} = {dim}, expected a multiple of 4 from 16 to 576")
        if in_keys and Dv > D:
            raise Refused("bad-input", f"value head dimension: found Dv = {Dv} in keys, expected at most D = {D}")
        if sinks is not None and len(sinks) != H:
            raise Refused("bad-input", f"sinks: found {len(sinks)}, expected one for each of the {H} heads")
        require_ranks(p["ranks"], world)
        return cls(
            H,
            Hkv,
            D,
            p.get("scale") or D**-0.5,
            DTYPES[p["dtype"]],
            p["ranks"],
            value_dim=Dv,
            values_in_keys=in_keys,
            mask=Mask.of(p),
            sinks=None if sinks is None else tuple(sinks),
            dealing=p.get("dealing", "head-tail"),
        )

    @property
    def kv_widths(self) -> tuple[tuple[int, int], ...]:
        """(heads, elements of a head) of K and of V, of K alone if V is part of it."""
        k = (self.kv_heads, self.head_dim)
        return (k,) if self.values_in_keys else (k, (self.kv_heads, self.value_dim))

    @property
    def kv_bytes(self) -> int:
        """Bytes of K and V of one token."""
        return sum(heads * dim for heads, dim in self.kv_widths) * self.dtype.itemsize

    @property
    def op_dim(self) -> int:
        """The head size for which ops are checked: fused ones take D and Dv padded to the larger."""
        return max(self.head_dim, self.value_dim)

    def flops_of(self, pairs: int) -> float:
        """FLOPs of attention to so many query-key pairs: two products, each with a multiply and an add an element."""
        return 2.0 * (self.head_dim + self.value_dim) * self.heads * pairs


def require_ranks(ranks: int, world: int) -> None:
    """N ranks are the first N processes, or all of them are simulated in one process. Raises Refused."""
    if ranks < 1:
        raise Refused("bad-input", f"ranks: found {ranks}, expected at least 1")
    if 1 < world < ranks:
        more = "ask for fewer, or start a worker with one process, which simulates any number"
        raise Refused(
            "bad-input",
            f"ranks: found {ranks}, expected at most {world}: this worker has {world} processes, one for each rank; "
            f"{more}",
            {"ranks": ranks, "processes": world},
        )


@dataclass(frozen=True)
class Job(Shape):
    """One attention: `queries[k]` and `keys[k]` are what rank k holds at first."""

    variant: str
    sequences: list[tuple[int, int]]
    queries: list[Block]
    keys: list[Block]

    @classmethod
    def of_attend(cls, p: dict, world: int, check_cancelled=never_cancelled) -> "Job":
        """From the parameters of an `attend`; `world` is the number of processes. Raises Refused."""
        shape = Shape.of(p, world)
        sequences = [(s["new"], s["cached"]) for s in p["sequences"]]
        if sum(T for T, _ in sequences) < 1:
            raise Refused("bad-input", "sequences: found no new token, expected at least one")
        queries, keys = shard(sequences, shape.ranks, check_cancelled, shape.dealing)
        return cls(**vars(shape), variant=p["variant"], sequences=sequences, queries=queries, keys=keys)

    @property
    def new(self) -> int:
        return sum(T for T, _ in self.sequences)

    @property
    def flops(self) -> float:
        """FLOPs of the whole attention."""
        return self.flops_of(sum(self.mask.pairs(T, P) for T, P in self.sequences))


def need(job: Job, local: int, hold: int, cached: bool = False) -> dict[str, int]:
    """
    Bytes that a process with `local` of the job's ranks needs, by purpose.

    `cached`: the keys are in a session's cache already.
    """
    e, H, Dv = job.dtype.itemsize, job.heads, job.value_dim
    rows, key_rows = job.queries[0].rows, job.keys[0].rows
    q, kv, o = rows * H * job.head_dim * e, key_rows * job.kv_bytes, rows * H * (Dv + 1) * 4
    wire, local_mask = local < job.ranks, job.mask.is_local
    # A row under a local mask may have up to three partials more in a hop: sink tokens, the left edge, the rectangle.
    partials = min(hold, job.ranks + 1) + 3 * local_mask
    bytes = {
        "q": local * q,
        "accumulators": local * o,
        "partials": local * partials * rows * H * (job.op_dim * e + 4),
    }
    if not cached or job.variant == "pass-kv":
        bytes["kv"] = local * kv
    if wire:
        bytes["received"] = (2 + local_mask) * (kv if job.variant == "pass-kv" else q)
        if job.variant == "pass-q":
            bytes["parcels"] = (2 + local_mask) * job.ranks * parcel_bytes(rows, H, Dv, job.dtype)
    bytes["working"] = min(1 << 28, 64 * (q + kv))
    if job.head_dim != job.value_dim and not job.values_in_keys:
        bytes["padding"] = (rows * H + 2 * key_rows * job.kv_heads) * job.op_dim * e
    return bytes


def need_on_host(job: Job, output: str) -> int:
    """Bytes on rank 0's host for a full result and the parts that it is assembled from."""
    return 2 * job.new * job.heads * (job.value_dim + 1) * 4 if output == "full" else 0
