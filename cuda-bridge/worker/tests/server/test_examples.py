"""The protocol's recorded examples: the worker judges each as recorded. The client's tests read the same files."""

import json

import pytest
from harness import EXAMPLES
from ringside_worker.wire import SCHEMA, BadFrame, BadMessage, Inbound, Streams, read_message

MESSAGES = [
    pytest.param(side, example, id=f"{side}: {example['name']}")
    for side in ("client", "server")
    for example in json.loads((EXAMPLES / f"{side}-messages.json").read_text())["examples"]
]
FRAMES = json.loads((EXAMPLES / "frames.json").read_text())


@pytest.mark.parametrize(("side", "example"), MESSAGES)
def test_message(side, example):
    text = example["text"] if "text" in example else json.dumps(example["message"])
    if example["verdict"] == "good":
        assert read_message(text, f"{side}Message") == example["message"]
        return
    with pytest.raises(BadMessage) as refused:
        read_message(text, f"{side}Message")
    assert refused.value.field == example["field"]
    assert "found" in str(refused.value) and "expected" in str(refused.value) and len(str(refused.value)) < 400


class Endless:
    """A buffer that accepts bytes anywhere, for tensors too large to allocate."""

    def __setitem__(self, where, data):
        self.last = bytes(data)


@pytest.mark.parametrize("example", FRAMES["examples"], ids=lambda example: example["name"])
def test_frame(example):
    streams = Streams(FRAMES["frameBytes"], 1 << 20)
    for stream, state in FRAMES["streams"].items():
        streams.named([int(stream)])
        if not state.get("ended"):
            inbound = streams.open[int(stream)] = Inbound(int(stream), state["bytes"], Endless())
            inbound.received = state["received"]
    frame = bytes.fromhex(example["hex"])
    if example["verdict"] == "bad":
        with pytest.raises(BadFrame, match="found"):
            streams.take(frame)
    elif example["verdict"] == "dropped":
        assert streams.take(frame) is None
    else:
        inbound = streams.take(frame)
        assert inbound.stream == example["stream"]
        assert inbound.received == example["offset"] + len(example["payload"]) // 2
        assert inbound.buffer.last == bytes.fromhex(example["payload"])


def test_both_verdicts_are_there():
    verdicts = [example["verdict"] for _, example in (param.values for param in MESSAGES)]
    assert verdicts.count("good") > 20 and verdicts.count("bad") > 40


def numbers(part, path=""):
    """Every number of the schema, with its path."""
    if isinstance(part, dict) and part.get("type") in ("number", "integer"):
        yield path, part
    for key, value in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else []:
        yield from numbers(value, f"{path}/{key}")


def test_every_number_is_bounded():
    """An unbounded number becomes an infinity somewhere later: 1e999 is JSON."""
    found = list(numbers(SCHEMA["$defs"]))
    assert len(found) > 60
    for path, number in found:
        lowest = number.get("minimum", number.get("exclusiveMinimum"))
        assert lowest is not None and abs(lowest) < 1e38 and abs(number.get("maximum", float("inf"))) <= 1e39, path
