"""
The door: sockets that have not said hello yet, whoever opened them. They are counted apart from clients. A full doorstep sends the oldest
away for a new one, but each has a second for its hello. So strangers who hold sockets, or open them again and again, keep nobody out and
use up no descriptors.
"""

import errno
import resource
import socket
import time

from .auth import Refusal
from .limits import Limits

#: Descriptors of the server besides sockets and tensors: files, pipes, the event loop's own.
OWN = 64
#: Sockets that were sent away and are not closed yet: the event loop does that a moment later.
LEAVING = 16
#: What a socket has for its hello however many more come.
GRACE_SECONDS = 1.0
#: More are not asked for: some programs go through all.
MOST_FILES = 1 << 16


class Full(OSError):
    """No socket is accepted for now. With this errno asyncio tries again a second later."""

    def __init__(self) -> None:
        super().__init__(errno.EMFILE, "as many sockets as --limit pending wait for their hello")


class Doorstep:
    """At most `most` sockets wait here."""

    def __init__(self, most: int):
        self._most = most
        self._waiting: dict[int, tuple[socket.socket, float]] = {}
        self._leaving: list[socket.socket] = []

    def next_out(self) -> int | None:
        """Whose descriptor has to go for one more, if any. Raises Full."""
        self._waiting = {number: one for number, one in self._waiting.items() if one[0].fileno() == number}
        self._leaving = [one for one in self._leaving if one.fileno() != -1]
        if len(self._waiting) < self._most:
            return None
        number, (_, since) = next(iter(self._waiting.items()))
        if time.monotonic() - since < GRACE_SECONDS or len(self._leaving) >= LEAVING:
            raise Full
        return number

    def came(self, one: socket.socket, instead: int | None) -> None:
        self._waiting[one.fileno()] = (one, time.monotonic())
        if instead is not None:
            oldest, _ = self._waiting.pop(instead)
            self._leaving.append(oldest)
            try:
                # Its transport reads the end and closes it in order, in the middle of a TLS handshake too.
                oldest.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def entered(self, number: int) -> None:
        """The socket of this descriptor has said hello."""
        self._waiting.pop(number, None)


class Door(socket.socket):
    """A listening socket whose accepted sockets wait on a doorstep."""

    doorstep: Doorstep

    def accept(self) -> tuple[socket.socket, object]:
        instead = self.doorstep.next_out()
        one, address = super().accept()
        self.doorstep.came(one, instead)
        return one, address


def doors(host: str, port: int, doorstep: Doorstep) -> list[Door]:
    """One for each address of the host, bound, with the same port. OSError where one cannot be had."""
    made: list[Door] = []
    try:
        for family, kind, proto, _, address in dict.fromkeys(
            socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        ):
            door = Door(family, kind, proto)
            made.append(door)
            door.doorstep = doorstep
            door.setblocking(False)
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            door.bind((address[0], made[0].getsockname()[1] if len(made) > 1 else port, *address[2:]))
    except OSError:
        for door in made:
            door.close()
        raise
    return made


def files_needed(limits: Limits, processes: int) -> int:
    """Descriptors that the server has open at the most: sockets, and the tensors of calls and of results under way."""
    return OWN + 2 * processes + limits.pending + LEAVING + limits.connections * 4 + 3 * (limits.queue + 2)


def raise_files(need: int) -> None:
    """Allows this process as many open files as the system lets it. Raises Refusal where that is too few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    if soft != resource.RLIM_INFINITY and soft < need:
        raise Refusal(
            f"open files: found at most {soft} allowed, expected {need}: raise it (ulimit -n {need}), "
            "or lower --limit connections, pending or queue"
        )
