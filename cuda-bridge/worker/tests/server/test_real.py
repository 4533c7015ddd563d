"""The server with the real engine: one process, and several over gloo."""

import os
import signal
import time
from pathlib import Path

import numpy
import pytest
from harness import SESSION, Worker, alive, attend, gone, prefill
from real_engine import BIG, check, inputs


@pytest.fixture(scope="module", params=[1, 4], ids=["one process", "four over gloo"])
def real(request):
    with Worker("--processes", str(request.param), "--device", "cpu", fake=False) as worker:
        worker.processes = request.param
        yield worker
        assert worker.process.poll() is None, worker.log()


@pytest.mark.parametrize("variant", ["pass-kv", "pass-q"])
def test_attend_against_float64(real, variant):
    with real.client() as client:
        value, tensors = client.result(
            client.call("attend", attend(variant=variant, ranks=4, sequences=[{"new": 61, "cached": 20}]))
        )
        check(tensors, *inputs(61, 81))
        assert (value["variant"], value["ranks"], value["processes"], value["simulated"]) == (
            variant,
            4,
            real.processes,
            real.processes == 1,
        )
        ranks = {span["rank"] for message in client.heard if message["type"] == "spans" for span in message["spans"]}
        assert ranks == {0, 1, 2, 3}


def test_own_bf16_tensors(real):
    """Seeded values are exact in bf16, whose bytes are the upper half of those of f32."""
    q, k, v = inputs(40, 40)
    with real.client() as client:
        described, halves = {}, {}
        for name, array in (("q", q), ("k", k), ("v", v)):
            halves[name] = (array.astype(numpy.float32).view(numpy.uint32) >> 16).astype(numpy.uint16)
            described[name] = client.tensor(halves[name]) | {"dtype": "bf16"}
        number = client.call(
            "attend", attend(seed=None, tensors=described, ranks=4, sequences=[{"new": 40, "cached": 0}], dtype="bf16")
        )
        for name, half in halves.items():
            client.upload(described[name], half)
        _, tensors = client.result(number)
        check(tensors, q, k, v, 2e-2)


def test_a_session(real):
    with real.client() as client:
        session = client.result(client.call("session.open", SESSION | {"ranks": 4}))[0]["session"]
        parts = [
            client.result(client.call(method, prefill(session, new)))[1]
            for method, new in (("session.prefill", 24), ("session.prefill", 7), ("session.decode", 1))
        ]
        check({name: numpy.concatenate([part[name] for part in parts]) for name in ("out", "lse")}, *inputs(32, 32))
        error = client.end(client.call("session.prefill", prefill(session, 4000)))
        assert error["code"] == "does-not-fit", error
        assert client.result(client.call("session.evict", {"session": session, "sequence": 0}))
        assert client.result(client.call("session.close", {"session": session}))


def test_layer(real):
    model = {"dModel": 128, "heads": 16, "kvHeads": 8, "headDim": 16, "ffn": 256, "layers": 2}
    with real.client() as client:
        value, tensors = client.result(
            client.call(
                "layer", {"tokens": 512, "ranks": 4, "variant": "pass-kv", "dtype": "f32", "tp": 8, "model": model}
            )
        )
        assert value and tensors == {}
        assert any(message["type"] == "spans" for message in client.heard)


def test_more_ranks_than_processes(real):
    with real.client() as client:
        end = client.end(client.call("attend", attend(ranks=5, output="none")))
        assert (
            end["type"] == "result"
            if real.processes == 1
            else (end["code"], end["details"]) == ("bad-input", {"ranks": 5, "processes": 4})
        ), end


def test_cancel_within_a_second_and_no_harm_done(real):
    with real.client() as client:
        number = client.call("attend", attend(**BIG, ranks=4))
        client.expect("queued", number)
        time.sleep(1)
        begun = time.monotonic()
        client.send({"type": "cancel", "id": number})
        assert client.end(number)["code"] == "cancelled"
        # A second on a quiet machine; the server answers after 0.8 s even when the engine does not.
        assert time.monotonic() - begun < 3
        _, tensors = client.result(client.call("attend", attend(ranks=4)))
        check(tensors, *inputs(8, 12))
        assert not gone(real.said["ranks"], 0), real.log()


MANY = {"sequences": [{"new": 8, "cached": 8}] * 1024, "heads": 1, "kvHeads": 1, "headDim": 16, "output": "none"}


