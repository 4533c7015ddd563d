"""Calls from message to result: values, tensors both ways, and what the server refuses."""

from itertools import pairwise

import numpy
import pytest
from fake_compute import MISCHIEF, attention
from harness import Worker, attend, close_to, seeded_qkv
from ringside_worker.wire import write_frame


def expected_attend(q, k, v, new=8, cached=4, dim=16):
    return attention(q, k, v, True, dim**-0.5)


# Results and tensors


def test_seeded_in_full_out(client):
    value, tensors = client.result(client.call("attend", attend()))
    out, lse = expected_attend(*seeded_qkv())
    assert value == {"variant": "pass-kv"}
    close_to(tensors["out"], out)
    close_to(tensors["lse"], lse)
    kinds = [message["type"] for message in client.heard]
    assert kinds.index("queued") < kinds.index("spans") < kinds.index("result")
    assert [message["place"] for message in client.heard if message["type"] == "queued"] == [0]


def test_sampled_rows_and_none(client):
    _, tensors = client.result(client.call("attend", attend(output="rows", rows=[[7, 3], [0, 0]])))
    out, lse = expected_attend(*seeded_qkv())
    close_to(tensors["out"], out[[7, 0], [3, 0]])
    close_to(tensors["lse"], lse[[7, 0], [3, 0]])
    assert client.result(client.call("attend", attend(output="none"))) == ({"variant": "pass-kv"}, {})
    _, tensors = client.result(client.call("attend", attend(output="rows", rows=[])))
    assert tensors["out"].shape == (0, 16)


@pytest.mark.parametrize("dtype", [numpy.float32, numpy.float16])
def test_own_tensors_in_many_frames(client, dtype):
    new, cached, heads, dim = 96, 32, 8, 128
    rng = numpy.random.default_rng(1)
    q, k, v = (
        rng.standard_normal((rows, count, dim)).astype(dtype)
        for rows, count in ((new, heads), (new + cached, 4), (new + cached, 4))
    )
    described = {name: client.tensor(array) for name, array in (("q", q), ("k", k), ("v", v))}
    number = client.call(
        "attend",
        attend(
            seed=None,
            tensors=described,
            sequences=[{"new": new, "cached": cached}],
            heads=heads,
            kvHeads=4,
            headDim=dim,
        ),
    )
    for name, array in (("q", q), ("k", k), ("v", v)):
        client.upload(described[name], array)
    _, tensors = client.result(number)
    out, lse = attention(*(array.astype(numpy.float64) for array in (q, k, v)), True, dim**-0.5)
    close_to(tensors["out"], out)
    close_to(tensors["lse"], lse)
    acks = [
        message
        for message in client.heard
        if message["type"] == "ack" and message["stream"] == described["q"]["stream"]
    ]
    assert acks[-1]["received"] == q.nbytes
    received = [0, *(message["received"] for message in acks)]
    assert (
        max(b - a for a, b in pairwise(received))
        <= client.welcome["limits"]["window"] // 4 + client.welcome["limits"]["frameBytes"]
    )


def test_tensors_of_no_bytes(client):
    empty = numpy.zeros((0, 4, 16), numpy.float32)
    keys = numpy.zeros((0, 2, 16), numpy.float32)
    described = {"q": client.tensor(empty), "k": client.tensor(keys), "v": client.tensor(keys)}
    _, tensors = client.result(
        client.call("attend", attend(seed=None, tensors=described, sequences=[{"new": 0, "cached": 0}]))
    )
    assert tensors["out"].shape == (0, 4, 16) and tensors["lse"].shape == (0, 4)


def test_what_the_engine_refuses(client):
    error = client.end(client.call("attend", attend(seed=MISCHIEF["refuse"])))
    assert (error["code"], error["details"]) == ("does-not-fit", {"need": 9, "have": 3, "fits": "1 token"})


# What the server refuses


def test_a_call_that_the_schema_refuses_leaves_the_connection(client):
    error = client.end(client.call("attend", attend(heads=0)))
    assert (error["code"], error["message"]) == ("bad-message", "params.heads: found 0, expected at least 1")
    assert client.result(client.call("attend", attend()))


def test_a_tensor_whose_bytes_are_not_its_shape(client):
    q = client.tensor(numpy.zeros((8, 4, 16), numpy.float32))
    k = client.tensor(numpy.zeros((12, 2, 16), numpy.float32))
    error = client.end(
        client.call("attend", attend(seed=None, tensors={"q": q | {"bytes": 4}, "k": k, "v": k | {"stream": 99}}))
    )
    assert (error["code"], error["message"]) == (
        "bad-input",
        "params.tensors.q.bytes: found 4, expected 2048 for f32 of shape [8, 4, 16]",
    )


