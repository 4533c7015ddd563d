"""The merge of partials (Eq. 4) against float64."""

import math

import pytest
import torch
from ringside_worker.merge import Accumulator, Merger, combine, weights

CPU = torch.device("cpu")


@pytest.mark.parametrize("fused", [False, True])
def test_merge_over_the_grid(fused):
    """Random splits of the keys, 10 % of LSE infinite, several partials at once and one after another."""
    merger = Merger(CPU, fused)
    if fused and merger.how != "fused":
        pytest.fail(f"torch.compile does not work here: {merger.note}")
    for rows, heads, dim, parts in ((256, 4, 32, 3),) if fused else ((256, 4, 32, 2), (700, 8, 64, 11)):
        generator = torch.Generator().manual_seed(rows)
        os = [torch.randn(rows, heads, dim, generator=generator) for _ in range(parts)]
        lses = [torch.randn(rows, heads, generator=generator) * 30 for _ in range(parts)]
        for o, lse in zip(os, lses):
            empty = torch.rand(rows, heads, generator=generator) < 0.1
            lse[empty], o[empty] = -torch.inf, 0
            lse[:3], o[:3] = -torch.inf, 0
        total = torch.logsumexp(torch.stack(lses).double(), 0)
        share = torch.exp(torch.stack(lses).double() - torch.where(total == -torch.inf, 0, total))
        exact = (torch.stack(os).double() * share[..., None]).sum(0)
        for hold in (8,) if fused else (1, 3, 8):
            out = Accumulator(
                torch.full((rows, heads, dim), torch.nan), torch.full((rows, heads), torch.nan), merger, hold, Untimed
            )
            for o, lse in zip(os, lses):
                out.add(0, rows, o, lse)
                out.settle()
            out.finish()
            assert (out.o - exact).abs().max() < 1e-5  # in f32 the next number after an LSE of 100 is 8e-6 away
            assert (out.lse[:3] == -torch.inf).all() and (out.o[:3] == 0).all()
            assert torch.allclose(out.lse.double(), total, atol=1e-5)


class Untimed:
    """Doesn't time the merges."""

    def __init__(self, bytes):
        pass

    def __enter__(self):
        pass

    def __exit__(self, *_):
        pass


def test_partials_of_some_rows_only():
    out = Accumulator(torch.full((10, 1, 4), torch.nan), torch.full((10, 1), torch.nan), Merger(CPU), 2, Untimed)
    one = lambda n, value: (torch.full((n, 1, 4), value), torch.zeros(n, 1))
    out.add(2, 6, *one(4, 1.0))
    out.add(4, 9, *one(5, 3.0))
    out.settle()
    out.add(5, 7, *one(2, 5.0))
    out.finish()
    assert out.o[:, 0, 0].tolist() == pytest.approx([0, 0, 1, 1, 2, 3, 4, 3, 3, 0])
    assert out.lse[:, 0].tolist() == pytest.approx(
        [-math.inf, -math.inf, 0, 0, math.log(2), math.log(3), math.log(2), 0, 0, -math.inf]
    )


def test_extreme_lses_do_not_overflow():
    lse, ws = weights([torch.tensor([[200.0, -200.0, -torch.inf]]), torch.tensor([[-200.0, -torch.inf, -torch.inf]])])
    assert lse.tolist() == [[200.0, -200.0, -math.inf]] and [w.tolist() for w in ws] == [[[1, 1, 0]], [[0, 0, 0]]]
    out = torch.empty(1, 3, 1)
    combine(out, [torch.ones(1, 3, 1), torch.zeros(1, 3, 1)], ws)
    assert out.flatten().tolist() == [1, 1, 0]
