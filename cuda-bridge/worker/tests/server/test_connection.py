"""Who gets in, and what a worker says to those who do not."""

import socket
import time

import pytest
from harness import Client, Worker, attend
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

HELLO = {"type": "hello", "protocol": 1, "client": "a test"}


def test_hello_and_welcome(worker, client):
    assert client.socket.subprotocol == "ringside-1"
    assert client.welcome["facts"] == worker.said["facts"]
    assert client.welcome["limits"] == {"frameBytes": 65536, "tensorBytes": 4194304, "runSeconds": 600, "queue": 4, "connections": 4, "window": 131072, "sessions": 16}


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


@pytest.mark.parametrize("first", [{"type": "cancel", "id": 1}, {"type": "hello"}, "hello", "{}", b"RSB1", b""], ids=repr)
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


@pytest.mark.parametrize("origin", ["https://example.org", "http://localhost.example.org", "http://example.org:8787", "null", "file://", "http://127.0.0.1.example.org", "http://[", "javascript://localhost"])
def test_a_page_of_another_origin(worker, origin):
    with pytest.raises(InvalidStatus) as refused, connect(worker.address, origin=origin, subprotocols=["ringside-1"]):
        pass
    assert refused.value.response.status_code == 403
    assert b"--origin" in refused.value.response.body


@pytest.mark.parametrize("origin", ["http://localhost:5173", "http://127.0.0.1:8000", "https://localhost", "http://[::1]:5173"])
def test_a_page_of_this_machine(worker, origin):
    with worker.client(origin=origin) as page:
        assert page.health()["state"] == "ready"


def test_two_origin_headers(worker):
    with pytest.raises(InvalidStatus) as refused, connect(worker.address, additional_headers=[("Origin", "http://localhost"), ("Origin", "http://localhost")]):
        pass
    assert refused.value.response.status_code == 403


def test_a_named_origin_and_a_token_of_ones_own():
    with Worker("--origin", "https://example.org", env={"RINGSIDE_TOKEN": "0123456789abcdef"}) as other:
        assert "token" not in other.said
        with Client(other.address, "0123456789abcdef", origin="https://example.org") as page:
            assert page.health()["state"] == "ready"
        assert "0123456789abcdef" not in other.log()


def test_a_token_in_the_address_is_refused_and_not_logged(worker):
    with pytest.raises(InvalidStatus) as refused, connect(f"{worker.address}/?token={worker.token}", subprotocols=["ringside-1"]):
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


def test_no_hello_in_time_and_many_that_say_nothing():
    with Worker("--limit", "hello-seconds=1", "--limit", "connections=1") as other:
        host, port = other.address.removeprefix("ws://").split(":")
        raw = [socket.create_connection((host, int(port))) for _ in range(20)]
        silent = [Client(other.address, None) for _ in range(10)]
        begun = time.monotonic()
        with Client(other.address, None) as beyond:
            assert beyond.closed() == (4429, "too-many-connections")
        assert silent[0].closed() == (4401, "bad-hello")
        for connection in raw:
            connection.settimeout(20)
            assert connection.recv(1) == b""
            connection.close()
        assert time.monotonic() - begun < 15
        for connection in silent:
            connection.close()
        with other.client() as usual:
            assert usual.result(usual.call("attend", attend()))


def test_idle_connections_are_closed():
    with Worker("--limit", "idle-seconds=1") as other, other.client() as idle:
        begun = time.monotonic()
        assert idle.closed() == (4408, "time-limit")
        assert time.monotonic() - begun > 0.9
