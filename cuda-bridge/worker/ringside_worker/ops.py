"""
The contract's partial attention, by the fastest PyTorch op that is right here: attend(q, k, v, causal) -> (O, LSE).

q `[T, H, D]`, k `[S, Hkv, D]`, v `[S, Hkv, Dv]`, causal only if T = S (top-left, which for a square is the causal mask).
O `[T, H, Dv]` in the op's type, LSE `[T, H]` natural log in f32. Fused ops need D = Dv: zeros pad the smaller one.

`call` computes the other shapes that a mask is cut into (cuts.py): an upper triangle is the causal square of reversed
rows, and triangles of one size are a batch.

Ops differ in the base and shape of LSE, and in their result for an empty row. We never call one without keys (then O =
0 and LSE = -inf). The self-check covers the rest: before its first use every op is compared with float64, for each
type, head size and kind of call.
"""

import functools
import math
import time

import torch
import torch.nn.functional as F

from .cuts import KernelCall
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


def _math(q, k, v, causal, scale, starts=None):
    """f32 products in tiles of query rows: slow, but right everywhere. `starts` `[T]`: the first key of each row."""
    B, T, H, _ = q.shape
    S, Hkv = k.shape[1], k.shape[2]
    o = torch.empty(B, T, H, v.shape[3], dtype=torch.float32, device=q.device)
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
        if starts is not None:
            unseen = torch.arange(keys, device=q.device)[None, :] < starts[t : t + rows.shape[1], None]
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

SMALL = 64
"""Squares of fewer rows are another kind of call: a narrow window has many."""

CASES = {
    "square": [(64, 64), (257, 257)],
    "small": [(2, 2), (17, 17)],
    "full": [(64, 128), (257, 113)],
    "few": [(1, 700), (3, 64)],
    "one-key": [(113, 1), (1, 1)],
}
"""Kinds of call, and the (T, S) on which an op has to be right for each, in a batch of two. One key is a separate kind:
cuDNN lacks it.
"""


