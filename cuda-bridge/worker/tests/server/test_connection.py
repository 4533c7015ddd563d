"""Who gets in, and what the worker answers those who don't."""

import os
import socket
import threading
import time
from pathlib import Path

import numpy
import pytest
from harness import Client, Worker, attend
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import connect

HELLO = {"type": "hello", "protocol": 1, "client": "a test"}


def test_hello_and_welcome(worker, client):
    assert client.socket.subprotocol == "ringside-1"
    assert client.welcome["facts"] == worker.said["facts"]
    assert client.welcome["limits"] == {
        "frameBytes": 65536,
        "tensorBytes": 4194304,
        "runSeconds": 600,
        "queue": 4,
        "connections": 4,
        "window": 131072,
        "sessions": 16,
    }


def first_answer(worker, *messages):
    with worker.client() as usual, Client(worker.address, None) as refused:
        for message in messages:
            refused.send(message) if isinstance(message, dict) else refused.socket.send(message)
        answer = refused.closed()
        assert usual.health()
    return answer


def test_a_wrong_token(worker):
    for token in ("", "x", worker.token[:-1], worker.token + "x", worker.token.swapcase(), "\ud800"):
        assert first_answer(worker, HELLO | {"token": token}) == (4401, "bad-token")
    assert worker.token not in worker.log()


def test_another_version(worker):
    assert first_answer(worker, HELLO | {"token": worker.token, "protocol": 2}) == (4406, "bad-version")


def test_a_wrong_token_and_version_tells_of_the_token_alone(worker):
    assert first_answer(worker, HELLO | {"token": "x", "protocol": 2}) == (4401, "bad-token")


@pytest.mark.parametrize(
    "first", [{"type": "cancel", "id": 1}, {"type": "hello"}, "hello", "{}", b"RSB1", b""], ids=repr
)
def test_anything_but_hello_first(worker, first):
    assert first_answer(worker, first) == (4400, "bad-hello")


def test_a_second_hello_ends_the_connection(worker):
    with worker.client() as again:
        again.send(HELLO | {"token": worker.token})
        assert again.closed() == (4400, "bad-message")


def test_a_refused_hello_does_not_repeat_the_token(worker):
    with Client(worker.address, None) as refused:
        refused.send(HELLO | {"token": "s3cret" * 60})
        assert "s3cret" not in refused.receive()["message"]


@pytest.mark.parametrize(
    "origin",
    [
        "https://example.org",
        "http://localhost.example.org",
        "http://example.org:8787",
        "null",
        "file://",
        "http://127.0.0.1.example.org",
        "http://[",
        "javascript://localhost",
    ],
)
def test_a_page_of_another_origin(worker, origin):
    with pytest.raises(InvalidStatus) as refused, connect(worker.address, origin=origin, subprotocols=["ringside-1"]):
        pass
    assert refused.value.response.status_code == 403
    assert b"--origin" in refused.value.response.body


@pytest.mark.parametrize(
    "origin", ["http://localhost:5173", "http://127.0.0.1:8000", "https://localhost", "http://[::1]:5173"]
)
def test_a_page_of_this_machine(worker, origin):
    with worker.client(origin=origin) as page:
        assert page.health()["state"] == "ready"


def test_two_origin_headers(worker):
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(worker.address, additional_headers=[("Origin", "http://localhost"), ("Origin", "http://localhost")]),
    ):
        pass
    assert refused.value.response.status_code == 403


def test_a_named_origin_and_a_token_of_ones_own():
    with Worker("--origin", "https://example.org", env={"RINGSIDE_TOKEN": "0123456789abcdef"}) as other:
        assert "token" not in other.said
        with Client(other.address, "0123456789abcdef", origin="https://example.org") as page:
            assert page.health()["state"] == "ready"
        assert "0123456789abcdef" not in other.log()


def test_a_token_in_the_address_is_refused_and_not_logged(worker):
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(f"{worker.address}/?token={worker.token}", subprotocols=["ringside-1"]),
    ):
        pass
    assert refused.value.response.status_code == 404
    assert worker.token not in worker.log()


def test_too_many_connections(worker):
    clients = [worker.client() for _ in range(4)]
    with Client(worker.address, None) as fifth:
        fifth.send(HELLO | {"token": worker.token})
        assert fifth.closed() == (4429, "too-many-connections")
    for client in clients:
        client.close()
    end = time.monotonic() + 10
    while True:
        try:
            with worker.client() as again:
                assert again.health()
            break
        except (ConnectionClosed, AssertionError):
            assert time.monotonic() < end
            time.sleep(0.05)


