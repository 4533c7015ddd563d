"""What the tests of the real engine share: a long call, and results against float64."""

import numpy
from fake_compute import attention, seeded

BIG = {
    "sequences": [{"new": 32768, "cached": 0}],
    "heads": 8,
    "kvHeads": 2,
    "headDim": 128,
    "output": "none",
    "dtype": "f32",
}


def check(tensors, q, k, v, bar=2e-6):
    out, lse = attention(q, k, v, True, q.shape[2] ** -0.5)
    numpy.testing.assert_allclose(tensors["out"], out, atol=bar, rtol=1e-5)
    numpy.testing.assert_allclose(tensors["lse"], lse, atol=bar, rtol=1e-5)


def inputs(new, keys, seed=1, first=0, heads=4, kv_heads=2, dim=16):
    return (
        seeded(seed, 0, first, new, heads, dim),
        seeded(seed, 1, 0, keys, kv_heads, dim),
        seeded(seed, 2, 0, keys, kv_heads, dim),
    )
