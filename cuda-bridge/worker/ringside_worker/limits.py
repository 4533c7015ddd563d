"""What a worker allows, in bytes, seconds and counts."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The help of `--limit` comes from the comments here."""

    frame_bytes: int = 1 << 20  # one message, text or binary
    tensor_bytes: int = 1 << 30  # input tensors of all calls that wait or run; tensors of one result
    run_seconds: float = 600  # one run, and the upload before it
    queue: int = 16  # calls that wait
    connections: int = 8  # clients at once
    pending: int = 64  # sockets that have not said hello; the oldest gives way to a new one
    sessions: int = 16  # open at once, of all connections
    window: int = 8 << 20  # bytes of a tensor under way without acknowledgement
    kill_seconds: float = (
        15  # for compute processes to end a run that was cancelled or took too long, before they are killed
    )
    hello_seconds: float = 5  # from the TCP connection to the upgrade, and from there to hello
    stall_seconds: float = 30  # a tensor whose bytes stop coming, a client that takes nothing
    idle_seconds: float = 1800  # without a message and without an open call

    def told(self) -> dict:
        """As `welcome` has them."""
        return {
            "frameBytes": self.frame_bytes,
            "tensorBytes": self.tensor_bytes,
            "runSeconds": self.run_seconds,
            "queue": self.queue,
            "connections": self.connections,
            "window": self.window,
            "sessions": self.sessions,
        }
