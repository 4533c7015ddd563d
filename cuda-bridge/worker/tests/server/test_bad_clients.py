"""Clients that vanish, don't read, or acknowledge too much: the worker survives, and its memory stays bounded."""

import os
import socket

import pytest
from fake_compute import MISCHIEF
from harness import Worker, attend, lasting, until
from raw_client import framed, raw, reset, send_raw
from ringside_worker.wire import write_frame, write_message
from websockets.exceptions import ConnectionClosed


@pytest.mark.parametrize("end", [reset, socket.socket.close], ids=["reset", "closed"])
def test_a_socket_dropped_mid_frame(worker, client, end):
    tensors = {
        name: {"stream": stream, "dtype": "f32", "shape": [10000], "bytes": 40000}
        for stream, name in enumerate("qkv", 1)
    }
    for cut in (1, 3, 10, 20, 5000):
        connection = raw(worker)
        send_raw(
            connection,
            write_message(
                {"type": "call", "id": 1, "method": "attend", "params": attend(seed=None, tensors=tensors)}
            ).encode(),
            1,
        )
        connection.sendall(framed(write_frame(1, 0, b"x" * 30000), 2)[:cut])
        end(connection)
    until(lambda: client.health() == client.health() | {"connections": 1, "waiting": 0})
    assert client.result(client.call("attend", attend()))


def test_a_client_that_vanishes_mid_run_frees_the_machine(worker, client):
    connection = raw(worker)
    send_raw(
        connection, write_message({"type": "call", "id": 1, "method": "attend", "params": lasting(60)}).encode(), 1
    )
    until(lambda: client.health()["state"] == "running")
    reset(connection)
    until(lambda: client.health()["state"] == "ready")
    assert client.result(client.call("attend", attend()))


def memory(pid):
    """Memory of a process in bytes, shared memory included."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_slow_reader_keeps_memory_bounded_and_others_served():
    """1.5 million spans, about 200 MB of text, for a client that reads none."""
    with Worker("--limit", "stall-seconds=2") as own, own.client() as other:
        connection = raw(own)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        before = memory(own.process.pid)
        send_raw(
            connection,
            write_message(
                {"type": "call", "id": 1, "method": "attend", "params": attend(seed=MISCHIEF["spans"])}
            ).encode(),
            1,
        )
        most = 0
        until(lambda: other.health()["connections"] == 2)
        while other.health()["connections"] == 2:
            most = max(most, memory(own.process.pid))
        assert most - before < 64 << 20
        connection.close()
        assert other.result(other.call("attend", attend()))


def test_a_reader_that_acknowledges_nothing():
    """The worker sends one window of a tensor and no more, then gives up on the client."""
    with (
        Worker("--limit", "frame-bytes=65536", "--limit", "window=131072", "--limit", "stall-seconds=1") as own,
        own.client() as client,
    ):
        number = client.call("attend", attend(sequences=[{"new": 512, "cached": 0}], heads=1, kvHeads=1, headDim=256))
        assert client.end(number)["type"] == "result"
        payload = 0
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                message = client.receive()
                if isinstance(message, bytes):
                    payload += len(message) - 16
        assert closed.value.rcvd.code == 4408
        # out is longer than a window; lse, a stream of its own, is not.
        assert payload == 131072 + 512 * 4
        with own.client() as again:
            assert again.result(again.call("attend", attend()))


def test_acknowledging_what_was_not_sent(worker, client):
    with worker.client() as bad:
        number = bad.call("attend", attend())
        end = bad.end(number)
        bad.send(
            {"type": "ack", "stream": end["tensors"]["out"]["stream"], "received": end["tensors"]["out"]["bytes"] + 1}
        )
        assert bad.closed() == (4400, "bad-message")
