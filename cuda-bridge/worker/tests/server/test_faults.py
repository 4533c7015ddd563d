"""Compute processes that die or hang, calls that raise, and the worker's own end."""

import os
import signal
import time

import pytest
from fake_compute import MISCHIEF
from harness import SESSION, Worker, alive, attend, gone, lasting, prefill
from ringside_worker.wire import write_message


@pytest.fixture
def own():
    """A worker that a test may damage."""
    with Worker("--limit", "frame-bytes=65536", "--limit", "window=131072") as started:
        yield started


def ready(client):
    end = time.monotonic() + 30
    while client.health()["state"] != "ready":
        assert time.monotonic() < end
        time.sleep(0.02)


# Compute processes


@pytest.mark.parametrize(
    ("mischief", "code", "said"),
    [
        ("crash", "rank-died", "rank 0 ended with status 3"),
        ("segfault", "rank-died", "SIGSEGV"),
        ("lost", "rank-died", "rank 1 is silent"),
        ("garbled", "rank-died", "cannot read what rank 0 sent: OSError: found 0 file descriptors"),
    ],
)
def test_compute_that_fails_ends_its_call_and_the_worker_goes_on(own, mischief, code, said):
    with own.client() as client, own.client() as other:
        mine = other.result(other.call("session.open", SESSION))[0]["session"]
        number = client.call("attend", attend(seed=MISCHIEF[mischief]))
        behind = other.call("attend", attend())
        error = client.end(number)
        assert error["code"] == code and said in error["message"], error
        assert other.result(behind)
        lost = other.end(other.call("session.prefill", prefill(mine)))
        assert lost["code"] == "unknown-session" and "lost when" in lost["message"]
        assert other.health()["sessions"] == 0
        again = other.result(other.call("session.open", SESSION))[0]["session"]
        assert again != mine and other.result(other.call("session.prefill", prefill(again)))


def test_compute_killed_mid_run_and_when_idle(own):
    with own.client() as client:
        number = client.call("attend", lasting(30))
        client.expect("progress", number)
        os.kill(own.said["ranks"][0], signal.SIGKILL)
        error = client.end(number)
        assert (error["code"], error["details"]) == ("rank-died", {"rank": 0}) and "SIGKILL" in error["message"]
        assert client.result(client.call("attend", attend()))


def test_compute_killed_when_idle(own):
    with own.client() as client:
        os.kill(own.said["ranks"][0], signal.SIGKILL)
        assert gone(own.said["ranks"])
        time.sleep(0.2)
        assert client.result(client.call("attend", attend()))


def test_a_rank_of_several_dies():
    with Worker("--processes", "3") as own, own.client() as client:
        assert own.said["facts"]["processes"] == 3
        number = client.call("attend", lasting(30))
        client.expect("progress", number)
        os.kill(own.said["ranks"][2], signal.SIGKILL)
        error = client.end(number)
        assert (error["code"], error["details"]) == ("rank-died", {"rank": 2})
        assert gone(own.said["ranks"])
        assert client.result(client.call("attend", attend()))
        own.process.kill()


def test_compute_that_cannot_be_started_again_ends_the_worker(tmp_path):
    flag = tmp_path / "flag"
    with Worker(env={"FAKE_FAILS_IF": str(flag)}) as own, own.client() as client:
        flag.touch()
        number = client.call("attend", attend(seed=MISCHIEF["crash"]))
        assert client.end(number)["code"] == "rank-died"
        assert client.closed() == (1001, "shutting-down")
        assert own.process.wait(30) == 1
        assert "cannot be started: RuntimeError: no CUDA device" in own.log()


