"""Seeded numbers are those of engine/tensor/seeded.ts, whatever the slice, the tile and the type."""

import json
from pathlib import Path

import pytest
import torch
from ringside_worker.seeded import seeded_rows


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_seeded_rows_are_those_of_typescript(dtype):
    for vector in json.loads((Path(__file__).parent / "seeded.json").read_text()):
        found = seeded_rows(
            vector["seed"],
            vector["tensor"],
            vector["first"],
            torch.empty(len(vector["rows"]), vector["columns"], dtype=dtype),
        )
        assert (found.float() * 32).tolist() == vector["rows"]


def test_a_seeded_slice_is_that_of_the_whole_whatever_the_tile(monkeypatch):
    whole = seeded_rows(9, "k", 0, torch.empty(300, 2, 8))
    monkeypatch.setattr("ringside_worker.seeded.TILE", 64)
    assert torch.equal(seeded_rows(9, "k", 37, torch.empty(100, 2, 8)), whole[37:137])
    with pytest.raises(ValueError, match="found seed -1"):
        seeded_rows(-1, "k", 0, torch.empty(1, 2))
