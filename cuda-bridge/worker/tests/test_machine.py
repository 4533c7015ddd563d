"""What the machine has: memory that runs are planned for, and the facts of devices and kernels."""

import pytest
from checks import attend, attend_params
from ringside_worker import memory
from ringside_worker.engine import Engine, Refused
from ringside_worker.facts import driver
from ringside_worker.job import Job, need


def test_memory_is_planned(engine):
    with pytest.raises(Refused) as refused:
        memory.require({"q": 3_000_000_000, "kv": 1_000_000_000}, 2_000_000_000, "cuda:0", "500 new tokens would")
    assert refused.value.details == {"need": 4_000_000_000, "have": 2_000_000_000, "fits": "500 new tokens would"}
    assert "q 3 GB, kv 1 GB" in str(refused.value)
    assert memory.largest_that(lambda n: n <= 37, 100) == 37 and memory.largest_that(lambda n: False, 9) == 0
    small = Engine.start(device="cpu", memory_limit=64 << 20)
    fit = []
    for tokens in (4096, 1 << 20):
        try:
            attend(
                small, ranks=4, sequences=[{"new": tokens, "cached": 0}], output="none", heads=8, kvHeads=1, headDim=64
            )
        except Refused as error:
            fit.append(int(error.details["fits"].split()[1]))
    assert fit and attend(
        small, ranks=4, sequences=[{"new": fit[-1], "cached": 0}], output="none", heads=8, kvHeads=1, headDim=64
    )


def test_memory_of_simulated_ranks_grows_with_tokens_only():
    totals = {}
    for variant in ("pass-kv", "pass-q"):
        for ranks in (2, 16):
            p = attend_params(
                sequences=[{"new": 1 << 20, "cached": 0}],
                heads=16,
                kvHeads=1,
                headDim=128,
                dtype="bf16",
                ranks=ranks,
                variant=variant,
            )
            totals[variant, ranks] = sum(need(Job.of_attend(p, 1), ranks, 2).values())
    assert max(totals.values()) < 1.02 * min(totals.values()) < 30e9


def test_facts_say_what_was_chosen(engine):
    found = engine.facts()
    assert (
        found["backend"] == "single"
        and found["devices"][0]["kind"] == "cpu"
        and found["devices"][0]["memoryBytes"] > 1e8
    )
    assert any(k["chosen"] and k["ok"] and k["maxError"] < 2e-5 for k in found["kernels"])


@pytest.mark.parametrize(
    "line",
    [
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build  (root@host)",
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023",
    ],
)
def test_the_driver_is_its_version_and_no_other_number(tmp_path, line):
    file = tmp_path / "version"
    file.write_text(f"{line}\nGCC version:  gcc version 12.3.0\n")
    assert driver(str(file)) == next(word for word in line.split() if word[0].isdigit() and word.count(".") == 2)
    assert driver(str(tmp_path / "none")) is None
