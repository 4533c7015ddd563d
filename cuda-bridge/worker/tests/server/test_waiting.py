"""Calls that wait their turn, are cancelled, or take too long."""

import time

import numpy
from harness import Worker, attend, lasting
from ringside_worker.wire import write_frame

# The queue


def test_one_at_a_time_and_each_hears_its_place(worker, client):
    with worker.client() as second, worker.client() as third:
        first = client.call("attend", lasting(30))
        client.expect("queued", first)
        waiting = [(second, second.call("attend", lasting(0.1)))]
        assert second.expect("queued", 1)["place"] == 1
        waiting.append((third, third.call("attend", lasting(0.1))))
        assert third.expect("queued", 1)["place"] == 2
        seconds = second.health()
        assert seconds == {
            "state": "running",
            "waiting": 2,
            "connections": 3,
            "sessions": 0,
            "seconds": seconds["seconds"],
        }
        client.send({"type": "cancel", "id": first})
        assert client.end(first)["code"] == "cancelled"
        for connection, number in waiting:
            assert connection.result(number)
    assert [message["place"] for message in second.heard if message["type"] == "queued"] == [1, 0]
    assert [message["place"] for message in third.heard if message["type"] == "queued"] == [2, 1, 0]


def test_calls_of_a_connection_keep_their_order(client):
    numbers = [client.call("attend", attend(output="none")) for _ in range(4)]
    ends = [client.end(number)["id"] for number in numbers]
    assert ends == numbers


def test_a_full_queue(client):
    numbers = [client.call("attend", lasting(30)) for _ in range(6)]
    assert client.end(numbers[5])["code"] == "queue-full"
    for number in numbers[:5]:
        client.send({"type": "cancel", "id": number})
        assert client.end(number)["code"] == "cancelled"
    assert client.health()["waiting"] == 0


def test_a_slow_upload_holds_up_its_own_connection_alone(worker, client):
    tensors = {
        name: {
            "stream": stream,
            "dtype": "f32",
            "shape": [8, 4, 16] if name == "q" else [12, 2, 16],
            "bytes": 2048 if name == "q" else 1536,
        }
        for stream, name in enumerate("qkv", 1)
    }
    slow = client.call("attend", attend(seed=None, tensors=tensors))
    behind = client.call("attend", attend(output="none"))
    with worker.client() as other:
        assert other.result(other.call("attend", attend()))
    for tensor in tensors.values():
        client.upload(tensor, numpy.zeros(tensor["shape"], numpy.float32))
    assert client.result(slow)[1] and client.end(behind)["type"] == "result"


def test_tensors_that_wait_are_bounded_together(worker, client):
    half = {"dtype": "f32", "shape": [250_000], "bytes": 1_000_000}
    tensors = {name: half | {"stream": stream} for stream, name in enumerate("qkv", 1)}
    first = client.call("attend", attend(seed=None, tensors=tensors))
    assert client.health()["waiting"] == 1
    with worker.client() as other:
        error = other.end(other.call("attend", attend(seed=None, tensors=tensors)))
        assert error["code"] == "queue-full" and "3000000 bytes of tensors waiting" in error["message"]
        client.send({"type": "cancel", "id": first})
        assert client.end(first)["code"] == "cancelled"
        second = other.call(
            "attend",
            attend(
                seed=None,
                tensors={name: tensor | {"stream": tensor["stream"] + 10} for name, tensor in tensors.items()},
            ),
        )
        assert other.health()["waiting"] == 1
        other.send({"type": "cancel", "id": second})
        assert other.end(second)["code"] == "cancelled"


# Cancels and time limits


def test_cancel_of_a_run(client):
    number = client.call("attend", lasting(30))
    client.expect("progress", number)
    begun = time.monotonic()
    client.send({"type": "cancel", "id": number})
    assert client.end(number)["code"] == "cancelled"
    assert time.monotonic() - begun < 1
    assert client.result(client.call("attend", attend()))


def test_cancel_of_what_has_ended_or_never_was(client):
    number = client.call("attend", attend(output="none"))
    client.end(number)
    for cancelled in (number, 12345):
        client.send({"type": "cancel", "id": cancelled})
    assert client.health()


def test_cancel_of_an_upload(client):
    tensors = {
        name: {"stream": stream, "dtype": "f32", "shape": [1000], "bytes": 4000} for stream, name in enumerate("qkv", 1)
    }
    number = client.call("attend", attend(seed=None, tensors=tensors))
    client.socket.send(write_frame(1, 0, b"\0" * 1000))
    client.send({"type": "cancel", "id": number})
    client.socket.send(write_frame(1, 1000, b"\0" * 1000))
    assert client.end(number)["code"] == "cancelled"
    assert client.health()["waiting"] == 0


def test_cancel_stops_the_frames_of_a_result(client):
    number = client.call("attend", attend(sequences=[{"new": 512, "cached": 0}], heads=1, kvHeads=1, headDim=256))
    assert client.end(number)["type"] == "result"
    client.send({"type": "cancel", "id": number})
    # We acknowledged nothing: only the cancel lets the next call of this connection run.
    assert client.result(client.call("attend", attend()))


def test_the_limit_of_a_run():
    with Worker("--limit", "run-seconds=0.5") as other, other.client() as client:
        begun = time.monotonic()
        error = client.end(client.call("attend", lasting(30)))
        assert error["code"] == "time-limit" and "0.5 s" in error["message"]
        assert time.monotonic() - begun < 5
        assert client.result(client.call("attend", attend()))


def test_an_upload_that_stops():
    with Worker("--limit", "stall-seconds=0.5") as other, other.client() as client:
        tensors = {
            name: {"stream": stream, "dtype": "f32", "shape": [1000], "bytes": 4000}
            for stream, name in enumerate("qkv", 1)
        }
        assert client.end(client.call("attend", attend(seed=None, tensors=tensors)))["code"] == "time-limit"
        assert client.result(client.call("attend", attend()))
