"""What a worker allows, in bytes, seconds and counts. `--limit` sets each field by its name."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """cuda-bridge/README.md lists the same defaults; a test compares them."""

    frame_bytes: int = 1 << 20  # one message, text or binary
    tensor_bytes: int = 1 << 30  # input tensors of all calls that wait or run; tensors of one result
    run_seconds: float = 600  # one run, and the upload before it
    queue: int = 16  # calls that wait
    connections: int = 8  # clients at once
    pending: int = 64  # sockets that have not sent hello; a new one replaces the oldest
    sessions: int = 16  # open at once, of all connections
    window: int = 8 << 20  # bytes of a tensor in flight without acknowledgement
    kill_seconds: float = 15  # compute processes that don't end a cancelled or overlong run by then are killed
    hello_seconds: float = 5  # from the TCP connection to the upgrade, and from there to hello
    stall_seconds: float = 30  # a tensor whose bytes stop coming, a client that takes nothing
    idle_seconds: float = 1800  # without a message and without an open call

    def for_welcome(self) -> dict:
        """The limits that the `welcome` message carries."""
        return {
            "frameBytes": self.frame_bytes,
            "tensorBytes": self.tensor_bytes,
            "runSeconds": self.run_seconds,
            "queue": self.queue,
            "connections": self.connections,
            "window": self.window,
            "sessions": self.sessions,
        }
