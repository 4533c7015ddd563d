"""
Between the server and its compute processes: JSON messages over a socket pair, and tensors in shared memory.

The file descriptors of the shared memory travel with the message.
"""

import json
import mmap
import os
import socket
import struct
import tempfile
import threading

_HEAD = struct.Struct("<II")
_MOST_TENSORS = 16

LOST = 75
"""Exit status of a rank other than 0 that lost the others: it isn't the rank that failed."""


class SharedBytes:
    """Memory that two processes share. The system frees it when the last process that has it ends, however it ends."""

    def __init__(self, size: int, fd: int | None = None):
        self.size = size
        self._fd = fd
        if fd is None:
            self._fd = os.memfd_create("ringside") if hasattr(os, "memfd_create") else _temporary()
            os.ftruncate(self._fd, size)
        self._map = mmap.mmap(self._fd, size) if size else None

    @property
    def view(self) -> memoryview:
        return memoryview(self._map) if self._map is not None else memoryview(bytearray())

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        """Gives the memory back. A view that is still in use keeps it alive."""
        if self._fd is None:
            return
        os.close(self._fd)
        self._fd = None
        try:
            if self._map is not None:
                self._map.close()
        except BufferError:
            pass
        self._map = None


def _temporary() -> int:
    """A file without a name, for systems without memfd (macOS)."""
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class Pipe:
    """One end. Several threads may call `send`, one thread `receive`."""

    def __init__(self, end: socket.socket):
        self._end = end
        self._lock = threading.Lock()

    def send(self, message: dict, tensors: list[SharedBytes] = ()) -> None:
        """Blocks until the other end has room. Raises OSError once the other end is closed."""
        body = json.dumps(message, allow_nan=False).encode()
        head = _HEAD.pack(len(body), len(tensors))
        with self._lock:
            if tensors:
                socket.send_fds(self._end, [head], [shared.fileno() for shared in tensors])
                self._end.sendall(body)
            else:
                self._end.sendall(head + body)

    def receive(self) -> tuple[dict, list[int]] | None:
        """A message and its file descriptors; None once the other end is closed."""
        try:
            head, fds, _, _ = socket.recv_fds(self._end, _HEAD.size, _MOST_TENSORS)
            if not head:
                return None
            head += self._exactly(_HEAD.size - len(head))
            size, count = _HEAD.unpack(head)
            body = self._exactly(size)
        except (OSError, EOFError):
            return None
        if len(fds) != count:
            for fd in fds:
                os.close(fd)
            raise OSError(f"found {len(fds)} file descriptors, expected {count}: too many open files?")
        return json.loads(body), fds

    def _exactly(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            part = self._end.recv(min(size - len(parts), 1 << 20))
            if not part:
                raise EOFError
            parts += part
        return bytes(parts)

    def close(self) -> None:
        try:
            self._end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._end.close()
