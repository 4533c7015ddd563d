"""Row-wise FP8 matrix products where the device has them and they are right; the self-check says."""

import torch

LARGEST = 448.0
"""Of float8_e4m3fn."""


def quantised(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of x in FP8, and the scale of each `[rows, 1]` f32: row = FP8 times scale."""
    scale = x.abs().amax(-1, keepdim=True).float().clamp(min=1e-12) / LARGEST
    return (x.float() / scale).clamp(-LARGEST, LARGEST).to(torch.float8_e4m3fn), scale


def product(x: torch.Tensor, x_scale: torch.Tensor, w: torch.Tensor, w_scale: torch.Tensor) -> torch.Tensor:
    """x `[rows, inner]` times w `[outer, inner]` transposed, both row-wise FP8; bf16."""
    return torch._scaled_mm(x, w.t(), x_scale, w_scale.t(), out_dtype=torch.bfloat16, use_fast_accum=True)


def check(device: torch.device) -> dict:
    """Against float64 of the quantised operands; the bar is bf16's rounding of the largest value, twice."""
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
    except Exception as error:
        return {
            "op": "fp8 row-wise",
            "ok": False,
            "error": None,
            "why": f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}",
        }
