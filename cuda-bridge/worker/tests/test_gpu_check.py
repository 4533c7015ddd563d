"""gpu_check on a CPU: the document is complete and says that no GPU made it."""

import json
import subprocess
import sys

import pytest
import worlds
from ringside_worker.bench import bench
from ringside_worker.engine import Cancelled, Engine


def test_the_script_writes_its_json_without_a_gpu(tmp_path):
    out = tmp_path / "results.json"
    found = subprocess.run(
        [sys.executable, "-m", "ringside_worker.gpu_check", "--device", "cpu", "--quick", "--out", str(out)],
        env=worlds.environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert "not run on a GPU" in found.stdout
    document = json.loads(out.read_text())
    assert (
        document["ranOnGpu"] is False and document["note"].startswith("not run on a GPU") and document["skipped"] == []
    )
    assert any(c["ok"] for c in document["selfCheck"]) and document["ceilings"]["product"]["rate"] > 0
    for row in document["attention"]:
        assert [r["ranks"] for r in row["rings"]] == [2, 4, 8, 16]
        assert 0 < row["single"]["error"] < 0.1 and all(
            0 < r["error"] < 0.1 and r["ofSingle"] > 0 for r in row["rings"]
        )
    assert all({"pass-kv", "pass-q", "faster"} <= set(row) for row in document["passQ"])
    assert len(document["decode"]) == 6 and all(row["op"] > 0 for row in document["decode"])
    assert [row["ranks"] for row in document["layer"]] == [1, 4] and all(row["ttft"] > 0 for row in document["layer"])
    assert [bar["passed"] for bar in document["bars"]] == [None, None, True]
    assert document["machine"]["devices"][0]["kind"] == "cpu"


def test_bench_can_be_cancelled_and_keeps_to_its_budget():
    engine = Engine.start(device="cpu")
    notes = []
    with pytest.raises(Cancelled):
        bench(engine, True, lambda event: notes.append(event["note"]), lambda: len(notes) >= 2)
    assert notes == ["ceilings", "decode"]


def test_bench_over_real_ranks():
    document = worlds.run(2, "benched")
    assert [r["ranks"] for row in document["attention"] for r in row["rings"]] == [2, 2]
    assert document["machine"]["processes"] == 2 and document["bars"][2]["passed"] is True
