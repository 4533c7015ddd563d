"""Whatever arrives, the worker answers or closes in bounded time, within the schema, and goes on serving others."""

import json
import socket
import struct

import pytest
from harness import EXAMPLES, Client, Worker
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_client import raw
from ringside_worker.wire import write_frame
from websockets.exceptions import ConnectionClosed

GOOD = [
    example["message"]
    for example in json.loads((EXAMPLES / "client-messages.json").read_text())["examples"]
    if example["verdict"] == "good"
]
#: A slow answer is no failure.
FUZZ = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=True,
    database=None,
)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def fuzzed():
    with (
        Worker(
            "--limit",
            "connections=2",
            "--limit",
            "frame-bytes=4096",
            "--limit",
            "window=4096",
            "--limit",
            "tensor-bytes=65536",
            "--limit",
            "run-seconds=20",
        ) as worker,
        worker.client() as witness,
    ):
        yield worker, witness
        assert "Traceback" not in worker.log(), worker.log()


def answers(fuzzed, payloads):
    """Sends everything, then asks for health if the connection is still open. The witness asks in any case."""
    worker, witness = fuzzed
    while True:
        try:
            fuzzer = worker.client()
            break
        except ConnectionClosed:
            # The previous connection isn't quite gone.
            continue
    with fuzzer:
        try:
            for payload in payloads:
                fuzzer.socket.send(payload)
            fuzzer.number = 2**31 - 2
            fuzzer.call("health", {})
            end = fuzzer.end(fuzzer.number)
            assert end["type"] == "result"
        except ConnectionClosed as closed:
            assert closed.rcvd is not None and closed.rcvd.code in (4400, 1009), closed
    assert witness.health()["state"] in ("ready", "running")


@FUZZ
@given(st.lists(json_values.map(json.dumps) | st.text(max_size=200), min_size=1, max_size=5))
def test_any_text(fuzzed, texts):
    answers(fuzzed, [text.encode("utf-8", "replace").decode() for text in texts])


def changed(message, data):
    """A good message with one to three places replaced, added or removed."""
    copy = json.loads(json.dumps(message))
    places = []

    def walk(value):
        for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []:
            places.append((value, key))
            walk(value[key])

    walk(copy)
    for holder, key in data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=3)):
        match data.draw(st.sampled_from(["replace", "remove", "add"])):
            case "replace" if isinstance(holder, dict) or key < len(holder):
                holder[key] = data.draw(json_values)
            case "remove" if isinstance(holder, dict):
                holder.pop(key, None)
            case "add" if isinstance(holder, dict):
                holder[data.draw(st.text(max_size=10))] = data.draw(json_values)
    return copy


@FUZZ
@given(st.data())
def test_good_messages_changed(fuzzed, data):
    answers(
        fuzzed,
        [json.dumps(changed(data.draw(st.sampled_from(GOOD)), data)) for _ in range(data.draw(st.integers(1, 4)))],
    )


@FUZZ
@given(st.data())
def test_any_frames_into_an_upload(fuzzed, data):
    size = data.draw(st.integers(0, 5000)) * 4
    tensors = {
        name: {"stream": stream, "dtype": "f32", "shape": [size // 4], "bytes": size}
        for stream, name in enumerate("qkv", 1)
    }
    call = {
        "type": "call",
        "id": 1,
        "method": "attend",
        "params": next(
            message for message in GOOD if message.get("method") == "attend" and "tensors" in message["params"]
        )["params"]
        | {"tensors": tensors},
    }
    near = st.builds(
        lambda stream, offset, payload: write_frame(stream, offset, payload),
        st.integers(0, 5),
        st.sampled_from([0, 4, 16, 4000, size, 2**32, 2**64 - 1]),
        st.binary(max_size=300),
    )
    headed = st.binary(max_size=40).map(lambda tail: b"RSB1" + tail)
    frames = data.draw(st.lists(near | headed | st.binary(max_size=5000), max_size=6))
    answers(
        fuzzed,
        [json.dumps(call), *frames, *([json.dumps({"type": "cancel", "id": 1})] if data.draw(st.booleans()) else [])],
    )


@FUZZ
@given(
    st.binary(max_size=2000)
    | st.builds(
        lambda head, body: b"GET / HTTP/1.1\r\n" + head + b"\r\n\r\n" + body,
        st.binary(max_size=200),
        st.binary(max_size=200),
    )
)
def test_any_bytes_on_the_socket(fuzzed, data):
    worker, witness = fuzzed
    host, port = worker.address.removeprefix("ws://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
        except ConnectionError:
            pass
    assert witness.health()["state"] in ("ready", "running")


@FUZZ
@given(st.binary(max_size=3000))
def test_any_bytes_after_the_upgrade(fuzzed, data):
    """After a good hello, broken WebSocket frames."""
    worker, witness = fuzzed
    connection = raw(worker)
    connection.settimeout(10)
    try:
        connection.sendall(data)
        connection.shutdown(1)
        while connection.recv(4096):
            pass
    except ConnectionError:
        pass
    connection.close()
    assert witness.health()["state"] in ("ready", "running")


def test_deep_and_odd_json(fuzzed):
    worker, _ = fuzzed
    for text in (
        "[" * 3000,
        "[" * 1000 + "]" * 1000,
        '{"a":' * 600,
        '{"type":"call","id":' + "9" * 3000 + "}",
        '{"type":1e999}',
        "\u2028",
        '"\\ud800"',
        '{"type":"\\ud800"}',
        struct.pack(">d", 1.0).decode("latin-1"),
    ):
        with Client(worker.address, worker.token) as client:
            client.socket.send(text)
            assert client.closed() == (4400, "bad-message")
