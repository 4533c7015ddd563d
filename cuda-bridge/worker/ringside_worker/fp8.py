"""Row-wise FP8 matrix products, for devices on which the self-check finds them right."""

import torch

from .errors import error_text

LARGEST = 448.0
"""The largest value of float8_e4m3fn."""


def quantised(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The rows of x in FP8, and each row's scale, `[rows, 1]` f32: row = FP8 times scale."""
    scale = x.abs().amax(-1, keepdim=True).float().clamp(min=1e-12) / LARGEST
    return (x.float() / scale).clamp(-LARGEST, LARGEST).to(torch.float8_e4m3fn), scale


def product(x: torch.Tensor, x_scale: torch.Tensor, w: torch.Tensor, w_scale: torch.Tensor) -> torch.Tensor:
    """x `[rows, inner]` times w `[outer, inner]` transposed, both row-wise FP8. The result is bf16."""
    return torch._scaled_mm(x, w.t(), x_scale, w_scale.t(), out_dtype=torch.bfloat16, use_fast_accum=True)


def check(device: torch.device) -> dict:
    """Compares with float64 of the quantised operands. The bar is twice bf16's rounding of the largest value."""
    try:
        generator = torch.Generator().manual_seed(8)
        x, w = (torch.randn(rows, 256, generator=generator).to(device, torch.bfloat16) for rows in (128, 64))
        x[3] *= 100
        (x8, xs), (w8, ws) = quantised(x), quantised(w)
        exact = (x8.double() * xs) @ (w8.double() * ws).t()
        error = ((product(x8, xs, w8, ws).double() - exact).abs().amax(-1) / exact.abs().amax(-1)).max().item()
        return {
            "op": "fp8 row-wise",
            "ok": error <= 2**-7,
            "error": error,
            **({} if error <= 2**-7 else {"why": f"relative error {error:.3g}, bar {2**-7:.3g}"}),
        }
    except Exception as error:  # noqa: BLE001 - whatever a device lacks, the answer is that it has no FP8 product
        return {"op": "fp8 row-wise", "ok": False, "error": None, "why": error_text(error)}
