"""Rows on their way into blocks and out of them: seeded or given inputs, full or sampled outputs."""

from bisect import bisect_right

import numpy as np
import torch

from .errors import Refused
from .exchange import Chunk
from .job import Job
from .layout import Block
from .seeded import seeded_rows


def offsets(lengths) -> list[int]:
    """First row of each sequence in tensors that concatenate them."""
    out, total = [], 0
    for length in lengths:
        out.append(total)
        total += length
    return out


class Inputs:
    """
    The q, k and v of a job. `rows(tensor, i)` gives (seed or None, row of position 0 of sequence i): seeded rows are made where they are needed,
    given ones are rank 0's `given` tensors.
    """

    def __init__(self, job: Job, seeds: dict[str, list[tuple[int, int]]] | None, given: dict[str, torch.Tensor] | None):
        self._job, self._seeds, self._given = job, seeds, given

    @classmethod
    def of_attend(cls, job: Job, seed: int | None, inputs: dict) -> "Inputs":
        """Rows count along the first axis of the whole batch."""
        seeds = None
        if seed is not None:
            q = [at - P for at, (_, P) in zip(offsets(T for T, _ in job.sequences), job.sequences)]
            kv = offsets(T + P for T, P in job.sequences)
            seeds = {"q": [(seed, at) for at in q], "k": [(seed, at) for at in kv], "v": [(seed, at) for at in kv]}
        return cls(
            job, seeds, checked(job, inputs, sum(T + P for T, P in job.sequences)) if seed is None and inputs else None
        )

    @classmethod
    def of_step(cls, job: Job, seed: int | None, numbers: list[int], inputs: dict) -> "Inputs":
        """New rows only; sequence i's are rows P .. P+T-1 of the tensors seeded by (seed + i) mod 2^32."""
        seeds = None if seed is None else {name: [((seed + n) % 2**32, 0) for n in numbers] for name in "qkv"}
        return cls(job, seeds, checked(job, inputs, job.new) if seed is None and inputs else None)

    @property
    def seeded(self) -> bool:
        return self._seeds is not None

    def fill(
        self, out: torch.Tensor, tensor: str, block: Block, new_only: bool, window: tuple[int, int] | None = None
    ) -> None:
        """
        Writes a block's rows of a tensor into `out` `[rows, heads, D]`, or those of a window of its rows. `new_only`: the given tensor has the T new rows
        of each sequence, not P + T.
        """
        starts = offsets((T if new_only else T + P) for T, P in self._job.sequences)
        low, high = window or (0, block.rows)
        for i, start, end, row in block.runs():
            first, last = max(row, low), min(row + end - start, high)
            if first >= last:
                continue
            start, end, row = start + first - row, start + last - row, first
            if self._seeds is not None:
                seed, first = self._seeds[tensor][i]
                seeded_rows(seed, tensor, first + start, out[row : row + end - start])
            elif self._given is not None:
                at = starts[i] + start - (self._job.sequences[i][1] if new_only else 0)
                out[row : row + end - start] = self._given[tensor][at : at + end - start].to(out.device, out.dtype)


def checked(job: Job, inputs: dict, key_rows: int) -> dict[str, torch.Tensor]:
    """Rank 0's inputs as tensors of the right shape, or Refused."""
    out = {}
    for name, rows, heads in (("q", job.new, job.heads), ("k", key_rows, job.kv_heads), ("v", key_rows, job.kv_heads)):
        found = torch.as_tensor(inputs[name]) if name in inputs else None
        expected = (rows, heads, job.head_dim)
        if found is None or tuple(found.shape) != expected:
            raise Refused(
                "bad-input", f"{name}: found {'nothing' if found is None else tuple(found.shape)}, expected {expected}"
            )
        if not torch.isfinite(found).all():
            raise Refused("bad-input", f"{name}: found numbers that are not finite")
        if job.dtype == torch.float16 and found.numel() and found.abs().max() > 65504:
            raise Refused("bad-input", f"{name}: found numbers beyond 65504, which f16 cannot hold; use bf16 or f32")
        out[name] = found
    return out


