"""
What goes out to one client: messages first, then the bytes of results.

Never more bytes in flight than the client's window allows, and never more in memory than MOST_WAITING.
"""

import asyncio
import time
from collections import deque

from .pipe import SharedBytes
from .wire import HEAD, write_frame, write_message

#: Bytes of messages that may wait for a client that doesn't read.
MOST_WAITING = 8 << 20


class Delivery:
    """A tensor of a result on its way out."""

    def __init__(self, call: int, stream: int, shared: SharedBytes):
        self.call, self.stream, self.shared = call, stream, shared
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
        #: Called when a result has been delivered or given up.
        self.on_delivered = lambda: None

    @property
    def delivering(self) -> bool:
        return bool(self._deliveries)

    @property
    def idle(self) -> bool:
        return not (self._messages or self._deliveries or self._sending)

    def message(self, message: dict) -> None:
        """
        Queues a message. A call's progress replaces older progress of it that hasn't gone out yet.

        If too much waits, all of it is dropped: the connection has to end.
        """
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

    def result(self, call: int, value: dict, tensors: list[tuple[dict, SharedBytes]]) -> None:
        """A call's result, then its tensors. Takes ownership of their memory."""
        described, deliveries = {}, []
        for tensor, shared in tensors:
            self._stream += 1
            described[tensor["name"]] = {
                "stream": self._stream,
                **{key: tensor[key] for key in ("dtype", "shape", "bytes")},
            }
            if tensor["bytes"]:
                deliveries.append(Delivery(call, self._stream, shared))
            else:
                shared.close()
        self.message({"type": "result", "id": call, "value": value, "tensors": described})
        self._deliveries.extend(deliveries)

    def acknowledge(self, stream: int, received: int) -> str | None:
        """Takes an acknowledgement, which lets more bytes go out. Returns what is wrong with it, if anything."""
        for delivery in self._deliveries:
            if delivery.stream == stream:
                if not delivery.acknowledged <= received <= delivery.sent:
                    return (
                        f"received: found {received}, expected {delivery.acknowledged} to {delivery.sent}, "
                        f"the bytes of stream {stream} that were sent"
                    )
                delivery.acknowledged = received
                self._moved = time.monotonic()
                if received == delivery.shared.size:
                    self._drop(delivery)
                self._news.set()
                return None
        return None if stream <= self._stream else f"stream: found {stream}, which no result has named"

    def give_up(self, call: int | None = None) -> None:
        """Ends the deliveries of one call, or of all calls."""
        for delivery in list(self._deliveries):
            if call is None or delivery.call == call:
                self._drop(delivery)

    def stalled(self, seconds: float) -> bool:
        """Whether the client has taken nothing for so long although something was waiting."""
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
        """Waits until all messages have gone out, but no longer than this."""
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
                self._payload,
                delivery.shared.size - delivery.sent,
                delivery.acknowledged + self._window - delivery.sent,
            )
            if size > 0:
                frame = write_frame(
                    delivery.stream, delivery.sent, delivery.shared.view[delivery.sent : delivery.sent + size]
                )
                delivery.sent += size
                return frame
        return None

    def _drop(self, delivery: Delivery) -> None:
        self._deliveries.remove(delivery)
        delivery.shared.close()
        if not self._deliveries:
            self.on_delivered()
