"""Calls from message to result: values, tensors both ways, the line, cancels, limits, sessions and whose they are."""

import threading
import time

import numpy
import pytest
from fake_compute import MISCHIEF, attention, seeded
from harness import SESSION, Worker, attend, lasting, prefill
from ringside_worker.wire import write_frame


def expected_attend(q, k, v, new=8, cached=4, dim=16):
    return attention(q, k, v, True, dim**-0.5)


def seeded_qkv(seed=1, first=0, new=8, keys=12, heads=4, kv_heads=2, dim=16):
    return (
        seeded(seed, 0, first, new, heads, dim),
        seeded(seed, 1, first, keys, kv_heads, dim),
        seeded(seed, 2, first, keys, kv_heads, dim),
    )


def close_to(found, expected):
    numpy.testing.assert_allclose(found, expected, atol=1e-6, rtol=1e-6)


# ---- results and tensors
# --------------------------------------------------------------------------------------------------------------


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
        max(b - a for a, b in zip(received, received[1:]))
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


# ---- what the server refuses
# ----------------------------------------------------------------------------------------------------------


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


# ---- the line
# -------------------------------------------------------------------------------------------------------------------------


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
    for name, tensor in tensors.items():
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


# ---- cancels and limits of time
# -------------------------------------------------------------------------------------------------------


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
    # Nothing was acknowledged: only the cancel lets the next call of this connection run.
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


# ---- sessions
# -------------------------------------------------------------------------------------------------------------------------


def test_a_session_of_prefill_and_decode_is_one_full_prefill(client):
    session = client.result(client.call("session.open", SESSION))[0]["session"]
    _, first = client.result(client.call("session.prefill", prefill(session, 8)))
    _, second = client.result(client.call("session.prefill", prefill(session, 3)))
    _, third = client.result(client.call("session.decode", prefill(session, 1)))
    out, lse = attention(*seeded_qkv(new=12), True, 0.25)
    close_to(numpy.concatenate([first["out"], second["out"], third["out"]]), out)
    close_to(numpy.concatenate([first["lse"], second["lse"], third["lse"]]), lse)
    assert client.result(client.call("session.evict", {"session": session, "sequence": 0}))
    assert client.result(client.call("session.close", {"session": session}))
    assert client.end(client.call("session.prefill", prefill(session)))["code"] == "unknown-session"


def test_a_session_belongs_to_its_connection(worker, client):
    session = client.result(client.call("session.open", SESSION))[0]["session"]
    with worker.client() as other:
        for method, params in (
            ("session.prefill", prefill(session)),
            ("session.close", {"session": session}),
            ("session.evict", {"session": session, "sequence": 0}),
        ):
            error = other.end(other.call(method, params))
            assert error["code"] == "unknown-session"
            assert error["message"] == f"params.session: found {session}, which is no session of this connection"
    assert client.result(client.call("session.prefill", prefill(session)))
    assert client.result(client.call("session.close", {"session": session}))


def test_sessions_are_closed_with_their_connection(worker, client):
    with worker.client() as other:
        for _ in range(3):
            other.result(other.call("session.open", SESSION))
        assert client.health()["sessions"] == 3
    until(lambda: client.health()["sessions"] == 0)
    value, _ = client.result(client.call("session.open", SESSION))
    # The engine too has closed them: this is the only one that it has.
    assert client.result(client.call("session.close", {"session": value["session"]}))[0]["left"] == 0


def test_sessions_are_bounded():
    with Worker("--limit", "sessions=2") as other, other.client() as client:
        numbers = [client.call("session.open", SESSION) for _ in range(3)]
        assert client.end(numbers[2])["code"] == "too-many-sessions"
        until(lambda: client.health()["state"] == "ready")
        assert client.result(client.call("session.close", {"session": 1}))
        assert client.result(client.call("session.open", SESSION))[0]["session"] == 3


def test_two_connections_at_once(worker, client):
    """Each gets its own numbers, whoever else computes."""
    failures = []

    def converse(seed):
        try:
            with worker.client() as mine:
                out, _ = attention(*seeded_qkv(seed), True, 0.25)
                for _ in range(10):
                    close_to(mine.result(mine.call("attend", attend(seed=seed)))[1]["out"], out)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=converse, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def until(true, seconds=20):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)
