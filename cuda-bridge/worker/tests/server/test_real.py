"""The server with the real engine: one process, several over gloo, and torchrun's."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy
import pytest
from fake_compute import attention, seeded
from harness import PATIENCE, SESSION, WORKER, Client, Worker, alive, attend, gone, prefill, readme_commands

BIG = {
    "sequences": [{"new": 32768, "cached": 0}],
    "heads": 8,
    "kvHeads": 2,
    "headDim": 128,
    "output": "none",
    "dtype": "f32",
}


@pytest.fixture(scope="module", params=[1, 4], ids=["one process", "four over gloo"])
def real(request):
    with Worker("--processes", str(request.param), "--device", "cpu", fake=False) as worker:
        worker.processes = request.param
        yield worker
        assert worker.process.poll() is None, worker.log()


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
    """Values of the seeded tensors are exact in bf16: its upper half of f32's bytes."""
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
    """A million pairs of ranks and sequences: dealing them takes seconds, listing their calls minutes. Nobody's session is lost by it."""
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
            assert (
                time.monotonic() - begun < 14
            )  # 15.8 s after a cancel the processes are killed: a quiet machine takes half a second
        assert other.result(other.call("session.prefill", prefill(mine)))
        assert not gone(real.said["ranks"], 0), real.log()


def test_numbers_that_overflow_are_no_result(real):
    """Own numbers within f32 whose scores are not; the session that they were meant for stays as it was."""
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
    """In a run; and, but for rank 0, whom then only run-seconds finds, while nothing runs."""
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
    """By rank, as they were started."""
    found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return sorted(child for child in found if alive(child))


# ---- torchrun
# -------------------------------------------------------------------------------------------------------------------------


def start_torchrun(command, ranks, more=(), env=None, **changes):
    """A command of the README for torchrun, with so many ranks here in place of GPUs."""
    assert command[0] == "torchrun" and command[-2:] == ["-m", "ringside_worker"]
    words = [changes.get(word, word) for word in command[1:]]
    words[words.index("--nproc-per-node") + 1] = str(ranks)
    env = (
        {name: value for name, value in os.environ.items() if name != "RINGSIDE_TOKEN"}
        | {"OMP_NUM_THREADS": "1"}
        | (env or {})
    )
    arguments = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        *more,
        *words,
        "--listen",
        "127.0.0.1:0",
        "--device",
        "cpu",
        "--json",
    ]
    return subprocess.Popen(
        arguments,
        cwd=WORKER,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def kill_all(process):
    process.stdout.close()
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


@pytest.fixture
def torchrun():
    """Two ranks on this host, as on a machine of two GPUs."""
    [command] = readme_commands("--standalone")
    process = start_torchrun(command, 2)
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        kill_all(process)


def test_torchrun_on_two_hosts():
    """Both on this one, a process each."""
    port = str(free_port())
    hosts = [
        start_torchrun(command, 1, HOST0="127.0.0.1", **{"29500": port}) for command in readme_commands("--node-rank")
    ]
    try:
        said = json.loads(hosts[0].stdout.readline())
        with Client(said["address"], said["token"]) as client:
            _, tensors = client.result(client.call("attend", attend(ranks=2, variant="pass-q")))
            check(tensors, *inputs(8, 12))
        hosts[0].terminate()
        for host in hosts:
            host.wait(PATIENCE)
        assert hosts[1].stdout.read() == ""
    finally:
        for host in hosts:
            kill_all(host)


def test_torchrun(torchrun):
    process, said = torchrun
    assert (said["facts"]["processes"], said["facts"]["backend"]) == (2, "gloo")
    with Client(said["address"], said["token"]) as client:
        value, tensors = client.result(client.call("attend", attend(ranks=2)))
        check(tensors, *inputs(8, 12))
        assert value["processes"] == 2
    process.terminate()
    process.wait(PATIENCE)
    assert gone([said["pid"], *said["ranks"]])


def rank_of(process, rank):
    """The process of a rank of torchrun's, by its environment."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = folder.joinpath("stat").read_text().rpartition(")")[2].split()[1]
            if parent == str(process.pid) and f"RANK={rank}" in folder.joinpath("environ").read_text().split("\0"):
                return int(folder.name)
        except OSError:
            pass
    raise AssertionError(f"no process of rank {rank}")


@pytest.mark.parametrize("where", ["--standalone", "--node-rank"])
def test_torchrun_restarts_the_worker(where):
    """Whatever store torchrun keeps: the second attempt must not read what the first one left there."""
    token, changes = "0123456789abcdef", {"HOST0": "127.0.0.1", "29500": str(free_port()), "--nnodes": "--nnodes"}
    command = readme_commands(where)[0]
    if where == "--node-rank":
        command[command.index("--nnodes") + 1] = "1"
    process = start_torchrun(command, 2, ["--max-restarts", "2"], {"RINGSIDE_TOKEN": token}, **changes)
    try:
        for _ in range(2):
            said = json.loads(process.stdout.readline())
            # Ranks that do not serve have no use for the token.
            assert token not in Path(f"/proc/{rank_of(process, 1)}/environ").read_text() and "token" not in said
            with Client(said["address"], token) as client:
                _, tensors = client.result(client.call("attend", attend(ranks=2)))
                check(tensors, *inputs(8, 12))
                number = client.call("attend", attend(**BIG, ranks=2))
                client.expect("queued", number)
                os.kill(rank_of(process, 1), signal.SIGKILL)
                assert client.end(number)["code"] == "rank-died"
        said = json.loads(process.stdout.readline())
        with Client(said["address"], token) as client:
            assert client.result(client.call("attend", attend(ranks=2)))
        # torchrun killed without a word leaves nothing behind.
        pids = [said["pid"], *said["ranks"], rank_of(process, 1)]
        process.kill()
        assert gone(pids)
    finally:
        kill_all(process)


def test_torchrun_with_compute_that_dies(torchrun):
    """Its other ranks cannot be joined again: the call ends, the worker says so and ends, and torchrun ends the rest."""
    process, said = torchrun
    with Client(said["address"], said["token"]) as client:
        number = client.call("attend", attend(**BIG, ranks=2))
        client.expect("queued", number)
        os.kill(said["ranks"][0], signal.SIGKILL)
        # As torchrun does when the other rank ended first.
        os.kill(said["pid"], signal.SIGTERM)
        assert client.end(number)["code"] == "rank-died"
        assert client.closed() == (1001, "shutting-down")
    assert process.wait(PATIENCE) != 0
    assert gone([said["pid"]])
