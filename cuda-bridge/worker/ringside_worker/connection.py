"""One client's connection: its hello, its calls, the tensors that it sends, and what we send to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from .auth import same_token
from .call import Call
from .errors import Refused
from .limits import Limits
from .outbox import Outbox
from .pipe import SharedBytes
from .runner import Runner
from .wire import PROTOCOL, BadFrame, BadMessage, Inbound, Streams, read_message, tensor_bytes

#: Bytes of a text message: 4,096 rows and 1,024 sequences take half of it.
MOST_TEXT = 256 << 10
CLOSE_BAD, CLOSE_TOKEN, CLOSE_VERSION, CLOSE_STALLED, CLOSE_MANY, CLOSE_GOING = 4400, 4401, 4406, 4408, 4429, 1001


class Ended(Exception):
    """Why a connection is closed."""

    def __init__(self, code: str, message: str, close: int):
        super().__init__(message)
        self.code, self.message, self.close = code, message, close


class Admission(Protocol):
    """What a connection needs of the server: who may come in, and what the worker says of itself."""

    limits: Limits
    token: str
    log: Callable[[str], None]

    def admit(self, connection: Connection) -> None: ...

    def forget(self, connection: Connection) -> None: ...

    def welcome(self) -> dict: ...

    def health(self) -> dict: ...


class Connection:
    """`serve` lasts as long as the socket. The rest is called on the same event loop."""

    def __init__(self, server: Admission, runner: Runner, socket: ServerConnection):
        self._server, self._runner, self._socket = server, runner, socket
        limits = server.limits
        self.outbox = Outbox(socket.send, limits.frame_bytes, limits.window)
        self.outbox.on_delivered = runner.wake
        self.outbox.on_overflow = lambda: self.end(
            Ended("time-limit", "the client doesn't read what the worker sends", CLOSE_STALLED)
        )
        self.streams = Streams(limits.frame_bytes, limits.window)
        self.calls: dict[int, Call] = {}
        self.heard = time.monotonic()
        self._last = 0
        self._ending: asyncio.Task | None = None
        self.name = "a client"

    @property
    def descriptor(self) -> int:
        """The descriptor of its socket."""
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
            await self._drain()
        except ConnectionClosed:
            pass
        finally:
            if self._ending is not None:
                await self._ending
            sending.cancel()
            self._server.forget(self)
            self.outbox.give_up()

    async def _drain(self) -> None:
        """Reads what was in flight when the connection ended: left unread, it would hide the client's close frame."""
        try:
            async for _ in self._socket:
                pass
        except ConnectionClosed:
            pass

    def end(self, ended: Ended) -> asyncio.Task:
        """Sends the reason and closes, in bounded time. The first reason counts."""
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
            # The client reads nothing, not even a reason.
            self._socket.transport.abort()

    def fail(self, call: Call, error: Refused) -> None:
        """Ends a call with an error."""
        self._runner.release(call)
        if self.calls.pop(call.id, None) is None:
            return
        self._send_error(call.id, error)

    def succeed(self, call: Call, value: dict, tensors: list[tuple[dict, SharedBytes]]) -> None:
        """Ends a call with its result. Takes ownership of the tensors' memory."""
        self._runner.release(call)
        del self.calls[call.id]
        self.outbox.result(call.id, value, tensors)

    def _send_error(self, number: int, error: Refused) -> None:
        message = {"type": "error", "id": number, "code": error.code, "message": error.message[:4000]}
        self.outbox.message(message | ({"details": error.details} if error.details else {}))

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
                f"protocol: found {hello['protocol']}, expected {PROTOCOL}: "
                "client and worker are of different versions",
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
            return self._send_error(error.id, Refused("bad-message", str(error)))
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
        try:
            self._check_tensors(tensors)
            self._runner.check(self, method, params, sum(tensor["bytes"] for tensor in tensors.values()))
            inputs = self._open_inputs(tensors)
        except Refused as error:
            return self._send_error(number, error)
        call = self.calls[number] = Call(
            self, number, method, {key: value for key, value in params.items() if key != "tensors"}, inputs
        )
        for _, inbound, _ in inputs:
            inbound.owner = call
        self._runner.join(call)

    def _check_tensors(self, tensors: dict[str, dict]) -> None:
        """Stream numbers must grow, and bytes must be those of shape and dtype. Raises Refused."""
        numbers = [tensor["stream"] for tensor in tensors.values()]
        fresh, highest = self.streams.accepts(numbers), self.streams.highest
        self.streams.named(numbers)
        if not fresh:
            raise Refused(
                "bad-input",
                f"params.tensors: found streams {', '.join(map(str, numbers))}, "
                f"expected numbers that differ and are greater than {highest}, the highest before",
            )
        for name, tensor in tensors.items():
            if tensor["bytes"] != tensor_bytes(tensor):
                raise Refused(
                    "bad-input",
                    f"params.tensors.{name}.bytes: found {tensor['bytes']}, expected {tensor_bytes(tensor)} "
                    f"for {tensor['dtype']} of shape {tensor['shape']}",
                )

    def _open_inputs(self, tensors: dict[str, dict]) -> list[tuple[dict, Inbound, SharedBytes]]:
        """Makes room for a call's tensors and opens their streams. Raises Refused if there is no room."""
        inputs = []
        for name, tensor in tensors.items():
            try:
                shared = SharedBytes(tensor["bytes"])
            except OSError as error:
                for _, inbound, made in inputs:
                    self.streams.open.pop(inbound.stream, None)
                    inbound.buffer = memoryview(b"")
                    made.close()
                raise Refused(
                    "worker-failed",
                    f"params.tensors.{name}: no room for its {tensor['bytes']} bytes ({error}): "
                    "send it again later, or send less",
                ) from None
            inbound = Inbound(tensor["stream"], tensor["bytes"], shared.view)
            described = {"name": name, **{key: tensor[key] for key in ("dtype", "shape", "bytes")}}
            inputs.append((described, inbound, shared))
            if tensor["bytes"]:
                self.streams.open[tensor["stream"]] = inbound
        return inputs

    def _cancel(self, number: int) -> None:
        call = self.calls.get(number)
        if call is None:
            # The call has ended: the client doesn't want what is still unsent of its result.
            return self.outbox.give_up(number)
        call.stop.set()
        if self._runner.queue.leave(call):
            self.fail(call, Refused("cancelled", "cancelled before it ran"))
            self._runner.wake()

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
            self._runner.wake()
