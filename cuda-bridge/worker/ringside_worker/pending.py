"""
Sockets that have not sent hello yet, counted apart from clients.

If too many wait, the oldest makes room for a new one, but each has at least a second for its hello. So strangers who
hold sockets, or open them again and again, can neither keep clients out nor use up the descriptors.
"""

import errno
import socket
import time

#: Sockets that were shut down and are not closed yet: the event loop closes them a moment later.
LEAVING = 16
#: Each socket has this long for its hello, however many more come.
GRACE_SECONDS = 1.0


class Full(OSError):
    """No socket is accepted for now. On this errno asyncio tries again a second later."""

    def __init__(self) -> None:
        super().__init__(errno.EMFILE, "as many sockets as --limit pending wait for their hello")


class PendingSockets:
    """At most `most` sockets wait here, each under its descriptor."""

    def __init__(self, most: int):
        self._most = most
        self._waiting: dict[int, tuple[socket.socket, float]] = {}
        self._leaving: list[socket.socket] = []

    def to_replace(self) -> int | None:
        """The descriptor that has to go if one more comes; None if there is room. Raises Full."""
        self._waiting = {number: entry for number, entry in self._waiting.items() if entry[0].fileno() == number}
        self._leaving = [one for one in self._leaving if one.fileno() != -1]
        if len(self._waiting) < self._most:
            return None
        number, (_, since) = next(iter(self._waiting.items()))
        if time.monotonic() - since < GRACE_SECONDS or len(self._leaving) >= LEAVING:
            raise Full
        return number

    def add(self, one: socket.socket, instead_of: int | None) -> None:
        self._waiting[one.fileno()] = (one, time.monotonic())
        if instead_of is not None:
            oldest, _ = self._waiting.pop(instead_of)
            self._leaving.append(oldest)
            try:
                # Its transport reads the end and closes it properly, even in the middle of a TLS handshake.
                oldest.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def remove(self, number: int) -> None:
        """The socket of this descriptor has sent hello."""
        self._waiting.pop(number, None)


class ListeningSocket(socket.socket):
    """Its accepted sockets count as pending."""

    pending: PendingSockets

    def accept(self) -> tuple[socket.socket, object]:
        instead_of = self.pending.to_replace()
        one, address = super().accept()
        self.pending.add(one, instead_of)
        return one, address


def listening_sockets(host: str, port: int, pending: PendingSockets) -> list[ListeningSocket]:
    """One bound socket for each address of the host, all on the same port. Raises OSError if one cannot be bound."""
    made: list[ListeningSocket] = []
    try:
        for family, kind, proto, _, address in dict.fromkeys(
            socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        ):
            one = ListeningSocket(family, kind, proto)
            made.append(one)
            one.pending = pending
            one.setblocking(False)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind((address[0], made[0].getsockname()[1] if len(made) > 1 else port, *address[2:]))
    except OSError:
        for one in made:
            one.close()
        raise
    return made