def test_compute_that_does_not_hear_cancel_is_killed():
    with Worker("--limit", "kill-seconds=0.5") as own, own.client() as client:
        number = client.call("attend", lasting(60, seed=MISCHIEF["deaf"]))
        client.expect("progress", number)
        begun = time.monotonic()
        client.send({"type": "cancel", "id": number})
        assert client.end(number)["code"] == "cancelled"
        assert time.monotonic() - begun < 1.5
        assert client.result(client.call("attend", attend()))
        assert gone(own.said["ranks"], 1)


def test_a_session_whose_cancelled_step_came_through_is_given_up(own):
    with own.client() as client:
        session = client.result(client.call("session.open", SESSION))[0]["session"]
        number = client.call("session.prefill", prefill(session, seed=MISCHIEF["deaf"]))
        client.expect("queued", number)
        client.send({"type": "cancel", "id": number})
        assert client.end(number)["code"] == "cancelled"
        error = client.end(client.call("session.prefill", prefill(session)))
        assert error["code"] == "unknown-session" and "too late" in error["message"]


@pytest.mark.parametrize(
    ("mischief", "said"),
    [
        ("raise", "ZeroDivisionError"),
        ("nan", "not JSON compliant"),
        ("nan value", "not JSON compliant"),
        ("unlike", "TypeError"),
    ],
)
def test_what_a_call_raises_is_its_failure_alone(own, mischief, said):
    """No restart, and all sessions survive."""
    with own.client() as client, own.client() as other:
        mine = other.result(other.call("session.open", SESSION))[0]["session"]
        error = client.end(client.call("attend", attend(seed=MISCHIEF[mischief])))
        assert error["code"] == "worker-failed" and said in error["message"], error
        assert other.result(other.call("session.prefill", prefill(mine)))
        assert client.result(client.call("attend", attend()))
        assert not gone(own.said["ranks"], 0)


@pytest.mark.parametrize(
    "field",
    [
        '"scale":1e999',
        '"scale":1e308',
        '"rates":{"flops":1e308,"bandwidth":1e-300}',
        '"link":{"bandwidth":1e9,"latency":1e999}',
        '"link":{"bandwidth":5e-324,"latency":0}',
    ],
)
def test_numbers_beyond_all_bounds_are_refused_and_nothing_is_lost(own, field):
    with own.client() as client, own.client() as other:
        mine = other.result(other.call("session.open", SESSION))[0]["session"]
        text = write_message({"type": "call", "id": 1, "method": "attend", "params": attend(variant="auto")})
        client.socket.send(text.replace('"seed"', f'{field},"seed"'))
        client.number = 1
        error = client.end(1)
        assert error["code"] == "bad-message" and error["message"].startswith("params."), error
        assert client.result(client.call("attend", attend()))
        assert other.result(other.call("session.prefill", prefill(mine)))


# The worker's end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_orderly_end(own, number):
    with own.client() as client, own.client() as idle:
        running = client.call("attend", lasting(60))
        client.expect("progress", running)
        waiting = client.call("attend", attend())
        begun = time.monotonic()
        own.process.send_signal(number)
        assert {client.end(running)["code"], client.end(waiting)["code"]} == {"shutting-down"}
        assert client.closed() == (1001, "shutting-down")
        assert idle.closed() == (1001, "shutting-down")
        assert own.process.wait(30) == 0 and "Traceback" not in own.log()
        assert time.monotonic() - begun < 20
        assert gone(own.said["ranks"])


def test_the_second_signal_ends_at_once():
    with Worker("--processes", "2") as own, own.client() as client:
        number = client.call("attend", lasting(60, seed=MISCHIEF["deaf"]))
        client.expect("progress", number)
        own.process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        own.process.send_signal(signal.SIGINT)
        assert own.process.wait(10) in (130, 0)
        assert gone(own.said["ranks"])


def test_no_orphans_when_the_worker_is_killed():
    with Worker("--processes", "3") as own:
        assert len(own.said["ranks"]) == 3 and all(alive(pid) for pid in own.said["ranks"])
        own.process.kill()
        own.process.wait()
        assert gone(own.said["ranks"], 5)
