"""
Seeded inputs: the generator of engine/tensor/seeded.ts in PyTorch, bit for bit, on any device, tile by tile.

That file describes the recipe. Here we do u32 arithmetic in int64, with `& MASK` after each sum and product. A product
that wraps at 2^64 keeps its lower 32 bits.
"""

import torch

MASK = 0xFFFFFFFF
GOLDEN = 0x9E3779B9
IDS = {"q": 0, "k": 1, "v": 2}
TILE = 1 << 22
"""Elements made at a time: a few int64 temporaries of 32 MB each."""


def mix(x):
    """lowbias32 on an int or an int64 tensor of values below 2^32."""
    x = x ^ (x >> 16)
    x = x * 0x7FEB352D & MASK
    x = x ^ (x >> 15)
    x = x * 0x846CA68B & MASK
    return x ^ (x >> 16)


def seeded_rows(seed: int, tensor: str, first: int, out: torch.Tensor) -> torch.Tensor:
    """
    Fills `out` `[rows, ...]` with the rows from `first` on of tensor "q", "k" or "v". Column = h D + d.

    `out` may have any float type: the values are exact in bf16 and f16.
    """
    if not 0 <= seed <= MASK or not 0 <= first <= MASK + 1 - out.shape[0]:
        raise ValueError(
            f"seeded inputs: found seed {seed} and rows {first} to {first + out.shape[0]}, "
            "expected whole numbers from 0 to 2^32 - 1"
        )
    key = mix(mix(seed + GOLDEN & MASK) + IDS[tensor] & MASK)
    rows = out.shape[0]
    if out.numel() == 0:
        return out
    columns = out[0].numel()
    spread = torch.arange(columns, dtype=torch.int64, device=out.device) * GOLDEN & MASK
    step = max(1, TILE // columns)
    for r in range(0, rows, step):
        end = min(rows, r + step)
        row_key = mix(key ^ torch.arange(first + r, first + end, dtype=torch.int64, device=out.device))
        bits = mix((row_key[:, None] ^ spread) + key & MASK)
        total = (bits & 63) + (bits >> 6 & 63) + (bits >> 12 & 63) + (bits >> 18 & 63)
        out[r:end] = ((total - 126).to(torch.float32) / 32).view(end - r, *out.shape[1:])
    return out
