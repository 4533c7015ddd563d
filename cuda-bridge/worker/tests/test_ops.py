"""The partial attention: every op keeps the contract, and one that is wrong is not chosen."""

import math

import pytest
import torch
from checks import dense
from ringside_worker import ops
from ringside_worker.cuts import KernelCall
from ringside_worker.reference import reference

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["cpu-flash", "math"])
@pytest.mark.parametrize("T,S", [(1, 1), (64, 128), (239, 1), (113, 203), (1, 4097), (3, 3000), (1023, 1024)])
@pytest.mark.parametrize("heads,kv_heads,dim", [(8, 1, 64), (4, 4, 16), (6, 2, 36)])
def test_every_op_keeps_the_contract(name, T, S, heads, kv_heads, dim):
    kernels = ops.Kernels(CPU, splits=7)
    kernels.names = [name]
    kernels.ready(torch.float32, heads, kv_heads, dim)
    generator = torch.Generator().manual_seed(T)
    q, k, v = (torch.randn(n, h, dim, generator=generator) for n, h in ((T, heads), (S, kv_heads), (S, kv_heads)))
    for causal in (False, True):
        keys, values = (k[:T], v[:T]) if causal else (k, v)
        if causal and T > S:
            continue
        ends = torch.arange(1, T + 1) if causal else torch.full((T,), S)
        o, lse = kernels.attend(q, keys, values, causal, 0.2)
        expected_o, expected_lse = reference(q, keys, values, ends, 0.2)
        assert (
            (o - expected_o).abs().max() < 5e-6
            and (lse - expected_lse).abs().max() < 5e-6
            and lse.dtype == torch.float32
        )
    o, lse = kernels.attend(q, k[:0], v[:0], False, 0.2)
    assert o.abs().max() == 0 and (lse == -torch.inf).all()


def test_an_op_that_is_wrong_is_not_chosen(monkeypatch):
    """Wrong base of LSE, wrong mask, NaN, an exception: the check names each with its error or its message."""

    def base2(q, k, v, causal, scale):
        o, lse = ops._math(q, k, v, causal, scale)
        return o, lse / math.log(2)

    def blind(q, k, v, causal, scale):
        return ops._math(q, k, v, False, scale)

    def nan(q, k, v, causal, scale):
        o, lse = ops._math(q, k, v, causal, scale)
        return o * torch.nan, lse

    def broken(q, k, v, causal, scale):
        raise RuntimeError("No available kernel")

    always = lambda device, dtype, dim: True
    wrong = {fn.__name__: (fn, always) for fn in (base2, nan, blind, broken)}
    monkeypatch.setattr(ops, "OPS", {**wrong, "math": ops.OPS["math"]})
    kernels = ops.Kernels(CPU)
    assert kernels.choice(torch.float32, 4, 2, 32) == {
        "square": "math",
        "small": "math",
        "full": "blind",
        "few": "blind",
        "one-key": "blind",
    }
    found = {(c["op"], c["kind"]): c for c in kernels.checks}
    assert found["base2", "full"]["error"] > 0.1 and "bar" in found["base2", "full"]["why"]
    assert found["nan", "full"]["error"] is None and "inf, bar" in found["nan", "full"]["why"]
    assert "No available kernel" in found["broken", "square"]["why"]


def test_an_op_that_refuses_later_gives_way_and_says_so(monkeypatch):
    def picky(q, k, v, causal, scale):
        if q.shape[1] > 1000:
            raise RuntimeError("cuDNN: no execution plan")
        return ops._math(q, k, v, causal, scale)

    monkeypatch.setattr(ops, "OPS", {"picky": (picky, lambda *_: True), "math": ops.OPS["math"]})
    kernels = ops.Kernels(CPU)
    kernels.ready(torch.float32, 2, 1, 16)
    q, k = torch.randn(1500, 2, 16), torch.randn(40, 1, 16)
    o, _ = kernels.attend(q, k, k, False, 0.25)
    assert (o - reference(q, k, k, torch.full((1500,), 40), 0.25)[0]).abs().max() < 5e-6
    assert "picky refused" in kernels.notes[0] and kernels.used == {"math"}


SIZES = [(1, 1, 0), (37, 1, 0), (1, 9, 1), (5, 7, 5), (5, 7, 6), (80, 3, 80)]
# A mask is never cut into a batch of bands, nor into one of rectangles with several rows.
CALLS = [
    (kind, size, times, step)
    for kind in ("full", "causal", "anti", "band")
    for size, times, step in SIZES
    if times == 1 or kind in ("causal", "anti") or (kind == "full" and size == 1)
]


@pytest.mark.parametrize("name", ["cpu-flash", "math"])
@pytest.mark.parametrize("dim,value_dim", [(32, 32), (48, 16), (16, 64)])
@pytest.mark.parametrize("kind,size,times,step", CALLS)
def test_the_calls_of_a_mask(name, dim, value_dim, kind, size, times, step):
    """Rectangles, both triangles and bands, alone and in batches, with values of another size."""
    kernels = ops.Kernels(CPU)
    kernels.names = [name]
    rows = (times - 1) * step + size
    generator = torch.Generator().manual_seed(size)
    q, k, v = (torch.randn(rows + 9, h, d, generator=generator) for h, d in ((4, dim), (2, dim), (2, value_dim)))
    starts = tuple(sorted(torch.randint(0, size, (size,), generator=generator).tolist())) if kind == "band" else ()
    call = KernelCall(0, 3, 3 + size, 5, 5 + size, kind, times, step, starts)
    o, lse = kernels.call(call, q, k, v, 0.2)
    assert o.shape == (times * step if times > 1 else size, 4, value_dim) and o.is_contiguous()
    for t in range(times):
        own = slice(t * step, t * step + size)
        seen = {
            "full": torch.ones(size, size).bool(),
            "causal": torch.ones(size, size).tril().bool(),
            "anti": torch.ones(size, size).triu().bool(),
            "band": torch.arange(size)[None] >= torch.tensor(starts)[:, None] if starts else None,
        }[kind]
        expected_o, expected_lse = dense(q[own], k[own], v[own], seen, 0.2)
        assert (o[own] - expected_o).abs().max() < 5e-6 and (lse[own] - expected_lse).abs().max() < 5e-6
        between = slice(t * step + size, (t + 1) * step)
        assert step == 0 or (o[between] == 0).all() and (lse[between] == -torch.inf).all()
