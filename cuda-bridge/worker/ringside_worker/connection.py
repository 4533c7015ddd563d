"""One client: its hello, its calls, the tensors it sends, and what is sent to it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from .auth import same_token
from .link import Block
from .outbox import Outbox
from .wire import PROTOCOL, BadFrame, BadMessage, Inbound, Streams, read_message, tensor_bytes

if TYPE_CHECKING:
    from .server import Server

#: Bytes of a text message: 4,096 rows and 1,024 sequences take half of it.
MOST_TEXT = 256 << 10
CLOSE_BAD, CLOSE_TOKEN, CLOSE_VERSION, CLOSE_STALLED, CLOSE_MANY, CLOSE_GOING = 4400, 4401, 4406, 4408, 4429, 1001


class Refusal(Exception):
    """Why a call is not taken, or how it ended."""

    def __init__(self, code: str, message: str, details: dict | None = None):
        super().__init__(message)
        self.code, self.message, self.details = code, message, details


class Ended(Exception):
    """Why a connection is closed."""

    def __init__(self, code: str, message: str, close: int):
        super().__init__(message)
        self.code, self.message, self.close = code, message, close


class Call:
    """A call from its message to its result or error. `owner` is None for what the server does on its own account."""

    def __init__(
        self,
        owner: Connection | None,
        number: int,
        method: str,
        params: dict,
        inputs: list[tuple[dict, Inbound, Block]],
    ):
        self.owner, self.id, self.method, self.params, self.inputs = owner, number, method, params, inputs
        self.bytes = sum(described["bytes"] for described, _, _ in inputs)
        self.begun = self.moved = time.monotonic()
        self.ended = False
        #: Set when the client wants no more of it.
        self.stop = asyncio.Event()

    @property
    def ready(self) -> bool:
        return all(inbound.received == inbound.bytes for _, inbound, _ in self.inputs)


class Connection:
    """`serve` lives as long as the socket; the rest is called on the same event loop."""

    def __init__(self, server: Server, socket: ServerConnection):
        self._server, self._socket = server, socket
        limits = server.limits
        self.outbox = Outbox(socket.send, limits.frame_bytes, limits.window)
        self.outbox.on_delivered = server.wake
        self.outbox.on_overflow = lambda: self.end(
            Ended("time-limit", "the client does not read what it is sent", CLOSE_STALLED)
        )
        self.streams = Streams(limits.frame_bytes, limits.window)
        self.calls: dict[int, Call] = {}
        self.heard = time.monotonic()
        self._last = 0
        self._ending: asyncio.Task | None = None
        self.name = "a client"

    @property
    def descriptor(self) -> int:
        """Of its socket."""
        return self._socket.transport.get_extra_info("socket").fileno()

    async def serve(self) -> None:
        """From the upgrade to the close."""
        sending = asyncio.create_task(self._send_all())
        try:
            await self._hello()
            async for data in self._socket:
                self.heard = time.monotonic()
                self._text(data) if isinstance(data, str) else self._binary(data)
        except Ended as ended:
            self.end(ended)
            await self._pass_over()
        except ConnectionClosed:
            pass
        finally:
            if self._ending is not None:
                await self._ending
            sending.cancel()
            self._server.forget(self)
            self.outbox.give_up()

    async def _pass_over(self) -> None:
        """What was under way when the connection ended: unread it would keep the client's goodbye from being read."""
        try:
            async for _ in self._socket:
                pass
        except ConnectionClosed:
            pass

    def end(self, ended: Ended) -> asyncio.Task:
        """Says why, and closes, in bounded time. The first reason counts."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._end(ended))
        return self._ending

    async def _end(self, ended: Ended) -> None:
        self._server.log(f"{self.name} is closed: {ended.code}: {ended.message}")
        for call in self.calls.values():
            call.stop.set()
        self.outbox.message({"type": "error", "code": ended.code, "message": ended.message[:4000]})
        await self.outbox.flush(1)
        try:
            async with asyncio.timeout(2):
                await self._socket.close(ended.close, ended.code)
        except TimeoutError:
            # It takes nothing, not even a reason.
            self._socket.transport.abort()

    def fail(self, call: Call, refusal: Refusal) -> None:
        """Ends a call with an error."""
        self._server.release(call)
        if self.calls.pop(call.id, None) is None:
            return
        self._refuse(call.id, refusal)

    def succeed(self, call: Call, value: dict, tensors: list[tuple[dict, Block]]) -> None:
        """Ends a call with its result. Takes the blocks over."""
        self._server.release(call)
        del self.calls[call.id]
        self.outbox.result(call.id, value, tensors)

    def _refuse(self, number: int, refusal: Refusal) -> None:
        message = {"type": "error", "id": number, "code": refusal.code, "message": refusal.message[:4000]}
        self.outbox.message(message | ({"details": refusal.details} if refusal.details else {}))

    async def _send_all(self) -> None:
        try:
            await self.outbox.run()
        except ConnectionClosed:
            pass

    async def _hello(self) -> None:
        seconds = self._server.limits.hello_seconds
        try:
            async with asyncio.timeout(seconds):
                data = await self._socket.recv()
        except TimeoutError:
            raise Ended("bad-hello", f"found no hello within {seconds:g} s, expected it first", CLOSE_TOKEN) from None
        if not isinstance(data, str) or len(data) > MOST_TEXT:
            raise Ended("bad-hello", "found a binary or very long message, expected hello first", CLOSE_BAD)
        try:
            hello = read_message(data)
        except BadMessage as error:
            raise Ended("bad-hello", str(error), CLOSE_BAD) from None
        if hello["type"] != "hello":
            raise Ended("bad-hello", f"found {hello['type']}, expected hello first", CLOSE_BAD)
        if not same_token(hello["token"], self._server.token):
            raise Ended(
                "bad-token",
                "the token is not this worker's: it printed its own when it started, or has the one it was given",
                CLOSE_TOKEN,
            )
        if hello["protocol"] != PROTOCOL:
            raise Ended(
                "bad-version",
                f"protocol: found {hello['protocol']}, expected {PROTOCOL}: client and worker are of different versions",
                CLOSE_VERSION,
            )
        self.name = f"client {hello['client']!a}"
        self._server.admit(self)
        self.outbox.message(self._server.welcome())

    def _text(self, data: str) -> None:
        if len(data) > MOST_TEXT:
            raise Ended(
                "too-large", f"found a text message of {len(data)} characters, expected at most {MOST_TEXT}", CLOSE_BAD
            )
        try:
            message = read_message(data)
        except BadMessage as error:
            if error.id is None:
                raise Ended("bad-message", str(error), CLOSE_BAD) from None
            self._number(error.id)
            self.streams.named(error.streams)
            return self._refuse(error.id, Refusal("bad-message", str(error)))
        match message["type"]:
            case "call":
                self._call(message)
            case "cancel":
                self._cancel(message["id"])
            case "ack":
                wrong = self.outbox.acknowledge(message["stream"], message["received"])
                if wrong:
                    raise Ended("bad-message", wrong, CLOSE_BAD)
            case "hello":
                raise Ended("bad-message", "found a second hello", CLOSE_BAD)

    def _number(self, number: int) -> None:
        if number <= self._last:
            raise Ended(
                "bad-message", f"id: found {number}, expected more than {self._last}, the call before", CLOSE_BAD
            )
        self._last = number

    def _call(self, message: dict) -> None:
        number, method, params = message["id"], message["method"], message["params"]
        self._number(number)
        if method == "health":
            return self.outbox.message({"type": "result", "id": number, "value": self._server.health(), "tensors": {}})
        tensors = params.get("tensors", {})
        numbers = [tensor["stream"] for tensor in tensors.values()]
        fresh = self.streams.accepts(numbers)
        highest = self.streams.highest
        self.streams.named(numbers)
        try:
            if not fresh:
                raise Refusal(
                    "bad-input",
                    f"params.tensors: found streams {', '.join(map(str, numbers))}, expected numbers that differ and are greater than {highest}, the highest before",
                )
            for name, tensor in tensors.items():
                if tensor["bytes"] != tensor_bytes(tensor):
                    raise Refusal(
                        "bad-input",
                        f"params.tensors.{name}.bytes: found {tensor['bytes']}, expected {tensor_bytes(tensor)} for {tensor['dtype']} of shape {tensor['shape']}",
                    )
            self._server.check(self, method, params, sum(tensor["bytes"] for tensor in tensors.values()))
        except Refusal as refusal:
            return self._refuse(number, refusal)
        inputs = []
        for name, tensor in tensors.items():
            try:
                block = Block(tensor["bytes"])
            except OSError as error:
                for _, inbound, made in inputs:
                    self.streams.open.pop(inbound.stream, None)
                    inbound.buffer = memoryview(b"")
                    made.close()
                what = f"params.tensors.{name}: no room for its {tensor['bytes']} bytes ({error}): send it again later, or send less"
                return self._refuse(number, Refusal("worker-failed", what))
            inbound = Inbound(tensor["stream"], tensor["bytes"], block.view)
            inputs.append(({"name": name, **{key: tensor[key] for key in ("dtype", "shape", "bytes")}}, inbound, block))
            if tensor["bytes"]:
                self.streams.open[tensor["stream"]] = inbound
        call = self.calls[number] = Call(
            self, number, method, {key: value for key, value in params.items() if key != "tensors"}, inputs
        )
        for _, inbound, _ in inputs:
            inbound.owner = call
        self._server.join(call)

    def _cancel(self, number: int) -> None:
        call = self.calls.get(number)
        if call is None:
            # It has ended: what was not sent of its result is not wanted.
            return self.outbox.give_up(number)
        call.stop.set()
        if self._server.line.leave(call):
            self.fail(call, Refusal("cancelled", "cancelled before it ran"))
            self._server.wake()

    def _binary(self, data: bytes) -> None:
        try:
            inbound = self.streams.take(data)
        except BadFrame as error:
            raise Ended("bad-frame", str(error), CLOSE_BAD) from None
        if inbound is None:
            return
        call = inbound.owner
        call.moved = time.monotonic()
        due = self.streams.due(inbound)
        if due is not None:
            self.outbox.message({"type": "ack", "stream": inbound.stream, "received": due})
        if call.ready:
            self._server.wake()
