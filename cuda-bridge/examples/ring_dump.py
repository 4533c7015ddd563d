"""A small pass-KV ring over gloo that dumps what it computes, with a fault on request, for `ringside compare`.

    torchrun --standalone --nproc-per-node 4 ring_dump.py --out dump --layout te --fault scale-missing

It writes qkv.npz, and for each rank o_rankR.npy and lse_rankR.npy and, hop by hop, p_rR_hJ.npz with o and lse. Rows are
in the order of the rank's shard. Then:

    npx ringside-cp compare --tensors dump/qkv.npz --shards 'dump/o_rank{rank}.npy' --lse 'dump/lse_rank{rank}.npy' \
        --layout te --ranks 4
    npx ringside-cp compare --tensors dump/qkv.npz --partials 'dump/p_r{rank}_h{hop}.npz' --layout te --ranks 4
"""

import argparse
import pathlib

import numpy as np
import torch
import torch.distributed as dist

H, HKV, D = 4, 2, 32
FAULTS = (
    "scale-missing",
    "kv-heads-interleaved",
    "mask-by-local-position",
    "causal-off-by-one",
    "window-for-causal",
    "no-mask",
    "padding-attended",
    "merge-unweighted",
    "lse-base-2",
    "hop-missing",
)


def shard(layout: str, length: int, ranks: int, rank: int) -> torch.Tensor:
    """The tokens of a rank, -1 for padding."""
    if layout == "striped":
        padded = -(-length // ranks) * ranks
        tokens = torch.arange(padded)[rank::ranks]
    elif layout == "te":
        padded = -(-length // (2 * ranks)) * 2 * ranks
        chunks = torch.arange(padded).view(2 * ranks, -1)
        tokens = torch.cat([chunks[rank], chunks[2 * ranks - 1 - rank]])
    else:
        chunks = torch.arange(length).view(2 * ranks, -1)
        tokens = torch.cat([chunks[rank], chunks[2 * ranks - 1 - rank]])
    return torch.where(tokens < length, tokens, -1)


def attend(q, k, v, q_tokens, k_tokens, scale, fault):
    """O and LSE of a rank's queries over one chunk of keys. O = 0 and LSE = -inf for a row that sees none."""
    group = H // HKV
    if fault == "kv-heads-interleaved":
        heads = torch.arange(H) % HKV
    else:
        heads = torch.arange(H) // group
    k, v = k[:, heads], v[:, heads]
    scores = torch.einsum("thd,shd->hts", q, k) * scale
    places = fault == "mask-by-local-position"
    rows = torch.arange(len(q_tokens)) if places else q_tokens
    keys = torch.arange(len(k_tokens)) if places else k_tokens
    back = rows[:, None] - keys[None, :]
    seen = back >= (1 if fault == "causal-off-by-one" else 0)
    if fault == "window-for-causal":
        seen &= back < 20
    if fault == "no-mask":
        seen = torch.ones_like(seen)
    if fault != "padding-attended":
        seen &= k_tokens[None, :] >= 0
    scores = scores.masked_fill(~seen, -torch.inf)
    lse = torch.logsumexp(scores, -1)
    weights = torch.exp(scores - torch.where(lse.isinf(), 0, lse)[..., None])
    o = torch.einsum("hts,shd->thd", weights, v)
    return o, lse.T.contiguous()


def merge(o, lse, o_new, lse_new, fault):
    """Eq. 4 for two partial results."""
    if fault == "merge-unweighted":
        return (o + o_new) / 2, torch.logaddexp(lse, lse_new)
    if fault == "lse-base-2":
        lse_new = lse_new / np.log(2)
    both = torch.logaddexp(lse, lse_new)
    safe = torch.where(both.isinf(), 0, both)
    return o * torch.exp(lse - safe)[..., None] + o_new * torch.exp(lse_new - safe)[..., None], both


def ring(out: pathlib.Path, layout: str, fault: str) -> None:
    """One attention of a seeded batch over the ring, dumped to a folder."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(5)
    # ring-flash-attention's zigzag takes no length that 2N doesn't divide; the others pad.
    T = 64 if layout == "zigzag" else 61
    q, k, v = torch.randn(T, H, D), torch.randn(T, HKV, D), torch.randn(T, HKV, D)
    tokens = [shard(layout, T, ranks, r) for r in range(ranks)]
    # Padding is a row of zeros.
    own = torch.where(tokens[rank] < 0, T, tokens[rank])
    q_own, k_own, v_own = (torch.cat([x, torch.zeros_like(x[:1])])[own] for x in (q, k, v))
    out.mkdir(parents=True, exist_ok=True)
    if rank == 0:
        np.savez(out / "qkv.npz", q=q, k=k, v=v)

    scale = 1.0 if fault == "scale-missing" else D**-0.5
    chunk = torch.stack([k_own, v_own])
    o = lse = None
    for hop in range(ranks):
        owner = (rank - hop) % ranks
        part, part_lse = attend(q_own, chunk[0], chunk[1], tokens[rank], tokens[owner], scale, fault)
        np.savez(out / f"p_r{rank}_h{hop}.npz", o=part, lse=part_lse)
        if o is None:
            o, lse = part, part_lse
        elif not (fault == "hop-missing" and hop == 2):
            o, lse = merge(o, lse, part, part_lse, fault)
        if hop + 1 < ranks:
            arriving = torch.empty_like(chunk)
            works = [
                dist.isend(chunk, (rank + 1) % ranks, tag=hop),
                dist.irecv(arriving, (rank - 1) % ranks, tag=hop),
            ]
            for work in works:
                work.wait()
            chunk = arriving
    np.save(out / f"o_rank{rank}.npy", o)
    np.save(out / f"lse_rank{rank}.npy", lse)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--layout", choices=["te", "striped", "zigzag"], default="te")
    parser.add_argument(
        "--fault", default="none", help=f"{', '.join(FAULTS)}; several, with commas between, get a folder each"
    )
    args = parser.parse_args()
    faults = args.fault.split(",")
    unknown = [fault for fault in faults if fault not in ("none", *FAULTS)]
    if unknown:
        parser.error(f"--fault: found {', '.join(unknown)}, expected none, {', '.join(FAULTS)}")
    dist.init_process_group("gloo")
    for fault in faults:
        ring(args.out / fault if len(faults) > 1 else args.out, args.layout, fault)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
