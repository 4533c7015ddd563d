"""Sessions: their steps, whose they are, how many there may be; and two connections at once."""

import threading

import numpy
from fake_compute import attention
from harness import SESSION, Worker, attend, close_to, prefill, seeded_qkv, until


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
    # The engine has closed them too: it has only this one.
    assert client.result(client.call("session.close", {"session": value["session"]}))[0]["left"] == 0


def test_sessions_are_bounded():
    with Worker("--limit", "sessions=2") as other, other.client() as client:
        numbers = [client.call("session.open", SESSION) for _ in range(3)]
        assert client.end(numbers[2])["code"] == "too-many-sessions"
        until(lambda: client.health()["state"] == "ready")
        assert client.result(client.call("session.close", {"session": 1}))
        assert client.result(client.call("session.open", SESSION))[0]["session"] == 3


def test_two_connections_at_once(worker, client):
    """Each gets its own numbers, whatever the other computes."""
    failures = []

    def converse(seed):
        try:
            with worker.client() as mine:
                out, _ = attention(*seeded_qkv(seed), True, 0.25)
                for _ in range(10):
                    close_to(mine.result(mine.call("attend", attend(seed=seed)))[1]["out"], out)
        except BaseException as error:  # noqa: BLE001 - an assertion in a thread has to reach the test
            failures.append(error)

    threads = [threading.Thread(target=converse, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
