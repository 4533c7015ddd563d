"""The queue of calls: one call runs, the others wait and learn their place. No socket and no clock here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Queued(Protocol):
    """What waits. Calls of one `owner` (a connection) keep their order. `ready`: all of the call's bytes are here."""

    owner: object
    ready: bool


class CallQueue:
    """`limit`: how many may wait beside the running one. `may_run(owner)`: may a call of this connection start now?"""

    def __init__(self, limit: int, may_run: Callable[[object], bool] = lambda owner: True):
        self.limit = limit
        self._may_run = may_run
        self.waiting: list[Queued] = []
        self.running: Queued | None = None
        self._reported: dict[int, int] = {}

    @property
    def full(self) -> bool:
        return len(self.waiting) + (self.running is not None) > self.limit

    def join(self, call: Queued) -> None:
        self.waiting.append(call)

    def leave(self, call: Queued) -> bool:
        """Removes a waiting call; False if it isn't waiting."""
        if call not in self.waiting:
            return False
        self.waiting.remove(call)
        self._reported.pop(id(call), None)
        return True

    def next(self) -> Queued | None:
        """Starts the first call that is ready and has no call of its connection before it."""
        if self.running is not None:
            return None
        passed = set()
        for call in self.waiting:
            if call.ready and call.owner not in passed and self._may_run(call.owner):
                self.leave(call)
                self.running = call
                return call
            passed.add(call.owner)
        return None

    def done(self) -> None:
        self.running = None

    def news(self) -> list[tuple[Queued, int]]:
        """Places, from 1, that changed since the last call of `news`. A call whose bytes are still coming has none."""
        news, place = [], 1
        for call in self.waiting:
            if call.ready:
                if self._reported.get(id(call)) != place:
                    self._reported[id(call)] = place
                    news.append((call, place))
                place += 1
        return news
