"""What may go wrong under the server: compute processes that die or hang, clients that vanish or do not read, and the worker's own end."""

import os
import signal
import socket
import struct
import time

import pytest
from fake_compute import MISCHIEF
from harness import SESSION, Worker, alive, attend, gone, lasting, prefill
from ringside_worker.wire import write_frame, write_message
from websockets.exceptions import ConnectionClosed


@pytest.fixture
def own():
    """A worker that a test may hurt."""
    with Worker("--limit", "frame-bytes=65536", "--limit", "window=131072") as started:
        yield started


def ready(client):
    end = time.monotonic() + 30
    while client.health()["state"] != "ready":
        assert time.monotonic() < end
        time.sleep(0.02)


# ---- compute
# --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mischief", "code", "said"),
    [
        ("crash", "rank-died", "rank 0 ended with status 3"),
        ("segfault", "rank-died", "SIGSEGV"),
        ("lost", "rank-died", "rank 1 is silent"),
        ("garbled", "rank-died", "could not be taken in: OSError: found 0 file descriptors"),
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
    """No restart, and everybody's sessions go on."""
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


# ---- clients
# --------------------------------------------------------------------------------------------------------------------------


def raw(worker):
    """A client without a library: a TCP socket after upgrade and hello, and what masks and sends a message on it."""
    host, port = worker.address.removeprefix("ws://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    connection.sendall(
        f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: ringside-1\r\n\r\n".encode()
    )
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += connection.recv(1)
    assert answer.startswith(b"HTTP/1.1 101")
    send_raw(
        connection, write_message({"type": "hello", "protocol": 1, "token": worker.token, "client": "raw"}).encode(), 1
    )
    return connection


def framed(data, opcode):
    """A WebSocket frame, masked with zeros."""
    size = (
        struct.pack(">BB", 0x80 | opcode, 0x80 | len(data))
        if len(data) < 126
        else struct.pack(">BBH", 0x80 | opcode, 0x80 | 126, len(data))
        if len(data) < 65536
        else struct.pack(">BBQ", 0x80 | opcode, 0x80 | 127, len(data))
    )
    return size + bytes(4) + data


def send_raw(connection, data, opcode):
    connection.sendall(framed(data, opcode))


def reset(connection):
    """Ends a TCP connection without a word."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


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
    """Bytes of a process, shared ones too."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_slow_reader_keeps_memory_bounded_and_others_served():
    """1.5 million spans go to a client that reads none: about 200 MB of text."""
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
    """The worker sends one window of a tensor and no more, then gives the client up."""
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


# ---- the worker's end
# -----------------------------------------------------------------------------------------------------------------


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


def until(true, seconds=30):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)
