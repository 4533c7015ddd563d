"""One call of a client, from its message to its result or error."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from .errors import Refused
from .outbox import Outbox
from .pipe import SharedBytes
from .wire import Inbound, Streams


class Client(Protocol):
    """Whose call it is: a connection."""

    name: str
    outbox: Outbox
    streams: Streams
    calls: dict[int, Call]

    def fail(self, call: Call, error: Refused) -> None: ...

    def succeed(self, call: Call, value: dict, tensors: list[tuple[dict, SharedBytes]]) -> None: ...


class Call:
    """`owner` is None for what the server does on its own account. Each input has its description and its bytes."""

    def __init__(
        self,
        owner: Client | None,
        number: int,
        method: str,
        params: dict,
        inputs: list[tuple[dict, Inbound, SharedBytes]],
    ):
        self.owner, self.id, self.method, self.params, self.inputs = owner, number, method, params, inputs
        self.bytes = sum(described["bytes"] for described, _, _ in inputs)
        self.begun = self.moved = time.monotonic()
        self.ended = False
        #: Set when the client no longer wants the result.
        self.stop = asyncio.Event()

    @property
    def ready(self) -> bool:
        return all(inbound.received == inbound.bytes for _, inbound, _ in self.inputs)
