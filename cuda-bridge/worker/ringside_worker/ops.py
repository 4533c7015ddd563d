"""
The contract's partial attention, by the fastest PyTorch op that is right here: attend(q, k, v, causal) -> (O, LSE).

q `[T, H, D]`, k and v `[S, Hkv, D]`, causal only if T = S (top-left, which for a square is the causal mask). O
`[T, H, D]` in the op's type, LSE `[T, H]` natural log in f32.

Ops differ in the base and shape of LSE, and in their result for an empty row. We never call one without keys (then O =
0 and LSE = -inf). The self-check covers the rest: before its first use every op is compared with float64, for each
type, head size and kind of call.
"""

import functools
import math
import time

import torch

from .errors import error_text
from .layout import never_cancelled
from .reference import reference

SPLITS = 256
"""Most pieces into which we cut the keys of a call with few queries, as the paper's Flash-Decoding does."""
FEW = 64
"""A call has few queries up to this many query rows of a KV head."""
LEAST_SPLIT = 512
"""Fewest keys of a piece."""


def _bhtd(x: torch.Tensor) -> torch.Tensor:
    return x.transpose(-3, -2)


def _cudnn(q, k, v, causal, scale):
    o, lse, *_ = torch.ops.aten._scaled_dot_product_cudnn_attention(
        _bhtd(q), _bhtd(k), _bhtd(v), None, True, 0.0, causal, False, scale=scale
    )
    return _bhtd(o), lse.reshape(lse.shape[:3]).transpose(1, 2)


def _flash(q, k, v, causal, scale):
    o, lse, *_ = torch.ops.aten._scaled_dot_product_flash_attention(
        _bhtd(q), _bhtd(k), _bhtd(v), 0.0, causal, False, scale=scale
    )
    return _bhtd(o), lse[..., : q.shape[1]].transpose(1, 2)


def _cpu(q, k, v, causal, scale):
    o, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        _bhtd(q), _bhtd(k), _bhtd(v), 0.0, causal, scale=scale
    )
    return _bhtd(o), lse.transpose(1, 2)


@functools.cache
def _compiled_flex():
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False)


@functools.cache
def _square_mask(length: int, device: str):
    from torch.nn.attention.flex_attention import create_block_mask

    return create_block_mask(lambda b, h, row, column: row >= column, None, None, length, length, device=device)


def _flex(q, k, v, causal, scale):
    from torch.nn.attention.flex_attention import AuxRequest

    mask = _square_mask(q.shape[1], str(q.device)) if causal else None
    o, aux = _compiled_flex()(
        _bhtd(q), _bhtd(k), _bhtd(v), block_mask=mask, scale=scale, enable_gqa=True, return_aux=AuxRequest(lse=True)
    )
    return _bhtd(o), aux.lse.transpose(1, 2)