def operands(job: Job, device: torch.device) -> tuple[Chunk, Chunk]:
    """Makes a function of a rank that gives empty chunks of its queries and its keys."""

    def queries(rank: int) -> Chunk:
        return Chunk(
            rank,
            job.queries[rank],
            torch.zeros(job.queries[rank].rows, job.heads, job.head_dim, dtype=job.dtype, device=device),
        )

    def keys(rank: int) -> Chunk:
        return Chunk(
            rank,
            job.keys[rank],
            torch.zeros(2, job.keys[rank].rows, job.kv_heads, job.head_dim, dtype=job.dtype, device=device),
        )

    return queries, keys


def deliver(team, inputs: Inputs, parts) -> None:
    """Rank 0 sends given inputs to the other processes. `parts(rank)`: (out tensor or its shape and type, tensor's name, block, new_only) of that rank's, in order."""
    if team.world == 1 or inputs.seeded:
        return
    if team.rank == 0:
        for rank in range(1, team.world):
            for out, name, block, new_only in parts(rank):
                rows = torch.zeros(out.shape, dtype=out.dtype)
                inputs.fill(rows, name, block, new_only)
                team.send(rows, rank)
    else:
        for out, _, _, _ in parts(team.rank):
            out.copy_(team.receive(torch.empty(out.shape, dtype=out.dtype), 0))


def gather(team, job: Job, totals: dict, output: str, rows: list[list[int]] | None) -> dict[str, np.ndarray]:
    """Rank 0's tensors: all of O `[sum T, H, D]` and LSE `[sum T, H]`, or of rows [token, head] O `[rows, D]` and LSE `[rows]`."""
    if output == "none":
        return {}
    starts = offsets(T for T, _ in job.sequences)
    held = {
        k: [(starts[i] + start - job.sequences[i][1], end - start, row) for i, start, end, row in block.runs()]
        for k, block in enumerate(job.queries)
    }
    H, D = job.heads, job.head_dim
    if output == "full":
        shape, lse_shape = (job.new, H, D), (job.new, H)
    else:
        shape, lse_shape = (len(rows), D), (len(rows),)
        asked = {k: [] for k in range(job.ranks)}  # (place in `rows`, row of the rank's block, head)
        runs = sorted((token, row, k) for k, own in held.items() for token, _, row in own)
        for n, (token, head) in enumerate(rows):
            first, row, k = runs[bisect_right(runs, (token, job.new, job.ranks)) - 1]
            asked[k].append((n, row + token - first, head))
    out = np.zeros(shape, np.float32) if team.rank == 0 else None
    lse = np.zeros(lse_shape, np.float32) if team.rank == 0 else None
    for k in range(job.ranks):
        mine = k in totals
        if output == "full":
            count = job.queries[k].rows
            o, l = (
                (totals[k].o.cpu(), totals[k].lse.cpu()) if mine else (torch.empty(count, H, D), torch.empty(count, H))
            )
        else:
            picked = asked[k]
            at, heads = (
                torch.tensor([p[1] for p in picked], dtype=torch.long),
                torch.tensor([p[2] for p in picked], dtype=torch.long),
            )
            o, l = (
                (totals[k].o[at, heads].cpu(), totals[k].lse[at, heads].cpu())
                if mine
                else (torch.empty(len(picked), D), torch.empty(len(picked)))
            )
        if not mine and team.rank != 0:
            continue
        if o.numel() and mine and team.rank != 0:
            team.send(o, 0)
            team.send(l, 0)
        elif o.numel() and not mine:
            team.receive(o, k)
            team.receive(l, k)
        if team.rank == 0 and output == "full":
            for token, n, row in held[k]:
                out[token : token + n], lse[token : token + n] = o[row : row + n].numpy(), l[row : row + n].numpy()
        elif team.rank == 0:
            for j, (n, _, _) in enumerate(picked):
                out[n], lse[n] = o[j].numpy(), l[j].numpy()
    return {"out": out, "lse": lse} if team.rank == 0 else {}


def check_rows(job: Job, p: dict) -> list[list[int]] | None:
    """The rows asked for, within the tensor."""
    if p["output"] != "rows":
        return None
    for token, head in p.get("rows", []):
        if not (0 <= token < job.new and 0 <= head < job.heads):
            raise Refused(
                "bad-input",
                f"rows: found token {token}, head {head}, expected tokens below {job.new} and heads below {job.heads}",
            )
    return p.get("rows", [])
