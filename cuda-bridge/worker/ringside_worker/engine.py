"""
The compute half of the worker: one Engine in each process. Rank 0 answers `run`; the others obey it in `serve`.

    engine = Engine.start()            # reads RANK, WORLD_SIZE, LOCAL_RANK as torchrun sets them; without: one process
    if engine.rank != 0: engine.serve(); sys.exit()
    value, tensors = engine.run("attend", params, {}, emit, cancelled)
    engine.close()

Every process runs the same code for a call; only who holds what differs by rank. A call prepares (checks, memory,
buffers, seeded inputs), the ranks agree that all are ready, then the ring runs.
"""

import os
import platform
import sys
import time
from collections.abc import Callable

import torch

from . import memory, session_calls
from .attend import attend
from .bench import bench
from .choice import resolved
from .errors import Cancelled, Refused
from .facts import facts, own_device
from .job import Job, require_ranks
from .layer_mode import layer
from .merge import Merger
from .ops import Kernels
from .run import Listener
from .session import Session
from .spans import CudaClock, HostClock
from .team import Team

__all__ = ["Cancelled", "Engine", "Refused"]

FIRST_RATE = {"cuda": 2e14, "cpu": 2e10}
"""FLOP/s of attention from which the first slices are computed. Later ones use the measured rate."""

METHODS = {
    "attend": attend,
    "session.open": session_calls.open_session,
    "session.prefill": session_calls.prefill,
    "session.decode": session_calls.decode,
    "session.evict": session_calls.evict,
    "session.close": session_calls.close_session,
    "layer": layer,
}
"""The methods that all ranks perform: (engine, parameters, inputs, listener, FLOPs of a slice) -> (value, tensors)."""