def run_op(name: str, q, k, v, causal: bool, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The op on operands of any D and Dv. All but `math` want them equal."""
    D, Dv = q.shape[3], v.shape[3]
    if D == Dv or name == "math":
        return OPS[name][0](q, k, v, causal, scale)
    most = max(D, Dv)
    q, k, v = (F.pad(x, (0, most - x.shape[3])) for x in (q, k, v))
    o, lse = OPS[name][0](q, k, v, causal, scale)
    return o[..., :Dv], lse


def members(x: torch.Tensor, size: int, times: int, step: int) -> torch.Tensor:
    """`times` windows of `size` rows of x, each `step` after the one before, as a view `[times, size, ...]`."""
    if size == step:
        return x[: times * step].unflatten(0, (times, step))
    return x[: (times - 1) * step + size].unfold(0, size, step).movedim(-1, 1)


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
        """
        Runs the self-check once for these types and sizes. A cancelled check leaves no result.

        `head_dim`: the larger of D and Dv.
        """
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
        T, H, _ = q.shape
        S, Hkv, _ = k.shape
        if T == 0 or S == 0:
            o = torch.zeros(T, H, v.shape[2], dtype=q.dtype, device=q.device)
            return o, torch.full((T, H), -torch.inf, device=q.device)
        if not causal and T * (H // Hkv) <= FEW and self.splits > 1 and S >= 4 * LEAST_SPLIT:
            return self._few(q, k, v, scale)
        o, lse = self._batch(q[None], k[None], v[None], causal, scale)
        # The fused merge needs the same layout from every op. O has it already, in every op here.
        return o[0].contiguous(), lse[0].contiguous()

    def call(
        self, call: KernelCall, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        A call of a mask's cuts. q: the rows from q0 on, k and v: those from k0 on, to the last row of the batch or later.

        Returns O and LSE of `times * step` rows, or of q1 - q0. Rows between the members of a batch saw no key.
        """
        n, keys, times = call.q1 - call.q0, call.k1 - call.k0, call.times
        reverse, causal = call.kind == "anti", call.kind in ("causal", "anti")
        if times == 1:
            q, k, v = q[:n], k[:keys], v[:keys]
            if call.kind == "band":
                self.used.add("math")
                starts = torch.tensor(call.starts, device=q.device)
                o, lse = _math(q[None], k[None], v[None], False, scale, starts)
                return o[0], lse[0]
            if not reverse:
                return self.attend(q, k, v, causal, scale)
            return tuple(x.flip(0) for x in self.attend(q.flip(0), k.flip(0), v.flip(0), True, scale))
        q, k, v = (members(x, size, times, call.step) for x, size in ((q, n), (k, keys), (v, keys)))
        if reverse:
            o, lse = (x.flip(1) for x in self._batch(q.flip(1), k.flip(1), v.flip(1), True, scale))
        else:
            o, lse = self._batch(q, k, v, causal, scale)
        if n < call.step:
            o = F.pad(o, (0, 0, 0, 0, 0, call.step - n))
            lse = F.pad(lse, (0, 0, 0, call.step - n), value=-torch.inf)
        return o.flatten(0, 1).contiguous(), lse.flatten(0, 1).contiguous()

    def _batch(self, q, k, v, causal, scale):
        """q `[B, T, H, D]`, k and v `[B, S, Hkv, ...]`: one call of the op that is chosen for this kind."""
        T, S = q.shape[1], k.shape[1]
        if causal and T != S:
            raise ValueError(f"attend: found a causal call of {T} queries and {S} keys, expected a square")
        square = "small" if T < SMALL else "square"
        kind = "one-key" if S == 1 else square if causal else "full" if T > 8 else "few"
        return self._call(kind, q, k, v, causal and S > 1, scale)

    def _few(self, q, k, v, scale):
        """
        Flash-Decoding: cuts the keys into pieces and makes them a batch, so that few queries fill the device.

        Pieces of equal length are a view of k and v.
        """
        T, H, _ = q.shape
        S, Hkv, _ = k.shape
        length = max(LEAST_SPLIT, -(-S // self.splits))
        n = S // length
        rows = q.unflatten(1, (Hkv, H // Hkv)).transpose(1, 2).reshape(1, T * (H // Hkv), Hkv, -1)
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
        back = merged.view(T, H // Hkv, Hkv, -1).transpose(1, 2).reshape(T, H, -1)
        return back, total.view(T, H // Hkv, Hkv).transpose(1, 2).reshape(T, H)

    def _call(self, kind, q, k, v, causal, scale):
        chosen = self._names(kind, q, k, v)
        while True:
            name = chosen[0]
            try:
                result = run_op(name, q, k, v, causal, scale)
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

    def _names(self, kind, q, k, v):
        dim = max(q.shape[3], v.shape[3])
        key = (q.dtype, q.shape[2] // k.shape[2], dim, kind)
        if key not in self._chosen:  # `_few` folds the query heads of a KV head into rows: a group of 1
            self.ready(q.dtype, q.shape[2], k.shape[2], dim)
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
                    torch.randn(2, n, h, head_dim, generator=generator).to(self.device, dtype)
                    for n, h in ((T, group * kv_heads), (S, kv_heads), (S, kv_heads))
                )
                scale = head_dim**-0.5
                causal = kind in ("square", "small")
                o, lse = fn(q, k, v, causal, scale)
                ends = torch.arange(1, T + 1) if causal else torch.full((T,), S)
                exact = [reference(*(x[b].cpu() for x in (q, k, v)), ends, scale) for b in range(2)]
                expected_o, expected_lse = (torch.stack(both) for both in zip(*exact))
                if o.shape != expected_o.shape or lse.shape != expected_lse.shape or lse.dtype != torch.float32:
                    why = f"found O {tuple(o.shape)} and LSE {tuple(lse.shape)} {lse.dtype} for T = {T}, S = {S}"
                    return {**row, "ok": False, "error": None, "why": why}
                gaps = (
                    (o.cpu().double() - expected_o).abs().max().item(),
                    (lse.cpu().double() - expected_lse).abs().max().item(),
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
