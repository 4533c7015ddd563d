"""The server's list of sessions: the owner of each, its number in the engine, and why it was lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .call import Client
from .errors import Refused


@dataclass
class ClientSession:
    """`number` is the engine's number of this session. `lost` says why it is gone; None while it is open."""

    owner: Client
    heads: int
    value_dim: int
    number: int
    lost: str | None = None


class ClientSessions:
    """Clients know a session by the server's number for it. `close_in_engine` takes the engine's number."""

    def __init__(self, close_in_engine: Callable[[int], None]):
        self._close_in_engine = close_in_engine
        self._sessions: dict[int, ClientSession] = {}
        self._last = 0

    def __contains__(self, number: int) -> bool:
        return number in self._sessions

    @property
    def open(self) -> int:
        """How many are open."""
        return sum(session.lost is None for session in self._sessions.values())

    def add(self, session: ClientSession) -> int:
        self._last += 1
        self._sessions[self._last] = session
        return self._last

    def find(self, owner: Client, number: int) -> ClientSession:
        """A client's open session. Raises Refused."""
        session = self._sessions.get(number)
        if session is None or session.owner is not owner:
            raise Refused("unknown-session", f"params.session: found {number}, which is no session of this connection")
        if session.lost is not None:
            raise Refused(
                "unknown-session", f"session {number} was {session.lost}: open a new one and give it its rows again"
            )
        return session

    def forget(self, number: int) -> None:
        """Removes a session that the engine has closed."""
        self._sessions.pop(number, None)

    def drop(self, number: int, lost: str | None = None) -> None:
        """Closes a session in the engine. With `lost`, its client still learns why."""
        session = self._sessions[number]
        if lost is None:
            del self._sessions[number]
        if session.lost is None:
            self._close_in_engine(session.number)
        session.lost = session.lost or lost

    def drop_of(self, owner: Client) -> None:
        """Closes all sessions of a client that is gone."""
        for number in [number for number, session in self._sessions.items() if session.owner is owner]:
            self.drop(number)

    def lose_all(self, why: str) -> None:
        """The processes that held the caches have ended."""
        for session in self._sessions.values():
            session.lost = session.lost or why
