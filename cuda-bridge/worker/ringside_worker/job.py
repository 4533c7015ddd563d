"""One attention, as each of its ranks sees it: the shapes, who holds what, and how much memory it takes."""

from dataclasses import dataclass

import torch

from .errors import Refused
from .exchange import parcel_bytes
from .layout import Block, never_cancelled, shard

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

    @classmethod
    def of(cls, p: dict, world: int) -> "Shape":
        """From the parameters of a call; `world` is the number of processes. Raises Refused."""
        H, Hkv, D = p["heads"], p["kvHeads"], p["headDim"]
        if H < 1 or Hkv < 1 or H % Hkv != 0:
            raise Refused(
                "bad-input", f"heads: found H = {H} query heads and Hkv = {Hkv} KV heads, expected H a multiple of Hkv"
            )
        if D % 4 != 0 or not 16 <= D <= 256:
            raise Refused("bad-input", f"head dimension: found D = {D}, expected a multiple of 4 from 16 to 256")
        require_ranks(p["ranks"], world)
        return cls(H, Hkv, D, p.get("scale") or D**-0.5, DTYPES[p["dtype"]], p["ranks"])

    @property
    def kv_bytes(self) -> int:
        """Bytes of K and V of one token."""
        return 2 * self.kv_heads * self.head_dim * self.dtype.itemsize


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

    causal: bool
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
        queries, keys = shard(sequences, shape.ranks, check_cancelled)
        return cls(
            **vars(shape), causal=p["causal"], variant=p["variant"], sequences=sequences, queries=queries, keys=keys
        )

    @property
    def new(self) -> int:
        return sum(T for T, _ in self.sequences)

    @property
    def flops(self) -> float:
        """FLOPs of the whole attention: 4 D for each visible pair and query head."""
        pairs = sum(T * P + T * (T + 1) // 2 if self.causal else T * (T + P) for T, P in self.sequences)
        return 4.0 * self.head_dim * self.heads * pairs


def need(job: Job, local: int, hold: int, cached: bool = False) -> dict[str, int]:
    """
    Bytes that a process with `local` of the job's ranks needs, by purpose.

    `cached`: the keys are in a session's cache already.
    """
    e, H, D = job.dtype.itemsize, job.heads, job.head_dim
    rows, key_rows = job.queries[0].rows, job.keys[0].rows
    q, kv, o = rows * H * D * e, key_rows * job.kv_bytes, rows * H * (D + 1) * 4
    wire = local < job.ranks
    bytes = {
        "q": local * q,
        "accumulators": local * o,
        "partials": local * min(hold, job.ranks + 1) * rows * H * (D * e + 4),
    }
    if not cached or job.variant == "pass-kv":
        bytes["kv"] = local * kv
    if wire:
        bytes["received"] = 2 * (kv if job.variant == "pass-kv" else q)
        if job.variant == "pass-q":
            bytes["parcels"] = 2 * job.ranks * parcel_bytes(rows, H, D, job.dtype)
    bytes["working"] = min(1 << 28, 64 * (q + kv))
    return bytes


def need_on_host(job: Job, output: str) -> int:
    """Bytes on rank 0's host for a full result and the parts that it is assembled from."""
    return 2 * job.new * job.heads * (job.head_dim + 1) * 4 if output == "full" else 0
