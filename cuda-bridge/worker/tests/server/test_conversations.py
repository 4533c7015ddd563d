"""
The protocol's recorded conversations: the worker answers what the client sends exactly as recorded.

The client's tests play the server's part. Run as a program, this file records the conversations again: it keeps the
client's events and replaces the server's.
"""

import json
import sys
from pathlib import Path

import numpy
import pytest

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]
from harness import EXAMPLES, Client, Worker
from websockets.exceptions import ConnectionClosed

FILE = EXAMPLES / "conversations.json"
RECORDED = json.loads(FILE.read_text())
TOKEN = "example-token-of-no-worker"


def start():
    return Worker("--limit", "frame-bytes=1024", "--limit", "window=4096", env={"RINGSIDE_TOKEN": TOKEN})


def say(client, event):
    if "frame" in event:
        client.socket.send(bytes.fromhex(event["frame"]))
    else:
        client.send(event["message"])


def hear(client, timeout=30.0):
    """The server's next event."""
    try:
        data = client.receive(timeout)
    except ConnectionClosed as closed:
        return {"from": "server", "close": closed.rcvd.code}
    return {"from": "server"} | ({"frame": data.hex()} if isinstance(data, bytes) else {"message": data})


@pytest.fixture(scope="module")
def example_worker():
    with start() as worker:
        yield worker


@pytest.mark.parametrize("conversation", RECORDED["conversations"], ids=lambda conversation: conversation["name"])
def test_conversation(example_worker, conversation):
    with Client(example_worker.address, None) as client:
        for event in conversation["events"]:
            if event["from"] == "client":
                say(client, event)
            elif "frame" in event:
                heard, expected = (bytes.fromhex(each["frame"]) for each in (hear(client), event))
                assert heard[:16] == expected[:16]
                # The last bit depends on the processor and its library.
                numpy.testing.assert_allclose(
                    *(numpy.frombuffer(frame[16:], dtype="<f4") for frame in (heard, expected)), rtol=1e-6, atol=1e-6
                )
            else:
                assert hear(client) == event


def record():
    with start() as worker:
        for conversation in RECORDED["conversations"]:
            events = []
            with Client(worker.address, None) as client:
                for event in [event for event in conversation["events"] if event["from"] == "client"] + [None]:
                    if event is not None:
                        say(client, event)
                        events.append(event)
                    try:
                        while not (events and "close" in events[-1]):
                            events.append(hear(client, 0.7))
                    except TimeoutError:
                        pass
            conversation["events"] = events
    lines = ",\n".join(
        f'    {{\n      "name": {json.dumps(conversation["name"])},\n      "events": [\n'
        + ",\n".join(f"        {json.dumps(event)}" for event in conversation["events"])
        + "\n      ]\n    }"
        for conversation in RECORDED["conversations"]
    )
    FILE.write_text(f'{{\n  "about": {json.dumps(RECORDED["about"])},\n  "conversations": [\n{lines}\n  ]\n}}\n')


if __name__ == "__main__":
    record()
