"""The compute processes as the server sees them: starts them, gives them one run at a time, watches and kills them."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable

from .errors import Cancelled, Refused
from .pipe import LOST, Pipe, SharedBytes
from .rendezvous import INTERFACE, LOOPBACK, STORE_FILE

#: Seconds that the processes have to end when asked.
END_SECONDS = 4
#: Seconds that rank 0 has, after the others lost a rank, to report which one.
WITNESS_SECONDS = 8
COMMAND = (sys.executable, "-m", "ringside_worker.compute")


class Died(Exception):
    """A compute process ended, or has to. `rank`: which, if known. `code` and `details`: the protocol's."""

    def __init__(self, message: str, rank: int | None = None, code: str = "worker-failed", details: dict | None = None):
        super().__init__(message)
        self.rank, self.code = rank, code
        self.details = details or ({} if rank is None else {"rank": rank})


class ComputeProcesses:
    """
    `processes`: how many to start on this host, over gloo or NCCL; 0 under torchrun. torchrun has started the other
    ranks already; the process that we start is their rank 0 and cannot be started again alone.

    `command` starts a compute process. `options` are those of Engine.start. `start_seconds`: how long the processes may
    take to find each other and to check their kernels.
    """

    def __init__(self, processes: int, options: dict, command: tuple[str, ...] = COMMAND, start_seconds: float = 1800):
        self._processes, self._options, self._command, self._start_seconds = processes, options, command, start_seconds
        self._meeting: tempfile.TemporaryDirectory | None = None
        self._children: list[subprocess.Popen] = []
        self._pipe: Pipe | None = None
        self._answer: asyncio.Future | None = None
        self._emit: Callable[[dict], None] = lambda event: None
        self._run = 0
        self._watching: asyncio.Task | None = None
        self.facts: dict = {}
        #: Set when a process has ended unasked; `start` clears it.
        self.died = asyncio.Event()
        self._death: Died | None = None

    @property
    def restartable(self) -> bool:
        return self._processes > 0

    @property
    def pids(self) -> list[int]:
        """By rank."""
        return [child.pid for child in self._children]

    async def start(self) -> dict:
        """Starts the processes. Returns the machine's facts, as rank 0 reports them. Raises Died."""
        loop = asyncio.get_running_loop()
        self._death = None
        self.died.clear()
        self._answer = loop.create_future()
        ours, theirs = socket.socketpair()
        self._pipe = Pipe(ours)
        self._meeting = tempfile.TemporaryDirectory(prefix="ringside-")
        self._children = []
        for rank in range(max(1, self._processes)):
            self._children.append(self._start_one(rank, theirs.fileno()))
        theirs.close()
        answer, pipe = self._answer, self._pipe
        threading.Thread(target=self._read, args=(loop, pipe, answer), daemon=True).start()
        self._watching = asyncio.create_task(self._watch(list(self._children)))
        try:
            await asyncio.wait({answer}, timeout=self._start_seconds)
            if not answer.done():
                raise Died(f"the compute processes were not ready within {self._start_seconds:g} s (--start-timeout)")
            self.facts = answer.result()["ready"]
        except BaseException:
            await self.kill()
            raise
        return self.facts

    def _start_one(self, rank: int, pipe: int) -> subprocess.Popen:
        """Starts a rank; rank 0 inherits this descriptor of its pipe."""
        env = dict(os.environ)
        if self._processes > 1:
            ranks = str(self._processes)
            env |= {"RANK": str(rank), "WORLD_SIZE": ranks, "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": ranks}
            # All are on this host. They meet in a file and speak over loopback, so only the server listens on the
            # network.
            env[STORE_FILE] = os.path.join(self._meeting.name, "store")
            for name in (INTERFACE, "NCCL_SOCKET_IFNAME"):
                env.setdefault(name, LOOPBACK)
            env.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // self._processes)))
        # A session apart, so that Ctrl-C reaches only the server. Standard input is a pipe, which closes when the
        # server is gone.
        return subprocess.Popen(
            [*self._command, json.dumps(self._options), *([str(pipe)] if rank == 0 else [])],
            env=env,
            stdin=subprocess.PIPE,
            stdout=sys.stderr,
            start_new_session=True,
            pass_fds=[pipe] if rank == 0 else [],
        )

    async def run(
        self, method: str, params: dict, inputs: list[tuple[dict, SharedBytes]], emit: Callable[[dict], None]
    ) -> tuple[dict, list[tuple[dict, SharedBytes]]]:
        """
        One run at a time. `inputs`: descriptions `{name, dtype, shape, bytes}` with their bytes.

        Returns the value, and tensors in the same form, which the caller closes. Calls `emit` on the event loop.
        Raises Refused, Cancelled, Died.
        """
        if self._death is not None:
            raise self._death
        loop = asyncio.get_running_loop()
        self._run += 1
        self._answer, self._emit = loop.create_future(), emit
        message = {
            "run": self._run,
            "method": method,
            "params": params,
            "inputs": [described for described, _ in inputs],
        }
        try:
            await loop.run_in_executor(None, self._pipe.send, message, [shared for _, shared in inputs])
        except OSError:
            pass  # `_watch` reports who died.
        answer = await self._answer
        if "done" in answer:
            return answer["value"], list(zip(answer["tensors"], answer["shared"], strict=True))
        if "cancelled" in answer:
            raise Cancelled
        if answer.get("code") in ("rank-died", "worker-failed"):
            # A rank sees that another is gone before the system tells the parent process. We wait for that: which rank
            # ended, and how, says more than a broken connection.
            try:
                await asyncio.wait_for(self.died.wait(), 0.5)
            except TimeoutError:
                pass
            if self._death is not None:
                if answer["details"].get("rank") in (None, self._death.rank):
                    self._death.details = {**answer["details"], **self._death.details}
                raise self._death
        if answer["code"] == "rank-died":
            raise Died(answer["message"], answer["details"].get("rank"), "rank-died", answer["details"])
        raise Refused(answer["code"], answer["message"], answer["details"])

    def cancel(self) -> None:
        """Asks the engine to end its run soon."""
        pipe, number = self._pipe, self._run

        def send() -> None:
            try:
                pipe.send({"cancel": number})
            except OSError:
                pass

        asyncio.get_running_loop().run_in_executor(None, send)

    async def end(self) -> None:
        """Lets the engine shut down properly, in bounded time."""
        self._stop_watching()
        if self._pipe is not None:
            try:
                await asyncio.get_running_loop().run_in_executor(None, self._pipe.send, {"close": True})
            except OSError:
                pass
        await self._gone(END_SECONDS)
        await self.kill()

    async def kill(self) -> None:
        """Ends the processes now; a run in progress ends with Died."""
        self._stop_watching()
        for child in self._children:
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        await self._gone(END_SECONDS)
        for child in self._children:
            child.stdin.close()
        if self._meeting is not None:
            self._meeting.cleanup()
        if self._pipe is not None:
            self._pipe.close()
        self._death = self._death or Died("the compute processes were ended")
        self._settle(self._answer, self._death)

    def _stop_watching(self) -> None:
        """From now on these processes may end."""
        if self._watching is not None:
            self._watching.cancel()

    async def _gone(self, seconds: float) -> None:
        """Waits until all have ended, but no longer than this."""
        for _ in range(int(seconds / 0.02)):
            if all(child.poll() is not None for child in self._children):
                return
            await asyncio.sleep(0.02)

    async def _watch(self, children: list[subprocess.Popen]) -> None:
        """Finds out who died. A rank that ended with LOST is not the one: it only lost another."""
        patience = WITNESS_SECONDS
        while True:
            ended = {rank: status for rank, child in enumerate(children) if (status := child.poll()) is not None}
            died = next((rank for rank, status in ended.items() if status != LOST), None)
            if died is not None:
                status = ended[died]
                how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
                # The last message of the process is still on its way.
                await asyncio.sleep(0.1)
                return self._lost(
                    self._pipe, Died(f"the compute process of rank {died} ended {how}", died, "rank-died")
                )
            if ended and (patience := patience - 0.05) < 0:
                # By now rank 0 would have reported whom it lost, so a rank that still runs is the silent one.
                silent = (
                    next(rank for rank in range(len(children)) if rank not in ended)
                    if len(ended) < len(children)
                    else 0
                )
                return self._lost(
                    self._pipe, Died(f"rank {silent} is silent: the others waited for it in vain", silent, "rank-died")
                )
            await asyncio.sleep(0.05)

    @staticmethod
    def _settle(future: asyncio.Future | None, outcome: dict | Exception) -> bool:
        if future is None or future.done():
            return False
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
        return True

    def _read(self, loop: asyncio.AbstractEventLoop, pipe: Pipe, started: asyncio.Future) -> None:
        """
        Reads rank 0's messages, in a separate thread.

        Hands over one message at a time, so that a busy event loop slows the engine down.
        """
        try:
            while (received := pipe.receive()) is not None:
                message, fds = received
                message["shared"] = [
                    SharedBytes(tensor["bytes"], fd) for tensor, fd in zip(message.get("tensors", []), fds, strict=True)
                ]
                handled = threading.Event()
                loop.call_soon_threadsafe(self._hear, message, started, handled)
                handled.wait()
        except Exception as error:  # noqa: BLE001 - whatever stops this thread would leave a run waiting for ever
            deaf = Died(f"cannot read what rank 0 sent: {type(error).__name__}: {error}", 0, "rank-died")
            try:
                loop.call_soon_threadsafe(self._lost, pipe, deaf)
            except RuntimeError:
                pass  # The event loop has ended, and the worker with it.

    def _lost(self, pipe: Pipe, death: Died) -> None:
        """The processes behind this pipe are of no more use."""
        if pipe is not self._pipe or self._death is not None:
            return
        self._death = death
        self.died.set()
        self._settle(self._answer, death)

    def _hear(self, message: dict, started: asyncio.Future, handled: threading.Event) -> None:
        try:
            if "ready" in message:
                self._settle(started, message)
            elif "failed" in message:
                self._settle(started, Died(message["failed"]))
            elif "emit" in message:
                if message["emit"] == self._run and not self._answer.done():
                    self._emit(message["event"])
            else:
                number = next(message[key] for key in ("done", "refused", "cancelled") if key in message)
                if number != self._run or not self._settle(self._answer, message):
                    for shared in message["shared"]:
                        shared.close()
        finally:
            handled.set()