class Engine:
    """Every method blocks. Call `run` from one thread at a time, not from the event loop's."""

    def __init__(self, team: Team, device: torch.device, memory_limit: int | None, slice_seconds: float, flex: bool):
        self.crew, self.device, self.rank = team, device, team.rank
        """`crew`: all processes of this worker."""
        self.team = team
        """The processes that take part in the current call: the whole crew, or its first ranks."""
        self.clock = CudaClock(team.timeout, self._device_lost) if device.type == "cuda" else HostClock()
        self.kernels, self.merger = Kernels(device, flex), Merger(device)
        self.rate = FIRST_RATE[device.type]
        self._limit, self._slice = memory_limit, slice_seconds
        self.sessions: dict[int, Session] = {}
        self.last_session = self._number = 0
        self.bandwidth: float | None = None
        self.devices: list[dict] = []

    @classmethod
    def start(
        cls,
        *,
        device: str | None = None,
        timeout: float = 30.0,
        patience: float = 1800.0,
        memory_limit: int | None = None,
        slice_seconds: float = 0.2,
        flex: bool = False,
    ) -> "Engine":
        """
        Joins the process group if there is one, and checks the kernels, which takes seconds. Raises CannotMeet.

        `device`: "cpu", "cuda", or None for CUDA if available. `timeout`: seconds after which a rank that is silent in
        a run counts as lost. `patience`: the same at the start and while a call is prepared, when a rank may compile
        for minutes. `memory_limit`: bytes that a run may take, instead of what is free. `slice_seconds`: work between
        two checks for a cancel. `flex`: also try flex_attention, which compiles slowly.
        """
        rank, world, local = (
            int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
        )
        kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
        chosen = torch.device(kind, local) if kind == "cuda" else torch.device("cpu")
        if kind == "cuda":
            torch.cuda.set_device(chosen)
        elif world > 1 and "OMP_NUM_THREADS" not in os.environ:
            # Otherwise each process of a host would use all its cores.
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", world))))
        engine = cls(Team.start(rank, world, chosen, timeout, patience), chosen, memory_limit, slice_seconds, flex)
        engine.together(lambda: engine.kernels.ready(torch.bfloat16 if kind == "cuda" else torch.float32, 16, 1, 128))
        engine._measure_rates()
        engine.devices = engine.team.share(own_device(chosen))
        return engine

    @property
    def world(self) -> int:
        """Processes of the current call; all of them between calls."""
        return self.team.world

    def facts(self) -> dict:
        """Devices, memory, versions, kernels with self-check results, processes, backend (the protocol's `facts`)."""
        return facts(self)

    # Calls, on rank 0

    def run(
        self, method: str, params: dict, inputs: dict, emit: Callable[[dict], None], cancelled: Callable[[], bool]
    ) -> tuple[dict, dict]:
        """
        One call of METHODS, "bench" or "health". Returns the value, and f32 NumPy arrays by name.

        `inputs`: torch tensors or NumPy arrays by name. `emit` gets {"type": "progress", "done", "total", "note"} and
        {"type": "spans", "spans"} from this thread as they happen. `cancelled` is called several times a second.

        Raises Refused or Cancelled. The engine is then ready for the next call, unless `Refused.code` is "rank-died".
        """
        if method == "health":
            return {}, {}
        if method == "bench":
            return bench(self, params.get("quick", False), emit, cancelled), {}
        if method not in METHODS:
            raise Refused("bad-input", f"method: found {method!r}, expected one of {', '.join(METHODS)}, bench, health")
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)  # each thread has its own setting
        params = {**params, **resolved(self, method, params, Listener(emit, cancelled).check_cancelled)}
        if method == "session.open":
            params["number"] = self.last_session + 1
        command = {
            "method": method,
            "params": params,
            "slice": self.rate * self._slice,
            "ranks": self._ranks(params),
            "run": self._number + 1,
        }
        self._number = command["run"]
        if self.crew.world > 1:
            self.crew.command(command)

        def cancelled_in_preparation() -> bool:
            """Passes a cancellation on to the other ranks."""
            yes = cancelled()
            if yes and self.world > 1:
                self.team.announce_cancel(command["run"])
            return yes

        return self._perform(command, inputs, Listener(emit, cancelled, cancelled_in_preparation))

    def cancel(self, run: int) -> None:
        """From any thread: cancels the run of this number even while rank 0 waits for the others to prepare."""
        self.crew.announce_cancel(run)

    @property
    def number(self) -> int:
        """Number of the current run, or of the last one."""
        return self._number

    def _ranks(self, p: dict) -> int:
        """How many processes take part. Raises Refused before any other process learns of the call."""
        if self.crew.world == 1:
            return 1
        ranks = session_calls.find(self, p).shape.ranks if "session" in p else p["ranks"]
        require_ranks(ranks, self.crew.world)
        return ranks

    # The other ranks

    def serve(self) -> bool:
        """On ranks other than 0: obeys rank 0. True once rank 0 has closed, False if ranks have lost each other."""
        while True:
            try:
                command = self.crew.command()
                if command["method"] == "stop":
                    return True
                if self.rank < command["ranks"]:
                    self._perform(command, {}, Listener(None, None, lambda: self.team.cancel_announced()))
                else:
                    self.crew.first(command["ranks"])
            except Cancelled:
                pass
            except Refused as error:
                if error.code == "rank-died":
                    print(f"rank {self.rank}: {error}", file=sys.stderr, flush=True)
                    return False

    def close(self) -> None:
        """Ends `serve` on the other ranks and leaves the process group."""
        if self.rank == 0 and self.crew.world > 1 and self.crew.lost is None:
            self.crew.command({"method": "stop"})
        self.crew.close()

    # What the methods use

    def _perform(self, command: dict, inputs: dict, listener: Listener) -> tuple[dict, dict]:
        try:
            self.team = self.crew if self.crew.world == 1 else self.crew.first(command["ranks"])
            self.team.begin(command["run"])
            # Preparation is patient. This meeting isn't, so it finds a rank that is gone or stopped.
            self.team.share(None)
            return METHODS[command["method"]](self, command["params"], inputs, listener, command["slice"])
        except (Refused, Cancelled):
            raise
        except Exception as error:
            code = "worker-failed" if self._device_works() else "rank-died"
            raise Refused(code, f"rank {self.rank}: {type(error).__name__}: {error}") from error
        finally:
            self.team = self.crew

    def together(self, prepare: Callable):
        """Prepares on every rank, on some for minutes longer, then waits for all. If one fails, all raise its error."""
        error, made = None, None
        try:
            made = prepare()
        except Exception as found:  # noqa: BLE001 - whatever it is, the other ranks must not wait for this one
            error = found
        self.team.agree(error, patient=True)
        return made

    def warm(self, job: Job, hold: int, check_cancelled: Callable[[], None]) -> None:
        """Checks and compiles kernels now, so that the run doesn't have to."""
        self.kernels.ready(job.dtype, job.heads, job.kv_heads, job.op_dim, check_cancelled)
        if self.merger.how == "fused":
            q, k, v = (
                torch.zeros(64, heads, dim, dtype=job.dtype, device=self.device)
                for heads, dim in (
                    (job.heads, job.head_dim),
                    (job.kv_heads, job.head_dim),
                    (job.kv_heads, job.value_dim),
                )
            )
            o, lse = self.kernels.attend(q, k, v, True, job.scale)
            parcels = self.world > 1 and job.variant == "pass-q"
            self.merger.ready(o, lse, hold, (torch.float32, *([job.dtype] if parcels else [])), check_cancelled)
        self.kernels.used = set()

    def mine(self, ranks: int) -> list[int]:
        """The ranks of this process."""
        return list(range(ranks)) if self.world == 1 else [self.rank]

    def free(self, device: torch.device | None = None) -> int:
        """Bytes that a run may take on this process's device, or on `device`. Processes of a host share its memory."""
        device = device or self.device
        sharing = (
            sum(d["kind"] == "cpu" and d["host"] == self.devices[self.rank]["host"] for d in self.devices[: self.world])
            if device.type == "cpu"
            else 1
        )
        found = int(memory.free_on(device) * memory.MARGIN) // max(1, sharing)
        return found if self._limit is None else min(found, self._limit)

    def where(self) -> str:
        """This process's device, for errors."""
        return f"{self.device} of rank {self.rank}" if self.world > 1 else str(self.device)

    def device_name(self) -> str:
        return (
            torch.cuda.get_device_name(self.device)
            if self.device.type == "cuda"
            else f"CPU ({platform.machine()}, {torch.get_num_threads()} threads)"
        )

    def _device_works(self) -> bool:
        """After an error: some CUDA errors, such as an illegal address, make the device unusable for this process."""
        try:
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            return True
        except RuntimeError:
            return False

    def _device_lost(self) -> Refused:
        """The device did not finish in time: it waits for a message, or hangs."""
        why = f"the device did not finish within {self.team.timeout:g} s"
        return Refused("rank-died", f"{why}: it hangs") if self.world == 1 else self.team.lose("transfer", why)

    def _measure_rates(self) -> None:
        """
        The first rates for slices and "auto": attention on a CPU, and transfers between processes.

        A GPU's small calls would say little about its rate.
        """
        if self.device.type == "cpu":
            q = torch.randn(512, 16, 128)
            self.kernels.attend(q, q[:, :1], q[:, 1:2], True, 0.1)
            started = time.perf_counter()
            self.kernels.attend(q, q[:, :1], q[:, 1:2], True, 0.1)
            self.rate = 4 * 128 * 16 * 512 * 513 / 2 / (time.perf_counter() - started)
        if self.world > 1:
            self.bandwidth = self.crew.bandwidth(self.device)