def raw_socket(worker):
    host, port = worker.address.removeprefix("ws://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def ended(connection):
    """Waits until the worker has closed it; whether it has."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True
    finally:
        connection.close()


def test_no_hello_in_time_and_many_that_say_nothing():
    with Worker("--limit", "hello-seconds=1", "--limit", "connections=1") as other:
        raw = [raw_socket(other) for _ in range(20)]
        silent = [Client(other.address, None) for _ in range(10)]
        begun = time.monotonic()
        assert silent[0].closed() == (4401, "bad-hello")
        assert all(ended(connection) for connection in raw)
        assert time.monotonic() - begun < 15
        for connection in silent:
            connection.close()
        with other.client() as usual:
            assert usual.result(usual.call("attend", attend()))


@pytest.mark.parametrize(
    ("pending", "strangers", "clients"), [(64, 40, 30), (8, 20, 3)], ids=["fewer than may wait", "more than may wait"]
)
def test_strangers_who_reopen_sockets_keep_nobody_out(pending, strangers, clients):
    """Threads open one socket after another, half of them with an upgrade. Meanwhile clients come, and all get in."""
    with Worker("--limit", f"pending={pending}") as other:
        over, opened = threading.Event(), []

        def hold(n):
            while not over.is_set():
                try:
                    if n % 2:
                        with raw_socket(other) as connection:
                            opened.append(n)
                            connection.settimeout(0.3)
                            connection.recv(1)
                    else:
                        with connect(
                            other.address, subprotocols=["ringside-1"], open_timeout=5, close_timeout=0
                        ) as connection:
                            opened.append(n)
                            connection.recv(0.3)
                except (OSError, EOFError, WebSocketException):
                    pass  # The worker may close it at any moment.

        threads = [threading.Thread(target=hold, args=(n,)) for n in range(strangers)]
        for thread in threads:
            thread.start()
        try:
            while len(opened) < strangers:
                time.sleep(0.01)
            for _ in range(clients):
                with other.client(open_timeout=20) as client:
                    assert client.health()["state"] == "ready"
        finally:
            over.set()
            for thread in threads:
                thread.join()
        assert other.log().count("have not sent hello") == (1 if strangers > pending else 0)


def test_the_oldest_of_the_strangers_gives_way():
    with Worker("--limit", "pending=4", "--limit", "hello-seconds=60") as other, other.client() as client:
        raw = [raw_socket(other) for _ in range(10)]
        assert all(ended(connection) for connection in raw[:6])
        for connection in raw[6:]:
            connection.settimeout(0.3)
            with pytest.raises(TimeoutError):
                connection.recv(1)
        assert client.result(client.call("attend", attend()))


def test_descriptors_do_not_run_out():
    """The worker may have few descriptors. Many sockets open, and calls with tensors still work."""
    with Worker(files=256) as other, other.client() as client:
        raw = []
        for _ in range(300):
            raw.append(socket.socket())
            raw[-1].setblocking(False)
            raw[-1].connect_ex(("127.0.0.1", int(other.address.rpartition(":")[2])))
        for _ in range(3):
            array = numpy.ones((8, 2, 16), numpy.float32)
            described = {name: client.tensor(array) for name in "qkv"}
            number = client.call(
                "attend", attend(seed=None, tensors=described, heads=2, sequences=[{"new": 8, "cached": 0}])
            )
            for tensor in described.values():
                client.upload(tensor, array)
            assert client.result(number)[1]["out"].shape == (8, 2, 16)
        assert 64 < len(os.listdir(f"/proc/{other.process.pid}/fd")) < 128
        with other.client(open_timeout=30) as usual:
            assert usual.result(usual.call("attend", attend()))
        for connection in raw:
            connection.close()


def test_the_limit_of_open_files_is_raised_or_the_worker_says_that_it_is_too_low():
    with Worker(files=1000) as other:
        allowed = next(
            row
            for row in Path(f"/proc/{other.process.pid}/limits").read_text().splitlines()
            if row.startswith("Max open files")
        )
        assert allowed.split()[3:5] == ["1000", "1000"]
    with pytest.raises(
        AssertionError, match="open files: found at most 100 allowed, expected [0-9]+: raise the limit .ulimit -n"
    ):
        Worker(files=100)


@pytest.mark.parametrize("offered", [None, ["chat"], ["ringside-2", "chat"]])
def test_a_client_without_the_subprotocol(worker, offered):
    with pytest.raises(InvalidStatus) as refused, connect(worker.address, subprotocols=offered):
        pass
    assert refused.value.response.status_code == 400
    assert b"expected ringside-1" in refused.value.response.body


def test_the_subprotocol_among_others(worker):
    with Client(worker.address, worker.token, subprotocols=["chat", "ringside-1"]) as client:
        assert client.socket.subprotocol == "ringside-1"


def test_idle_connections_are_closed():
    with Worker("--limit", "idle-seconds=1") as other, other.client() as idle:
        begun = time.monotonic()
        assert idle.closed() == (4408, "time-limit")
        assert time.monotonic() - begun > 0.9
