"""Between the server and the compute process: JSON messages over a socket pair, and tensors as shared memory whose file descriptors travel along."""

import json
import mmap
import os
import socket
import struct
import tempfile
import threading

_HEAD = struct.Struct("<II")
_MOST_BLOCKS = 16


class Block:
    """Bytes that two processes share; they are gone with the last process that has them, however it ends."""

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
        """Gives the memory back; a view still in use keeps it until it is gone."""
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
    """Where there is no memfd (macOS): a file without a name."""
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class Link:
    """One end. `send` may be called from several threads, `receive` from one."""

    def __init__(self, end: socket.socket):
        self._end = end
        self._lock = threading.Lock()

    def send(self, message: dict, blocks: list[Block] = ()) -> None:
        """Blocks until the other end has room. OSError once it is gone."""
        body = json.dumps(message, allow_nan=False).encode()
        head = _HEAD.pack(len(body), len(blocks))
        with self._lock:
            if blocks:
                socket.send_fds(self._end, [head], [block.fileno() for block in blocks])
                self._end.sendall(body)
            else:
                self._end.sendall(head + body)

    def receive(self) -> tuple[dict, list[int]] | None:
        """A message and its file descriptors; None once the other end is gone."""
        try:
            head, fds, _, _ = socket.recv_fds(self._end, _HEAD.size, _MOST_BLOCKS)
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
