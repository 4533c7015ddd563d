"""
The compute half of the worker: one Engine a process, rank 0 answers `run`, the others obey it in `serve`.

    engine = Engine.start()            # reads RANK, WORLD_SIZE, LOCAL_RANK as torchrun sets them; one process without them
    if engine.rank != 0: engine.serve(); sys.exit()
    value, tensors = engine.run("attend", params, {}, emit, cancelled)
    engine.close()
"""

from typing import Callable

from .errors import Cancelled, Refused

__all__ = ["Cancelled", "Engine", "Refused"]


class Engine:
    """Everything here blocks; call `run` from one thread at a time (not the event loop's)."""

    rank: int
    world: int

    @classmethod
    def start(cls, *, device: str | None = None, timeout: float = 30.0, memory_limit: int | None = None, slice_seconds: float = 0.2, flex: bool = False) -> "Engine":
        """
        Joins the process group if there is one, and runs the kernels' self-check (seconds).
        `device`: "cpu", "cuda" or None (CUDA where there is one). `timeout`: seconds after which a silent peer is lost.
        `memory_limit`: bytes that a run may take in place of what is free. `slice_seconds`: work between two looks at `cancelled`.
        """
        raise NotImplementedError

    def facts(self) -> dict:
        """Devices, memory, versions, kernels with self-check results, processes, backend."""
        raise NotImplementedError

    def run(self, method: str, params: dict, inputs: dict, emit: Callable[[dict], None], cancelled: Callable[[], bool]) -> tuple[dict, dict]:
        """
        One of "attend", "session.open", "session.prefill", "session.decode", "session.evict", "session.close", "layer", "bench", "health".
        `inputs`: torch tensors or NumPy arrays by name. `emit` takes {"type": "progress", "done", "total", "note"} and
        {"type": "spans", "spans"} from this thread as they happen; `cancelled` is asked several times a second.
        Returns the value and f32 NumPy arrays by name. Raises Refused or Cancelled; the engine is ready for the next run unless
        `Refused.code` is "rank-lost".
        """
        raise NotImplementedError

    def serve(self) -> None:
        """What ranks other than 0 do: obeys rank 0 until it closes or is gone."""
        raise NotImplementedError

    def close(self) -> None:
        """Ends `serve` in the other ranks and leaves the process group."""
        raise NotImplementedError
