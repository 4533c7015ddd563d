"""The worker under torchrun, as the README starts it."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from harness import PATIENCE, WORKER, Client, attend, gone, readme_commands
from real_engine import BIG, check, inputs


def start_torchrun(command, ranks, more=(), env=None, **changes):
    """Starts a README command for torchrun, with this many ranks instead of GPUs."""
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
    """Two ranks on this host, as on a machine with two GPUs."""
    [command] = readme_commands("--standalone")
    process = start_torchrun(command, 2)
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        kill_all(process)


def test_torchrun_on_two_hosts():
    """Both hosts are this one, with one process each."""
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
    """torchrun's process of this rank, found by its environment."""
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
    """With either kind of store: the second attempt must not read what the first one left there."""
    token, changes = "0123456789abcdef", {"HOST0": "127.0.0.1", "29500": str(free_port()), "--nnodes": "--nnodes"}
    command = readme_commands(where)[0]
    if where == "--node-rank":
        command[command.index("--nnodes") + 1] = "1"
    process = start_torchrun(command, 2, ["--max-restarts", "2"], {"RINGSIDE_TOKEN": token}, **changes)
    try:
        for _ in range(2):
            said = json.loads(process.stdout.readline())
            # Ranks that don't serve have no use for the token.
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
        # If torchrun is killed, nothing stays behind.
        pids = [said["pid"], *said["ranks"], rank_of(process, 1)]
        process.kill()
        assert gone(pids)
    finally:
        kill_all(process)


def test_torchrun_with_compute_that_dies(torchrun):
    """Nobody can join its other ranks again: the call ends, the worker says so and ends, and torchrun ends the rest."""
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
