"""Workers of 1, 2 and 4 processes over gloo: every algorithm against float64, and what can go wrong between them."""

import json
import signal
import subprocess
import sys
import time

import pytest
import worlds

BAR = 2e-6


@pytest.fixture(scope="module", params=[1, 2, 4])
def world(request):
    """(processes, what the bodies returned). One start of a worker serves all bodies that leave it intact."""
    return request.param, worlds.result(worlds.start(request.param, "sweep,given,conversation,full_cache"))


def test_every_program_is_right(world):
    found = world[1]["sweep"]
    assert found["out"] <= BAR and found["lse"] <= BAR
    assert max(found["bf16"]) <= 0.03


def test_own_tensors_sampled_rows_and_the_report(world):
    world, found = world[0], world[1]["given"]
    assert max(found["errors"]) <= BAR and found["same"]
    report, spans = found["report"], found["spans"]
    assert (
        report["processes"] == world
        and report["simulated"] is False
        and report["backend"] == ("gloo" if world > 1 else "single")
        and report["link"] is None
    )
    for k, traffic in enumerate(report["perRank"]):
        assert traffic["rank"] == k and traffic["ring"]["messages"] == traffic["all2all"]["messages"] == world - 1
        assert (
            traffic["bytesSent"] == traffic["bytesReceived"] == traffic["ring"]["bytes"] + traffic["all2all"]["bytes"]
        )
    assert {s["rank"] for s in spans} == set(range(world))
    for k in range(world):
        assert [s["hop"] for s in spans if s["rank"] == k and s["kind"] == "attend"] == list(range(world))
        assert [s["peer"] for s in spans if s["rank"] == k and s["kind"] == "attend"] == [
            (k - j) % world for j in range(world)
        ]
        assert sum(s["kind"] == "receive" for s in spans if s["rank"] == k) == world - 1
    assert found["progress"][-1]["done"] == found["progress"][-1]["total"] == world * world


def test_a_session_equals_one_full_prefill(world):
    found = world[1]["conversation"]
    assert found == {"worst": found["worst"], "closed": "unknown-session"} and found["worst"] <= BAR


@pytest.mark.parametrize("world", [1, 2, 4])
def test_a_cancelled_run_ends_within_a_second_and_leaves_the_worker_ready(world):
    found = worlds.run(world, "cancelling", slice_seconds=0.05)
    assert max(found["attend"]) < 1 and found["step"] < 1
    assert found["worst"] <= BAR
    assert [row["sequence"] for row in found["tokens"]] == [1] and sum(found["tokens"][0]["perRank"]) == 20


@pytest.mark.parametrize("world", [1, 2])
def test_what_does_not_fit_or_is_wrong_is_refused(world):
    found = worlds.run(world, "refused", memory_limit=1 << 31)
    assert [row[0] for row in found] == [
        "does-not-fit",
        "bad-input",
        "bad-input",
        "bad-input",
        "bad-input",
        "does-not-fit",
        "unknown-session",
    ]
    _, message, details = found[0]
    assert details["need"] > details["have"] > 0 and "new tokens would" in details["fits"] and "found" in message


def test_a_full_cache_refuses_the_step_and_keeps_the_session(world):
    code, details, tokens = world[1]["full_cache"]
    assert code == "does-not-fit" and details["need"] > details["have"]
    assert sum(tokens[0]["perRank"]) == 6


def test_a_rank_that_fails_ends_the_run_on_all():
    found = worlds.run(2, "failing", slice_seconds=0.002)
    assert found[::2] == ["worker-failed"] * 3
    assert max(found[1::2]) <= BAR


def test_a_killed_rank_is_an_error_in_bounded_time():
    processes = worlds.start(3, "losing", timeout=5, slice_seconds=0.05)
    try:
        assert processes[0].stdout.readline().strip() == "RUNNING"
        killed = time.monotonic()
        processes[1].kill()
        (first, _), (second, again) = worlds.result(processes)["losing"]
        assert first == second == "rank-died"
        assert time.monotonic() - killed < 40 and again < 1
    finally:
        for p in processes:
            p.kill()


def test_the_first_processes_serve_fewer_ranks():
    """Eight processes: N = 1, 2, 3, 4 and 8 without another start."""
    found = worlds.run(8, "subsets")
    assert found["worst"] <= BAR
    assert found["seen"] == [[n, n, False, "single" if n == 1 else "gloo", n] for n in (2, 1, 4, 8, 3)]
    assert found["sessions"] == [1, 2, 3, 4, 5]
    assert found["more"] == ["bad-input", {"ranks": 9, "processes": 8}]


def test_the_others_wait_for_a_rank_that_comes_and_compiles_late():
    """35 s each: longer than the 30 s for which a rank may be silent in a run."""
    error, seconds = worlds.result(worlds.start(2, "late", delay=35), timeout=150)["late"]
    assert error <= BAR and seconds > 34


def test_a_rank_that_never_comes_is_named():
    processes = worlds.start(3, "whoami", patience=4)
    try:
        processes[2].kill()
        _, error = processes[0].communicate(timeout=60)
        assert (
            processes[0].returncode != 0 and "found no sign of rank 2 within 4 s, expected all of 3 ranks" in error
        ), error
    finally:
        for p in processes:
            p.kill()
            p.communicate()


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL], ids=["stopped", "killed"])
@pytest.mark.parametrize("rank", [1, 2])
def test_a_rank_that_is_silent_or_gone_is_named_with_its_hop(rank, how):
    processes = worlds.start(4, "stopped", timeout=4, slice_seconds=0.05)
    try:
        assert processes[0].stdout.readline().strip() == "RUNNING"
        processes[rank].send_signal(how)
        first, second = worlds.result([processes[0]])["stopped"]
        code, message, details, seconds = first
        assert (code, details["rank"]) == ("rank-died", rank), first
        assert details["hop"] in range(4) and f"by rank {(rank + 1) % 4}" in details["awaited"], first
        assert message.startswith(f"hop {details['hop']}: rank {rank} is gone or silent"), first
        assert seconds < 30 and (second[0], second[2]["rank"]) == ("rank-died", rank) and second[3] < 1
    finally:
        for p in processes:
            p.kill()
            p.communicate()


def test_torchrun_starts_a_worker():
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nnodes",
        "1",
        "--master-addr",
        "127.0.0.1",
        "--master-port",
        "0",
        "--rdzv-backend",
        "c10d",
        "--rdzv-endpoint",
        "127.0.0.1:0",
        "--nproc-per-node",
        "2",
        str(worlds.HERE / "rank.py"),
        "whoami",
    ]
    out = subprocess.run(command, env=worlds.environment(), capture_output=True, text=True, timeout=90, check=False)
    line = next((row for row in out.stdout.splitlines() if "RESULT " in row), None)
    assert line is not None, out.stderr
    found = json.loads(line.split("RESULT ", 1)[1])["whoami"]
    assert (
        found["elastic"]
        and found["facts"]["processes"] == 2
        and found["facts"]["backend"] == "gloo"
        and len(found["facts"]["devices"]) == 2
    )
    assert max(found["errors"]) <= BAR