def _math(q, k, v, causal, scale):
    """f32 products in tiles of query rows: slow, but right everywhere."""
    B, T, H, D = q.shape
    S, Hkv = k.shape[1], k.shape[2]
    o = torch.empty(B, T, H, D, dtype=torch.float32, device=q.device)
    lse = torch.empty(B, T, H, dtype=torch.float32, device=q.device)
    tile = max(1, (1 << 24) // max(1, B * H * S))
    for t in range(0, T, tile):
        rows = q[:, t : t + tile].float().unflatten(2, (Hkv, H // Hkv)) * scale
        keys = min(S, t + tile) if causal else S
        scores = torch.einsum("bthgd,bshd->bthgs", rows, k[:, :keys].float())
        if causal:
            unseen = (
                torch.arange(keys, device=q.device)[None, :]
                > torch.arange(t, t + rows.shape[1], device=q.device)[:, None]
            )
            scores.masked_fill_(unseen[None, :, None, None, :], -torch.inf)
        sums = torch.logsumexp(scores, -1)
        o[:, t : t + tile] = torch.einsum(
            "bthgs,bshd->bthgd", torch.exp(scores - sums[..., None]), v[:, :keys].float()
        ).flatten(2, 3)
        lse[:, t : t + tile] = sums.flatten(2, 3)
    return o, lse


SIXTEEN = (torch.bfloat16, torch.float16)
OPS = {
    "cudnn": (_cudnn, lambda d, t, D: d == "cuda" and t in SIXTEEN and D % 8 == 0 and D <= 128),
    "flash": (_flash, lambda d, t, D: d == "cuda" and t in SIXTEEN and D % 8 == 0 and D <= 256),
    "flex": (_flex, lambda d, t, D: d == "cuda" and D in (16, 32, 64, 128, 256)),
    "cpu-flash": (_cpu, lambda d, t, D: d == "cpu"),
    "math": (_math, lambda d, t, D: True),
}
"""
Each op, and whether it suits a device type, dtype and head size. Fastest first.

Operands and results have a batch axis in front: `[B, T, H, D]` and LSE `[B, T, H]`.
"""

CASES = {
    "square": [(64, 64), (257, 257)],
    "full": [(64, 128), (257, 113)],
    "few": [(1, 700), (3, 64)],
    "one-key": [(113, 1), (1, 1)],
}
"""Kinds of call, and the (T, S) on which an op has to be right for each. One key is a separate kind: cuDNN lacks it."""


def error_bar(dtype: torch.dtype) -> float:
    """
    Largest error of O and LSE that the self-check accepts.

    f32: the bar of PyTorch's own ring tests. 16-bit types: the rounding of values of about 4.
    """
    return {torch.float32: 2e-5, torch.float16: 1e-2, torch.bfloat16: 6e-2}[dtype]


class Kernels:
    """The ops of one device. `checks`: the self-check's results; `used`: ops that ran; `notes`: what failed later."""

    def __init__(self, device: torch.device, flex: bool = False, splits: int = SPLITS):
        self.device, self.splits = device, splits
        self.names = [n for n in OPS if n != "flex" or flex]
        self.checks: list[dict] = []
        self.used: set[str] = set()
        self.notes: list[str] = []
        self._chosen: dict[tuple, list[str]] = {}

    def ready(
        self, dtype: torch.dtype, heads: int, kv_heads: int, head_dim: int, check_cancelled=never_cancelled
    ) -> None:
        """Runs the self-check once for these types and sizes. A cancelled check leaves no result."""
        group = heads // kv_heads
        if (dtype, group, head_dim, "full") in self._chosen:
            return
        checks, chosen = [], {}
        for kind, shapes in CASES.items():
            passed = []
            for name in self.names:
                fn, suits = OPS[name]
                if not suits(self.device.type, dtype, head_dim):
                    continue
                check_cancelled()
                check = self._check(name, fn, dtype, group, head_dim, kind, shapes)
                checks.append(check)
                if check["ok"]:
                    passed.append(name)
            chosen[dtype, group, head_dim, kind] = passed
        self.checks += checks
        self._chosen |= chosen

    def choice(self, dtype: torch.dtype, heads: int, kv_heads: int, head_dim: int) -> dict[str, str]:
        """The op for each kind of call."""
        self.ready(dtype, heads, kv_heads, head_dim)
        return {kind: self._chosen[dtype, heads // kv_heads, head_dim, kind][0] for kind in CASES}

    def attend(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, scale: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The contract. Call `ready` for these types and sizes first."""
        T, H, D = q.shape
        S, Hkv = k.shape[0], k.shape[1]
        if T == 0 or S == 0:
            return torch.zeros(T, H, D, dtype=q.dtype, device=q.device), torch.full((T, H), -torch.inf, device=q.device)
        if causal and T != S:
            raise ValueError(f"attend: found a causal call of {T} queries and {S} keys, expected a square")
        if not causal and T * (H // Hkv) <= FEW and self.splits > 1 and S >= 4 * LEAST_SPLIT:
            return self._few(q, k, v, scale)
        kind = "one-key" if S == 1 else "square" if causal else "full" if T > 8 else "few"
        o, lse = self._call(kind, q[None], k[None], v[None], causal and S > 1, scale)
        # The fused merge needs the same layout from every op. O has it already, in every op here.
        return o[0].contiguous(), lse[0].contiguous()

    def _few(self, q, k, v, scale):
        """
        Flash-Decoding: cuts the keys into pieces and makes them a batch, so that few queries fill the device.

        Pieces of equal length are a view of k and v.
        """
        T, H, D = q.shape
        S, Hkv = k.shape[0], k.shape[1]
        length = max(LEAST_SPLIT, -(-S // self.splits))
        n = S // length
        rows = q.unflatten(1, (Hkv, H // Hkv)).transpose(1, 2).reshape(1, T * (H // Hkv), Hkv, D)
        pieces = [x[: n * length].unflatten(0, (n, length)) for x in (k, v)]
        o, lse = self._call("few", rows.expand(n, -1, -1, -1).contiguous(), *pieces, False, scale)
        if n * length < S:
            rest_o, rest_lse = self._call(
                "one-key" if S - n * length == 1 else "few",
                rows,
                k[None, n * length :],
                v[None, n * length :],
                False,
                scale,
            )
            o, lse = torch.cat([o, rest_o]), torch.cat([lse, rest_lse])
        total = torch.logsumexp(lse, 0)
        merged = (o.float() * torch.exp(lse - total)[..., None]).sum(0)
        back = merged.view(T, H // Hkv, Hkv, D).transpose(1, 2).reshape(T, H, D)
        return back, total.view(T, H // Hkv, Hkv).transpose(1, 2).reshape(T, H)

    def _call(self, kind, q, k, v, causal, scale):
        chosen = self._names(kind, q, k)
        while True:
            name = chosen[0]
            try:
                result = OPS[name][0](q, k, v, causal, scale)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                if len(chosen) == 1:
                    raise
                why = str(error).splitlines()[0][:160]
                self.notes.append(
                    f"{name} refused {tuple(q.shape)} x {tuple(k.shape)} ({why}); {chosen[1]} took its place"
                )
                chosen.pop(0)
                continue
            self.used.add(name)
            return result

    def _names(self, kind, q, k):
        key = (q.dtype, q.shape[2] // k.shape[2], q.shape[3], kind)
        if key not in self._chosen:  # `_few` folds the query heads of a KV head into rows: a group of 1
            self.ready(q.dtype, q.shape[2], k.shape[2], q.shape[3])
        return self._chosen[key]

    def _check(self, name, fn, dtype, group, head_dim, kind, shapes) -> dict:
        kv_heads, worst = 2, 0.0
        row = {
            "op": name,
            "kind": kind,
            "dtype": str(dtype).removeprefix("torch."),
            "headDim": head_dim,
            "group": group,
        }
        started = time.perf_counter()
        try:
            for T, S in shapes:
                generator = torch.Generator().manual_seed(T * 1000 + S)
                q, k, v = (
                    torch.randn(1, n, h, head_dim, generator=generator).to(self.device, dtype)
                    for n, h in ((T, group * kv_heads), (S, kv_heads), (S, kv_heads))
                )
                scale = head_dim**-0.5
                o, lse = fn(q, k, v, kind == "square", scale)
                ends = torch.arange(1, T + 1) if kind == "square" else torch.full((T,), S)
                expected_o, expected_lse = reference(q[0].cpu(), k[0].cpu(), v[0].cpu(), ends, scale)
                if o.shape[1:] != expected_o.shape or lse.shape[1:] != expected_lse.shape or lse.dtype != torch.float32:
                    why = f"found O {tuple(o.shape)} and LSE {tuple(lse.shape)} {lse.dtype} for T = {T}, S = {S}"
                    return {**row, "ok": False, "error": None, "why": why}
                gaps = (
                    (o[0].cpu().double() - expected_o).abs().max().item(),
                    (lse[0].cpu().double() - expected_lse).abs().max().item(),
                )
                # `max` would pass over a NaN.
                worst = max(worst, *(math.inf if math.isnan(gap) else gap for gap in gaps))
        except Exception as error:  # noqa: BLE001 - an op that fails in any way is not chosen
            return {**row, "ok": False, "error": None, "why": error_text(error)}
        bar = error_bar(dtype)
        why = {} if worst <= bar else {"why": f"largest error {worst:.3g}, bar {bar:g}"}
        return {
            **row,
            "ok": worst <= bar,
            "error": worst if worst != math.inf else None,
            "seconds": time.perf_counter() - started,
            **why,
        }