def test_stream_numbers_must_grow(client):
    q = {"stream": 5, "dtype": "f32", "shape": [1], "bytes": 4}
    error = client.end(client.call("attend", attend(seed=None, tensors={"q": q, "k": q, "v": q | {"stream": 6}})))
    assert error["code"] == "bad-input" and "found streams 5, 5, 6" in error["message"]
    error = client.end(
        client.call("attend", attend(seed=None, tensors={"q": q, "k": q | {"stream": 7}, "v": q | {"stream": 8}}))
    )
    assert error["code"] == "bad-input" and "greater than 6" in error["message"]


def test_too_large_in_and_out(client):
    big = {"stream": 1, "dtype": "f32", "shape": [1 << 20, 4, 16], "bytes": 1 << 28}
    error = client.end(
        client.call("attend", attend(seed=None, tensors={"q": big, "k": big | {"stream": 2}, "v": big | {"stream": 3}}))
    )
    assert error["code"] == "too-large" and str(3 << 28) in error["message"] and "4194304" in error["message"]
    error = client.end(client.call("attend", attend(sequences=[{"new": 1 << 20, "cached": 0}])))
    assert error["code"] == "too-large" and "ask for rows" in error["message"]
    wide = {"sequences": [{"new": 10_000, "cached": 0}], "headDim": 16, "valueDim": 576}
    error = client.end(client.call("attend", attend(**wide)))
    assert error["code"] == "too-large" and str(4 * 10_000 * 4 * 577) in error["message"]
    error = client.end(client.call("attend", attend(output="rows", rows=[[1 << 21, 0]], seed=MISCHIEF["large"])))
    assert error["code"] == "too-large"
    assert client.end(client.call("attend", attend(output="rows")))["code"] == "bad-input"


def test_frames_of_a_refused_call_are_dropped(client):
    array = numpy.zeros((8, 4, 16), numpy.float32)
    q, k, v = client.tensor(array), client.tensor(array), client.tensor(array)
    number = client.call("attend", attend(seed=None, heads=0, tensors={"q": q, "k": k, "v": v}))
    for tensor in (q, k, v):
        client.upload(tensor, array)
    assert client.end(number)["code"] == "bad-message"
    assert client.health()


@pytest.mark.parametrize(
    "message",
    [
        {"type": "cancel"},
        {"type": "ack", "stream": 7, "received": 1},
        {"type": "call", "id": 0, "method": "health", "params": {}},
        {"type": "x"},
        [],
    ],
    ids=repr,
)
def test_messages_that_end_a_connection(worker, client, message):
    with worker.client() as bad:
        bad.send(message)
        assert bad.closed() == (4400, "bad-message")


def test_a_call_number_used_twice_ends_the_connection(worker, client):
    with worker.client() as bad:
        bad.health()
        bad.send({"type": "call", "id": 1, "method": "health", "params": {}})
        assert bad.closed() == (4400, "bad-message")


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"RSB1",
        write_frame(1, 0, b""),
        write_frame(1, 0, b"x"),
        write_frame(2**32 - 1, 2**64 - 1, b"x"),
        b"x" * 60000,
    ],
    ids=len,
)
def test_frames_that_end_a_connection(worker, client, frame):
    with worker.client() as bad:
        bad.socket.send(frame)
        assert bad.closed() == (4400, "bad-frame")


def test_frames_out_of_order_or_beyond(worker, client):
    tensor = {"dtype": "f32", "shape": [4], "bytes": 16}
    for frames in (
        [(1, 8, b"12345678")],
        [(1, 0, b"1234"), (1, 0, b"1234")],
        [(1, 0, b"12345678" * 2), (1, 16, b"1")],
        [(1, 0, b"x" * 17)],
    ):
        with worker.client() as bad:
            bad.call(
                "attend",
                attend(seed=None, tensors={name: tensor | {"stream": stream} for stream, name in enumerate("qkv", 1)}),
            )
            for frame in frames:
                bad.socket.send(write_frame(*frame))
            assert bad.closed() == (4400, "bad-frame")


def test_oversize_messages(worker, client):
    for data in (b"\0" * 65537, "x" * 65537):
        with worker.client() as bad:
            bad.socket.send(data)
            assert bad.closed()[0] == 1009


def test_long_text_ends_a_connection():
    with Worker() as other, other.client() as bad:
        bad.socket.send('{"type":"ack","x":"' + "x" * (300 << 10) + '"}')
        assert bad.closed() == (4400, "too-large")
