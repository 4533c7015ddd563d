"""
The messages and frames of the bridge's protocol: reads, checks and writes them. No socket here.

protocol/messages.schema.json says what a message may hold.
"""

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path

from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError

PROTOCOL = 1
SUBPROTOCOL = "ringside-1"
#: In the checkout this file is a link to the one in protocol/; an installed package has a copy.
SCHEMA = json.loads(Path(__file__).with_name("messages.schema.json").read_text("utf-8"))
BYTES_OF = {"f32": 4, "f16": 2, "bf16": 2}
HEAD = struct.Struct("<4sIQ")
MAGIC = b"RSB1"
#: Characters of a value that an error quotes.
QUOTED = 80


class BadMessage(Exception):
    """A message that the schema refuses. `field`: path of the fault ("" for the whole). `id`: the call's, or None."""

    def __init__(self, field: str, why: str, message: object = None):
        super().__init__(f"{field or 'the message'}: {why}")
        self.field = field
        whole = message if isinstance(message, dict) else {}
        self.id = (
            whole.get("id")
            if whole.get("type") == "call" and _is_integer(None, whole.get("id")) and 1 <= whole["id"] < 2**31
            else None
        )
        self.streams = list(_streams_named(whole)) if self.id is not None else []


class BadFrame(Exception):
    """A binary frame that breaks the protocol: the connection cannot go on."""


# Messages


def _is_integer(_checker: object, value: object) -> bool:
    """1.0 isn't an integer here, because Python would keep it as a float."""
    return isinstance(value, int) and not isinstance(value, bool)


def _items_if_few(
    validator: Draft202012Validator, items: object, instance: object, schema: dict
) -> Iterator[ValidationError]:
    """Skips the items of a list that is too long: checking a megabyte would block the event loop for seconds."""
    if not (isinstance(instance, list) and len(instance) > schema.get("maxItems", math.inf)):
        yield from Draft202012Validator.VALIDATORS["items"](validator, items, instance, schema)


_Validator = validators.extend(
    Draft202012Validator,
    {"items": _items_if_few},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)


def _validator(schema: dict) -> Draft202012Validator:
    return _Validator({**schema, "$defs": SCHEMA["$defs"]})


def _types(side: str) -> list[str]:
    return [option["$ref"].rsplit("/", 1)[1] for option in SCHEMA["$defs"][side]["oneOf"]]


_CALLS = {option["properties"]["method"]["const"]: _validator(option) for option in SCHEMA["$defs"]["call"]["oneOf"]}
_BY_TYPE = {
    name: _validator({"$ref": f"#/$defs/{name}"})
    for side in ("clientMessage", "serverMessage")
    for name in _types(side)
    if name != "call"
}
_FACTS = _validator({"$ref": "#/$defs/facts"})
_LIMITS = _validator({"$ref": "#/$defs/limits"})


def read_message(text: str, side: str = "clientMessage") -> dict:
    """The message in a text frame. Raises BadMessage, which names field, found and expected."""
    try:
        message = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError, MemoryError) as error:
        raise BadMessage("", f"found no JSON ({_cut(str(error))}), expected a JSON object") from None
    check_message(message, side)
    return message


def check_message(message: object, side: str) -> None:
    """Checks a message against the schema of its type, and a call against that of its method. Raises BadMessage."""
    if not isinstance(message, dict):
        raise BadMessage("", f"found {_found(message)}, expected a JSON object")
    kind, known = message.get("type"), _types(side)
    if not isinstance(kind, str) or kind not in known:
        raise BadMessage("type", f"found {_found(kind)}, expected one of {', '.join(known)}")
    if kind != "call":
        return _check(message, _BY_TYPE[kind])
    method = message.get("method")
    if not isinstance(method, str) or method not in _CALLS:
        raise BadMessage("method", f"found {_found(method)}, expected one of {', '.join(_CALLS)}", message)
    _check(message, _CALLS[method])


def check_facts(facts: object) -> None:
    """Checks the machine's facts before they go into a welcome."""
    _check(facts, _FACTS)


def check_limits(limits: object) -> None:
    """Checks the worker's limits before they go into a welcome."""
    _check(limits, _LIMITS)


def write_message(message: dict) -> str:
    """The text of a message: ASCII, so that it can quote anything. Raises ValueError for a number that JSON lacks."""
    return json.dumps(message, allow_nan=False, separators=(",", ":"))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _check(message: object, validator: Draft202012Validator) -> None:
    worst = min(
        validator.iter_errors(message),
        key=lambda error: (len(error.absolute_path), error.validator in ("oneOf", "not")),
        default=None,
    )
    if worst is not None:
        raise BadMessage(*_explain(worst), message)


