"""What goes out to one client: messages first, then the bytes of results, never more under way than the client gave leave for, and bounded in memory."""

import asyncio
import time
from collections import deque

from .link import Block
from .wire import HEAD, write_frame, write_message

#: Bytes of messages that may wait for a client that does not read.
MOST_WAITING = 8 << 20


class Delivery:
    """A tensor of a result on its way out."""

    def __init__(self, call: int, stream: int, block: Block):
        self.call, self.stream, self.block = call, stream, block
        self.sent = self.acknowledged = 0


class Outbox:
    """`send` takes text or bytes and returns when the socket has room for more."""

    def __init__(self, send, frame_bytes: int, window: int):
        self._send = send
        self._payload = frame_bytes - HEAD.size
        self._window = window
        self._messages: deque[tuple[str, tuple | None]] = deque()
        self._waiting = 0
        self._deliveries: deque[Delivery] = deque()
        self._news = asyncio.Event()
        self._stream = 0
        self._moved = time.monotonic()
        self._sending = False
        self.overflown = False
        #: Called when a client leaves too much unread.
        self.on_overflow = lambda: None
        #: Called when a result has been delivered whole or given up.
        self.on_delivered = lambda: None

    @property
    def delivering(self) -> bool:
        return bool(self._deliveries)

    @property
    def idle(self) -> bool:
        return not (self._messages or self._deliveries or self._sending)

    def message(self, message: dict) -> None:
        """Puts a message in line. News of a call's progress takes the place of older news that has not gone out. Too much, and all of it is dropped: the connection has to end."""
        if self.overflown and "id" in message:
            return
        text = write_message(message)
        newest = (message["type"], message["id"]) if message["type"] == "progress" else None
        if newest is not None and self._messages and self._messages[-1][1] == newest:
            self._waiting -= len(self._messages.pop()[0])
        if self.idle:
            self._moved = time.monotonic()
        self._messages.append((text, newest))
        self._waiting += len(text)
        self._news.set()
        if self._waiting > MOST_WAITING:
            self._messages.clear()
            self._waiting = 0
            self.overflown = True
            self.on_overflow()

    def result(self, call: int, value: dict, tensors: list[tuple[dict, Block]]) -> None:
        """A call's result, and its tensors after it. Takes the blocks over."""
        described, deliveries = {}, []
        for tensor, block in tensors:
            self._stream += 1
            described[tensor["name"]] = {
                "stream": self._stream,
                **{key: tensor[key] for key in ("dtype", "shape", "bytes")},
            }
            if tensor["bytes"]:
                deliveries.append(Delivery(call, self._stream, block))
            else:
                block.close()
        self.message({"type": "result", "id": call, "value": value, "tensors": described})
        self._deliveries.extend(deliveries)

    def acknowledge(self, stream: int, received: int) -> str | None:
        """Takes the client's leave for more; what is wrong with it, if something is."""
        for delivery in self._deliveries:
            if delivery.stream == stream:
                if not delivery.acknowledged <= received <= delivery.sent:
                    return f"received: found {received}, expected {delivery.acknowledged} to {delivery.sent}, the bytes of stream {stream} that were sent"
                delivery.acknowledged = received
                self._moved = time.monotonic()
                if received == delivery.block.size:
                    self._drop(delivery)
                self._news.set()
                return None
        return None if stream <= self._stream else f"stream: found {stream}, which no result has named"

    def give_up(self, call: int | None = None) -> None:
        """Ends the deliveries of one call, or of all."""
        for delivery in list(self._deliveries):
            if call is None or delivery.call == call:
                self._drop(delivery)

    def stalled(self, seconds: float) -> bool:
        """Has the client taken nothing for so long, though there was something for it?"""
        return not self.idle and time.monotonic() - self._moved > seconds

    async def run(self) -> None:
        """Sends until it is cancelled."""
        while True:
            item = self._next()
            if item is None:
                self._news.clear()
                await self._news.wait()
                continue
            self._sending = True
            try:
                await self._send(item)
            finally:
                self._sending = False
            self._moved = time.monotonic()

    async def flush(self, seconds: float) -> None:
        """Waits for what is in line to be sent, in bounded time."""
        end = time.monotonic() + seconds
        while (self._messages or self._sending) and time.monotonic() < end:
            await asyncio.sleep(0.01)

    def _next(self) -> str | bytes | None:
        if self._messages:
            text, _ = self._messages.popleft()
            self._waiting -= len(text)
            return text
        for delivery in self._deliveries:
            size = min(
                self._payload, delivery.block.size - delivery.sent, delivery.acknowledged + self._window - delivery.sent
            )
            if size > 0:
                frame = write_frame(
                    delivery.stream, delivery.sent, delivery.block.view[delivery.sent : delivery.sent + size]
                )
                delivery.sent += size
                return frame
        return None

    def _drop(self, delivery: Delivery) -> None:
        self._deliveries.remove(delivery)
        delivery.block.close()
        if not self._deliveries:
            self.on_delivered()
