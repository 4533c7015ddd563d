"""Moves rows into blocks and out of them: seeded or given inputs, full or sampled outputs."""

from bisect import bisect_right
from collections.abc import Callable

import numpy as np
import torch

from .errors import Refused
from .exchange import Chunk
from .job import Job
from .layout import Block
from .seeded import seeded_rows


def offsets(lengths) -> list[int]:
    """First row of each sequence in a tensor that concatenates them."""
    out, total = [], 0
    for length in lengths:
        out.append(total)
        total += length
    return out


class Inputs:
    """
    The q, k and v of a job.

    Each rank makes its own seeded rows: `seeds[tensor][i]` is (seed, row of position 0 of sequence i). Given rows come
    from rank 0's `given` tensors.
    """

    def __init__(self, job: Job, seeds: dict[str, list[tuple[int, int]]] | None, given: dict[str, torch.Tensor] | None):
        self._job, self._seeds, self._given = job, seeds, given

    @classmethod
    def of_attend(cls, job: Job, seed: int | None, inputs: dict) -> "Inputs":
        """For an `attend`: rows count along the first axis of the whole batch."""
        seeds = None
        if seed is not None:
            q = [at - P for at, (_, P) in zip(offsets(T for T, _ in job.sequences), job.sequences)]
            kv = offsets(T + P for T, P in job.sequences)
            seeds = {"q": [(seed, at) for at in q], "k": [(seed, at) for at in kv], "v": [(seed, at) for at in kv]}
        given = checked(job, inputs, sum(T + P for T, P in job.sequences)) if seed is None and inputs else None
        return cls(job, seeds, given)

    @classmethod
    def of_step(cls, job: Job, seed: int | None, numbers: list[int], inputs: dict) -> "Inputs":
        """For a session's step: new rows only. Sequence i has rows P .. P+T-1 of the tensors of (seed + i) mod 2^32."""
        seeds = None if seed is None else {name: [((seed + n) % 2**32, 0) for n in numbers] for name in "qkv"}
        return cls(job, seeds, checked(job, inputs, job.new) if seed is None and inputs else None)

    @property
    def seeded(self) -> bool:
        return self._seeds is not None

    def fill(
        self, out: torch.Tensor, tensor: str, block: Block, new_only: bool, window: tuple[int, int] | None = None
    ) -> None:
        """
        Writes a block's rows of a tensor into `out` `[rows, heads, D]`, or only the rows of a window (first, end).

        `new_only`: the given tensor has the T new rows of each sequence, not P + T.
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
    """Rank 0's inputs as tensors of the right shape. Raises Refused."""
    out = {}
    if job.values_in_keys and "v" in inputs:
        raise Refused("bad-input", f"v: found a tensor, expected none: V is the first {job.value_dim} elements of K")
    kv = zip("kv", job.kv_widths)
    for name, expected in (
        ("q", (job.new, job.heads, job.head_dim)),
        *((name, (key_rows, *width)) for name, width in kv),
    ):
        found = torch.as_tensor(inputs[name]) if name in inputs else None
        if found is None or tuple(found.shape) != expected:
            shape = "nothing" if found is None else f"shape {tuple(found.shape)}"
            raise Refused("bad-input", f"{name}: found {shape}, expected shape {expected}")
        if not torch.isfinite(found).all():
            raise Refused("bad-input", f"{name}: found numbers that are not finite, expected finite ones")
        if job.dtype == torch.float16 and found.numel() and found.abs().max() > 65504:
            raise Refused("bad-input", f"{name}: found numbers beyond 65504, which f16 cannot hold; use bf16 or f32")
        out[name] = found
    return out


def operands(job: Job, device: torch.device) -> tuple[Callable[[int], Chunk], Callable[[int], Chunk]]:
    """Two functions that make a rank's chunk of queries and its chunk of keys, filled with zeros."""

    def queries(rank: int) -> Chunk:
        return chunk(rank, job.queries[rank], ((job.heads, job.head_dim),))

    def keys(rank: int) -> Chunk:
        return chunk(rank, job.keys[rank], job.kv_widths)

    def chunk(rank: int, block: Block, widths) -> Chunk:
        elements = block.rows * sum(heads * dim for heads, dim in widths)
        return Chunk(rank, block, torch.zeros(elements, dtype=job.dtype, device=device), widths)

    return queries, keys


def deliver(team, inputs: Inputs, parts) -> None:
    """
    Rank 0 sends given inputs to the other processes.

    `parts(rank)`: that rank's parts in order, each (out tensor, or one of its shape and type; tensor's name; block;
    new_only).
    """
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
    """
    Collects the result on rank 0; the other ranks get an empty one.

    "full": O `[sum T, H, Dv]` and LSE `[sum T, H]`. "rows": O `[rows, Dv]` and LSE `[rows]`; a row is [token, head].
    """
    if output == "none":
        return {}
    starts = offsets(T for T, _ in job.sequences)
    held = {
        k: [(starts[i] + start - job.sequences[i][1], end - start, row) for i, start, end, row in block.runs()]
        for k, block in enumerate(job.queries)
    }
    H, D = job.heads, job.value_dim
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
            part_o, part_lse = (
                (totals[k].o.cpu(), totals[k].lse.cpu()) if mine else (torch.empty(count, H, D), torch.empty(count, H))
            )
        else:
            picked = asked[k]
            at, heads = (torch.tensor([p[i] for p in picked], dtype=torch.long) for i in (1, 2))
            part_o, part_lse = (
                (totals[k].o[at, heads].cpu(), totals[k].lse[at, heads].cpu())
                if mine
                else (torch.empty(len(picked), D), torch.empty(len(picked)))
            )
        if not mine and team.rank != 0:
            continue
        if part_o.numel() and mine and team.rank != 0:
            team.send(part_o, 0)
            team.send(part_lse, 0)
        elif part_o.numel() and not mine:
            team.receive(part_o, k)
            team.receive(part_lse, k)
        if team.rank == 0 and output == "full":
            for token, n, row in held[k]:
                out[token : token + n] = part_o[row : row + n].numpy()
                lse[token : token + n] = part_lse[row : row + n].numpy()
        elif team.rank == 0:
            for j, (n, _, _) in enumerate(picked):
                out[n], lse[n] = part_o[j].numpy(), part_lse[j].numpy()
    return {"out": out, "lse": lse} if team.rank == 0 else {}


def check_rows(job: Job, p: dict) -> list[list[int]] | None:
    """The requested rows, each [token, head]; None if the call wants no rows. Raises Refused."""
    if p["output"] != "rows":
        return None
    for token, head in p.get("rows", []):
        if not (0 <= token < job.new and 0 <= head < job.heads):
            raise Refused(
                "bad-input",
                f"rows: found token {token}, head {head}, expected tokens below {job.new} and heads below {job.heads}",
            )
    return p.get("rows", [])