@pytest.mark.parametrize("variant", ["pass-kv", "pass-q"])
def test_preparation_is_cancelled_like_work(real, variant):
    """
    A million pairs of ranks and sequences: dealing them takes seconds, listing their calls minutes.

    No session is lost.
    """
    with real.client() as client, real.client() as other:
        mine = other.result(other.call("session.open", SESSION | {"ranks": 4}))[0]["session"]
        for seconds in (0.3, 2, 6):
            number = client.call(
                "attend", attend(**MANY, ranks=1024 if real.processes == 1 else real.processes, variant=variant)
            )
            client.expect("queued", number)
            time.sleep(seconds)
            client.send({"type": "cancel", "id": number})
            end = client.end(number)
            assert end["type"] == "result" or end["code"] == "cancelled", end
            begun = time.monotonic()
            _, tensors = client.result(client.call("attend", attend(ranks=4)))
            check(tensors, *inputs(8, 12))
            # The processes would be killed 15.8 s after a cancel. A quiet machine takes half a second.
            assert time.monotonic() - begun < 14
        assert other.result(other.call("session.prefill", prefill(mine)))
        assert not gone(real.said["ranks"], 0), real.log()


def test_numbers_that_overflow_are_no_result(real):
    """Numbers within f32 whose scores are not. The session that they were sent to stays as it was."""
    with real.client() as client:
        session = client.result(client.call("session.open", SESSION | {"ranks": 4}))[0]["session"]
        client.result(client.call("session.prefill", prefill(session)))
        large = [numpy.full((8, heads, 16), 3e38, numpy.float32) for heads in (4, 2, 2)]
        for method, params in (
            ("attend", attend(seed=None, ranks=4, sequences=[{"new": 8, "cached": 0}])),
            ("session.prefill", prefill(session)),
        ):
            described = {name: client.tensor(array) for name, array in zip("qkv", large)}
            number = client.call(
                method, {key: value for key, value in params.items() if key != "seed"} | {"tensors": described}
            )
            for name, array in zip("qkv", large):
                client.upload(described[name], array)
            error = client.end(number)
            assert error["code"] == "bad-input" and "not finite" in error["message"], error
        value, _ = client.result(client.call("session.prefill", prefill(session)))
        assert value["step"] == 1 and value["batch"][0]["cached"] == 8


def test_a_rank_killed_mid_run(real):
    with real.client() as client:
        pids = real.said["ranks"]
        assert not gone(pids, 0), "the engine was killed before"
        number = client.call("attend", attend(**BIG, ranks=4))
        client.expect("queued", number)
        time.sleep(0.5)
        os.kill(pids[-1], signal.SIGKILL)
        error = client.end(number)
        assert (error["code"], error.get("details")) == ("rank-died", {"rank": len(pids) - 1}), real.log()
        _, tensors = client.result(client.call("attend", attend(ranks=4)))
        check(tensors, *inputs(8, 12))
        assert gone(pids)


def listening(pids):
    """Addresses, in hexadecimal, on which these processes take TCP connections."""
    sockets = set()
    for pid in pids:
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            try:
                sockets.add(os.readlink(fd))
            except OSError:
                pass
    rows = [row.split() for name in ("tcp", "tcp6") for row in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets]


def test_nothing_listens_beyond_this_machine(real):
    """Neither the server, nor torch's store, nor gloo."""
    found = listening([real.process.pid, *children_of(real.process.pid)])
    assert found and all(address.startswith("0100007F:") for address in found), found


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_a_stopped_rank_is_named_and_the_worker_goes_on(rank):
    """Stopped during a run, and while nothing runs. For rank 0 only during a run: else only run-seconds finds it."""
    with (
        Worker("--processes", "3", "--device", "cpu", "--timeout", "4", fake=False) as worker,
        worker.client() as client,
    ):
        for idle in (False, True)[: 1 if rank == 0 else 2]:
            _, tensors = client.result(client.call("attend", attend(ranks=3)))
            check(tensors, *inputs(8, 12))
            pids = children_of(worker.process.pid)
            assert len(pids) == 3
            if idle:
                os.kill(pids[rank], signal.SIGSTOP)
            number = client.call("attend", attend(**BIG, ranks=3))
            client.expect("queued", number)
            if not idle:
                client.expect("spans", number)
                os.kill(pids[rank], signal.SIGSTOP)
            error = client.end(number)
            assert (
                error["code"] == "rank-died"
                and error["details"]["rank"] == rank
                and f"rank {rank} is " in error["message"]
            ), (
                error,
                worker.log(),
            )
            assert idle or rank == 0 or error["details"]["hop"] in range(3)
        assert client.result(client.call("attend", attend(ranks=3)))


def children_of(pid):
    """The children, by rank."""
    found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return sorted(child for child in found if alive(child))
