"""
The merge of partial attentions (Eq. 4): f32, guarded, several partials at once.

Weights are exp(LSE - largest LSE) over their sum. The weight of -inf is 0, so a partial that saw no key changes
nothing. O of a partial may have 16 bits; sums and LSE are f32 (a 16-bit accumulator has 6 times the error, and a 16-bit
LSE loses all accuracy).

On CUDA the sum is one fused kernel that merges up to eight partials at once. Merged one by one, each partial would read
and write the f32 accumulator. That is 3.6 % of the attention at 128K tokens over 8 ranks, against 1 % this way (counted
in bytes, not measured).
"""

from itertools import pairwise

import torch

from .errors import error_text

GROUPS = (8, 4, 2, 1)
"""How many partials one call merges. Each number has its own compiled kernel."""


def weights(lses: list[torch.Tensor]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Merged LSE and each partial's weight, all `[rows, H]` f32."""
    top = lses[0]
    for lse in lses[1:]:
        top = torch.maximum(top, lse)
    base = torch.where(top == -torch.inf, torch.zeros_like(top), top)
    parts = [torch.exp(lse - base) for lse in lses]
    total = sum(parts[1:], parts[0])
    divisor = torch.where(total > 0, total, torch.ones_like(total))
    return base + torch.log(total), [p / divisor for p in parts]


def combine(out: torch.Tensor, os: list[torch.Tensor], ws: list[torch.Tensor]) -> None:
    """out = sum of w o, in f32. `out` may be among `os`."""
    total = os[0].float() * ws[0][..., None]
    for o, w in zip(os[1:], ws[1:]):
        total = total + o.float() * w[..., None]
    out.copy_(total)


def merge_sinks(o: torch.Tensor, lse: torch.Tensor, sinks: torch.Tensor) -> None:
    """
    Merges a logit of each head, `[H]`, into every row of O `[rows, H, Dv]` and LSE `[rows, H]`, in place.

    A row without keys then has O = 0 and LSE = logit.
    """
    both = torch.logaddexp(lse, sinks)
    o *= torch.exp(lse - both)[..., None]
    lse.copy_(both)


class Merger:
    """`merge` on one device, fused by torch.compile on CUDA. `how`: "fused" or "plain"; `note`: why it isn't fused."""

    def __init__(self, device: torch.device, fused: bool | None = None):
        self.how, self.note = "plain", None
        self._ready: set[tuple] = set()
        self._weights, self._combine = weights, combine
        if fused if fused is not None else device.type == "cuda":
            try:
                import torch._dynamo

                torch._dynamo.config.recompile_limit = max(64, getattr(torch._dynamo.config, "recompile_limit", 8))
                self._weights, self._combine = (
                    torch.compile(weights, dynamic=True),
                    torch.compile(combine, dynamic=True),
                )
                self._check(device)
                self.how = "fused"
            except Exception as error:  # noqa: BLE001 - a machine without a compiler still has to merge
                self._weights, self._combine = weights, combine
                self.note = f"merge is not fused: {error_text(error)}"

    def merge(
        self, out: torch.Tensor, lse: torch.Tensor, parts: list[tuple[torch.Tensor, torch.Tensor]], fresh: bool
    ) -> None:
        """
        Merges `parts` into `out` and `lse` in place; each part is (O `[rows, H, D]`, LSE `[rows, H]`).

        `fresh`: `out` and `lse` hold nothing yet.
        """
        while parts:
            n = next(g for g in GROUPS if g <= len(parts)) if out.dtype == torch.float32 else len(parts)
            group, parts = parts[:n], parts[n:]
            if fresh and n == 1:
                out.copy_(group[0][0])
                lse.copy_(group[0][1])
            else:
                os, lses = [p[0] for p in group], [p[1] for p in group]
                if not fresh:
                    os, lses = [out, *os], [lse, *lses]
                merged, ws = self._weights(lses)
                self._combine(out, os, ws)
                lse.copy_(merged)
            fresh = False

    def ready(
        self, o: torch.Tensor, lse: torch.Tensor, hold: int, outs: tuple[torch.dtype, ...], check_cancelled
    ) -> None:
        """Compiles the merges of partials like (o, lse) before a run needs them. `outs`: types of the accumulators."""
        for out in outs if self.how == "fused" else ():
            key = (o.dtype, out, o.shape[1] == 1, hold)
            if key not in self._ready:
                for n in (g for g in GROUPS if g <= hold) if out == torch.float32 else (2,):
                    into, sums = torch.empty_like(o, dtype=out), torch.empty_like(lse)
                    for fresh in (True, False):
                        check_cancelled()
                        self.merge(into, sums, [(o, lse)] * n, fresh)
                self._ready.add(key)

    def _check(self, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(1)
        os = [torch.randn(33, 2, 16, generator=generator).to(device) for _ in range(3)]
        lses = [torch.randn(33, 2, generator=generator).to(device) for _ in range(3)]
        for i, lse in enumerate(lses):
            lse[i :: 3 - i] = -torch.inf
        found, expected = torch.empty_like(os[0]), torch.empty_like(os[0])
        lse, ws = self._weights(lses)
        self._combine(found, os, ws)
        plain, plain_ws = weights(lses)
        combine(expected, os, plain_ws)
        if not (torch.allclose(found, expected, atol=1e-6) and torch.allclose(lse, plain, atol=1e-6)):
            raise RuntimeError("the fused merge differs from the plain one")


class Accumulator:
    """
    A running partial of some query rows: O `[rows, H, D]` and LSE `[rows, H]`.

    Holds partials back until `hold` of them cover a row, then merges them at once, in the context `timed(bytes)`.
    """

    def __init__(self, o: torch.Tensor, lse: torch.Tensor, merger: Merger, hold: int, timed):
        self.o, self.lse = o, lse
        self._merger, self._hold, self._timed = merger, hold, timed
        self._pending: list[tuple[int, int, torch.Tensor, torch.Tensor]] = []
        self._filled: list[tuple[int, int]] = []

    def add(self, first: int, end: int, o: torch.Tensor, lse: torch.Tensor) -> None:
        """A partial of rows `first` .. `end - 1`."""
        if end > first:
            self._pending.append((first, end, o, lse))

    def settle(self) -> None:
        """Merges what is held back if some row has `hold` partials."""
        if self._pending and max(len(covering) for _, _, covering in self._pieces()) >= self._hold:
            self.flush()

    def flush(self) -> None:
        """Merges everything that is held back."""
        if not self._pending:
            return
        with self._timed(sum(o.nbytes for _, _, o, _ in self._pending)):
            for first, end, parts in self._pieces():
                fresh = not any(f < end and first < e for f, e in self._filled)
                self._merger.merge(self.o[first:end], self.lse[first:end], parts, fresh)
        self._filled += [(first, end) for first, end, _ in self._pieces()]
        self._pending.clear()

    def finish(self) -> "Accumulator":
        """Merges the rest. Rows that no partial covered get O = 0 and LSE = -inf."""
        self.flush()
        at = 0
        for first, end in [*sorted(self._filled), (self.o.shape[0], self.o.shape[0])]:
            if first > at:
                self.o[at:first] = 0
                self.lse[at:first] = -torch.inf
            at = max(at, end)
        return self

    def _pieces(self) -> list[tuple[int, int, list[tuple[torch.Tensor, torch.Tensor]]]]:
        cuts = sorted(
            {c for first, end, _, _ in self._pending for c in (first, end)} | {c for f in self._filled for c in f}
        )
        pieces = []
        for a, b in pairwise(cuts):
            parts = [
                (o[a - first : b - first], lse[a - first : b - first])
                for first, end, o, lse in self._pending
                if first <= a and b <= end
            ]
            if parts:
                pieces.append((a, b, parts))
        return pieces
