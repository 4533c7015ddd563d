"""The line of calls before the machine: one runs, the others wait and know their place. No socket and no clock here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Call(Protocol):
    """What stands in line. `owner`: its connection, whose calls keep their order. `ready`: has all that it needs arrived?"""

    owner: object
    ready: bool


class Line:
    """`limit`: how many may wait beside the one that runs. `may_run(owner)`: may a call of this connection start now?"""

    def __init__(self, limit: int, may_run: Callable[[object], bool] = lambda owner: True):
        self.limit = limit
        self._may_run = may_run
        self.waiting: list[Call] = []
        self.running: Call | None = None
        self._told: dict[int, int] = {}

    @property
    def full(self) -> bool:
        return len(self.waiting) + (self.running is not None) > self.limit

    def join(self, call: Call) -> None:
        self.waiting.append(call)

    def leave(self, call: Call) -> bool:
        """Takes a waiting call out; False if it does not wait."""
        if call not in self.waiting:
            return False
        self.waiting.remove(call)
        self._told.pop(id(call), None)
        return True

    def next(self) -> Call | None:
        """The first call that can run, which now does: ready, and no call of its connection before it."""
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

    def news(self) -> list[tuple[Call, int]]:
        """Places, from 1, that have changed since they were last asked for. Calls whose bytes still come have none."""
        news, before = [], 1
        for call in self.waiting:
            if call.ready:
                if self._told.get(id(call)) != before:
                    self._told[id(call)] = before
                    news.append((call, before))
                before += 1
        return news
