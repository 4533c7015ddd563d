"""Attention in float64, row by row: every kernel and every ring is compared with it."""

import torch


def reference(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, ends: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    O `[T, H, D]` and LSE `[T, H]` in float64 of q `[T, H, D]`, k and v `[S, Hkv, D]`.

    Row t sees keys 0 .. ends[t]-1. O = 0 and LSE = -inf if it sees none. Works in tiles of keys, so that a few rows can
    see a million keys.
    """
    T, H, D = q.shape
    Hkv = k.shape[1]
    grouped = q.to(torch.float64).view(T, Hkv, H // Hkv, D) * scale
    top = torch.full((T, Hkv, H // Hkv), -torch.inf, dtype=torch.float64, device=q.device)
    total, out = torch.zeros_like(top), torch.zeros_like(grouped)
    tile = max(1, (1 << 24) // max(1, T * H))
    for s in range(0, k.shape[0], tile):
        keys, values = k[s : s + tile].to(torch.float64), v[s : s + tile].to(torch.float64)
        scores = torch.einsum("thgd,shd->thgs", grouped, keys)
        seen = torch.arange(s, s + keys.shape[0], device=q.device)[None, :] < ends[:, None]
        scores.masked_fill_(~seen[:, None, None, :], -torch.inf)
        new = torch.maximum(top, scores.amax(-1))
        base = torch.where(new == -torch.inf, 0.0, new)
        weights, keep = torch.exp(scores - base[..., None]), torch.exp(top - base)
        total = total * keep + weights.sum(-1)
        out = out * keep[..., None] + torch.einsum("thgs,shd->thgd", weights, values)
        top = new
    lse = torch.where(total > 0, torch.where(top == -torch.inf, 0.0, top) + torch.log(total), -torch.inf)
    return (out / torch.where(total > 0, total, 1.0)[..., None]).view(T, H, D), lse.view(T, H)