def _explain(error: ValidationError) -> tuple[str, str]:
    """The field of a schema error, and the sentence that says what was found and expected there."""
    path, found, limit = list(error.absolute_path), error.instance, error.validator_value
    secret = path[-1:] == ["token"]
    match error.validator:
        case "required":
            path.append(next(name for name in limit if name not in found))
            return _path(path), "found nothing, expected a value"
        case "additionalProperties" if limit is False:
            known = error.schema.get("properties", {})
            path.append(next(name for name in found if name not in known))
            return _path(path), f"found an unknown field, expected {'one of ' + ', '.join(known) if known else 'none'}"
        case "oneOf" if isinstance(found, dict):
            names = [name for option in limit for name in option.get("required", [])]
            present = " and ".join(name for name in names if name in found) or "none"
            return _path(path), f"found {present}, expected exactly one of {', '.join(names)}"
        case "const":
            expected = json.dumps(limit)
        case "enum":
            expected = f"one of {', '.join(map(str, limit))}"
        case "type":
            expected = f"a value of type {limit}"
        case "minimum":
            expected = f"at least {limit}"
        case "maximum":
            expected = f"at most {limit}"
        case "exclusiveMinimum":
            expected = f"more than {limit}"
        case "minItems":
            expected = f"at least {limit} items"
        case "maxItems" | "items":
            expected = f"at most {error.schema['maxItems']} items"
        case "maxLength":
            expected = f"at most {limit} characters"
        case "maxProperties":
            expected = f"at most {limit} fields"
        case other:
            expected = f"what {other} {_cut(json.dumps(limit))} allows"
    by_size = secret or error.validator in ("minItems", "maxItems", "maxLength", "items")
    return _path(path), f"found {_size(found) if by_size else _found(found)}, expected {expected}"


def _path(parts: list) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{_cut(part)}" for part in parts).lstrip(".")


def _cut(text: str) -> str:
    return text if len(text) <= QUOTED else text[:QUOTED] + "..."


def _found(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, (dict, list)):
        return _size(value)
    return _cut(json.dumps(value))


def _size(value: object) -> str:
    match value:
        case dict():
            return f"an object of {len(value)} fields"
        case list():
            return f"{len(value)} items"
        case str():
            return f"{len(value)} characters"
        case _:
            return f"a {type(value).__name__}"


def _streams_named(message: dict) -> Iterator[int]:
    """Stream numbers of a refused call, whose frames may be on their way."""
    params = message.get("params")
    tensors = params.get("tensors") if isinstance(params, dict) else None
    for tensor in tensors.values() if isinstance(tensors, dict) else []:
        stream = tensor.get("stream") if isinstance(tensor, dict) else None
        if _is_integer(None, stream) and 1 <= stream < 2**32:
            yield stream


# Frames


def write_frame(stream: int, offset: int, payload: bytes | memoryview) -> bytes:
    return HEAD.pack(MAGIC, stream, offset) + payload


def read_frame(data: bytes, longest: int) -> tuple[int, int, memoryview]:
    """Stream, offset and payload. `longest`: bytes that a frame may have. Raises BadFrame."""
    if len(data) > longest:
        raise BadFrame(f"found a frame of {len(data)} bytes, expected at most {longest}")
    if len(data) <= HEAD.size:
        raise BadFrame(f"found a frame of {len(data)} bytes, expected {HEAD.size} of head and at least 1 of payload")
    magic, stream, offset = HEAD.unpack_from(data)
    if magic != MAGIC:
        raise BadFrame(f"found a frame that begins with {magic.hex()}, expected {MAGIC.hex()} (RSB1)")
    return stream, offset, memoryview(data)[HEAD.size :]


def tensor_bytes(tensor: dict) -> int:
    """Bytes of a tensor, from the shape and dtype of its description."""
    return math.prod(tensor["shape"]) * BYTES_OF[tensor["dtype"]]


class Inbound:
    """A tensor on its way in. `buffer` is writable and has `bytes` bytes."""

    def __init__(self, stream: int, size: int, buffer: memoryview, owner: object = None):
        self.stream, self.bytes, self.buffer, self.owner = stream, size, buffer, owner
        self.received = self.acknowledged = 0


class Streams:
    """The streams of one direction, as the receiver sees them: the open ones, and the highest number named."""

    def __init__(self, longest: int, window: int):
        self.longest, self.window = longest, window
        self.open: dict[int, Inbound] = {}
        self.highest = 0

    def accepts(self, numbers: list[int]) -> bool:
        """May a call name these streams?"""
        return len(set(numbers)) == len(numbers) and all(number > self.highest for number in numbers)

    def named(self, numbers: list[int]) -> None:
        """From now on frames of these streams, and of all below, are dropped unless the stream is open."""
        self.highest = max([self.highest, *numbers])

    def take(self, data: bytes) -> Inbound | None:
        """Copies a frame's payload into its tensor; None if the call of its stream has ended. Raises BadFrame."""
        stream, offset, payload = read_frame(data, self.longest)
        inbound = self.open.get(stream)
        if inbound is None:
            if 1 <= stream <= self.highest:
                return None
            raise BadFrame(f"found a frame of stream {stream}, which no call has named")
        if offset != inbound.received:
            raise BadFrame(f"found offset {offset} in stream {stream}, expected {inbound.received}")
        if offset + len(payload) > inbound.bytes:
            room = inbound.bytes - offset
            raise BadFrame(f"found {len(payload)} bytes at offset {offset} of stream {stream}, expected at most {room}")
        inbound.buffer[offset : offset + len(payload)] = payload
        inbound.received += len(payload)
        return inbound

    def due(self, inbound: Inbound) -> int | None:
        """The count to acknowledge now, at each quarter of the window and at the end; else None."""
        if inbound.received < inbound.bytes and inbound.received - inbound.acknowledged < self.window // 4:
            return None
        inbound.acknowledged = inbound.received
        return inbound.received
