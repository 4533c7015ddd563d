"""
One transformer layer on one GPU of a TP group: Llama's, around the ring attention, each term timed.

The terms: RMSNorm, Q K V product, RoPE, [ring attention], output product, RMSNorm, gated feed-forward (row-wise FP8 if
the device has it, else the compute type). A GPU of TP8 has 1/8 of the heads and of the feed-forward. The sums after the
output and the down product lack what its seven neighbours would add.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from . import fp8
from .errors import Refused
from .job import Job
from .seeded import seeded_rows

TILE = 8192
"""Rows computed at a time, which bounds the activations."""
ROPE_BASE, EPSILON = 500000.0, 1e-5
PRE, POST = ("norm 1", "qkv product", "rope"), ("out product", "norm 2", "up product", "activation", "down product")
"""The terms before and after the ring attention."""


@dataclass
class Weights:
    """
    One GPU's share, stored as in torch.nn.Linear.

    qkv `[(h + 2 hkv) D, d]`, out `[d, h D]`, up `[2 f, d]` (gate, then up), down `[d, f]`. `up8` and `down8` are FP8
    with their scales.
    """

    qkv: torch.Tensor
    out: torch.Tensor
    up: torch.Tensor
    down: torch.Tensor
    up8: tuple[torch.Tensor, torch.Tensor] | None = None
    down8: tuple[torch.Tensor, torch.Tensor] | None = None


@dataclass(frozen=True)
class Sizes:
    """One GPU's share of the model's sizes: d of the residual stream, f of the feed-forward, heads and their `dim`."""

    d: int
    heads: int
    kv_heads: int
    dim: int
    f: int
    layers: int

    @classmethod
    def of(cls, model: dict, tp: int) -> "Sizes":
        """One GPU's share in a TP group of `tp`. Raises Refused."""
        for name in ("heads", "kvHeads", "ffn"):
            if model[name] % tp:
                raise Refused("bad-input", f"model: found {name} {model[name]}, expected a multiple of tp {tp}")
        if model["heads"] % model["kvHeads"]:
            heads, kv_heads = model["heads"], model["kvHeads"]
            raise Refused(
                "bad-input",
                f"model: found {heads} heads and {kv_heads} KV heads, expected heads a multiple of KV heads",
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
    def weight_count(self) -> int:
        """Weights of this share."""
        return self.d * ((2 * self.heads + 2 * self.kv_heads) * self.dim + 3 * self.f)


def make_weights(sizes: Sizes, dtype: torch.dtype, device: torch.device, seed: int, use_fp8: bool) -> Weights:
    """Random weights, scaled so that activations keep their spread."""
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
    """Rotates x `[rows, heads, D]` by its positions. Pairs are (i, i + D/2)."""
    half = x.shape[-1] // 2
    angle = positions.double()[:, None] * ROPE_BASE ** (
        -torch.arange(half, device=x.device, dtype=torch.float64) / half
    )
    cos, sin = angle.cos().float()[:, None, :], angle.sin().float()[:, None, :]
    a, b = x[..., :half].float(), x[..., half:].float()
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1).to(x.dtype)


def gated(x: torch.Tensor) -> torch.Tensor:
    """SiLU of the first half of the columns, times the second half."""
    f = x.shape[-1] // 2
    return F.silu(x[:, :f]) * x[:, f:]


class Layer:
    """The layer on the rows of some ranks, each term timed."""

    def __init__(self, engine, sizes: Sizes, job: Job, seed: int, use_fp8: bool, check_cancelled):
        self._engine, self._job, self._check_cancelled, self._fp8 = engine, job, check_cancelled, use_fp8
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
        """The residual stream `[rows, d]` that comes in. It is seeded, so it is the same for every sharding."""
        out = torch.empty(rows, self.sizes.d, dtype=self._job.dtype, device=self._engine.device)
        return seeded_rows(self.seed, "q", position, out)

    def before(self, rank: int, q: torch.Tensor, kv: torch.Tensor) -> None:
        """Up to attention: fills the rank's q `[rows, h, D]`, and its new rows of kv `[2, rows, hkv, D]`."""
        for row, end, position in self.rows(rank):
            self._check_cancelled()
            x = self._timed(rank, "norm 1", self._norm, self.input(position, end - row))
            product = self._timed(rank, "qkv product", F.linear, x, self.weights.qkv)
            at = torch.arange(position, position + end - row, device=q.device)
            to = self._kv_row(rank, position)
            self._timed(rank, "rope", self._split, product, at, q[row:end], kv[:, to : to + end - row])

    def after(self, rank: int, o: torch.Tensor, keep: torch.Tensor | None = None) -> None:
        """From the rank's attention `[rows, h, D]` on. The layer's output goes to `keep` `[rows, d]` if given."""
        w = self.weights
        for row, end, position in self.rows(rank):
            self._check_cancelled()
            x = self._timed(rank, "out product", self._out, self.input(position, end - row), o[row:end])
            y = self._timed(rank, "norm 2", self._norm, x)
            y = self._timed(rank, "up product", self._product, y, w.up, w.up8)
            y = self._timed(rank, "activation", self._gated, y)
            x = self._timed(rank, "down product", self._down, x, y)
            if keep is not None:
                keep[row:end] = x

    def seconds(self) -> dict[str, dict[int, float]]:
        """Seconds of each term by rank."""
        out: dict[str, dict[int, float]] = {}
        for rank, term, a, b in self._marks:
            self._engine.clock.wait(b)
            out.setdefault(term, {})[rank] = out.get(term, {}).get(rank, 0.0) + self._engine.clock.between(a, b)
        return out

    def _norm(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, (self.sizes.d,), self._ones, EPSILON)

    def _split(self, product: torch.Tensor, at: torch.Tensor, q: torch.Tensor, kv: torch.Tensor) -> None:
        """Splits the Q K V product into q and kv, Q and K rotated."""
        s = self.sizes
        to_k, to_v = s.heads * s.dim, (s.heads + s.kv_heads) * s.dim
        q.copy_(self._rope(product[:, :to_k].unflatten(1, (s.heads, s.dim)), at))
        kv[0] = self._rope(product[:, to_k:to_v].unflatten(1, (s.kv_heads, s.dim)), at)
        kv[1] = product[:, to_v:].unflatten(1, (s.kv_heads, s.dim))

    def _out(self, x: torch.Tensor, o: torch.Tensor) -> torch.Tensor:
        return x + F.linear(o.to(x.dtype).flatten(1), self.weights.out)

    def _down(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x + self._product(y, self.weights.down, self.weights.down8)

    def _product(self, x: torch.Tensor, w: torch.Tensor, w8: tuple[torch.Tensor, torch.Tensor] | None) -> torch.Tensor:
        return F.linear(x, w) if w8 is None else fp8.product(*self._quantised(x), *w8)

    def _kv_row(self, rank: int, position: int) -> int:
        row = 0
        for start, end in self._job.keys[rank].ranges[0]:
            if start <= position < end:
                return row + position - start
            row += end - start
        raise AssertionError("a rank's new tokens are among its keys")

    def forget_times(self) -> None:
        self._marks.clear()

    def _timed(self, rank: int, term: str, work: Callable, *operands):
        """`work(*operands)`, timed. Operands are arguments, so that none stays alive in a closure."""
        if len(self._marks) > 16:  # stay at most a few tiles ahead of the device, so that a cancelled run ends soon
            self._engine.clock.wait(self._marks[-16][3])
        a = self._engine.clock.mark()
        result = work(*operands)
        self._marks.append((rank, term, a, self._engine.clock.mark()))
        return result
