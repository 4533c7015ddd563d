"""The compute processes as the server sees them: started, asked for one run at a time, watched, killed, started again."""

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

from .compute import LOST
from .link import Block, Link
from .rendezvous import INTERFACE, LOOPBACK, STORE_FILE

#: How long they may take to end when asked.
END_SECONDS = 4
#: How long after the others lost somebody rank 0 has to say whom.
WITNESS_SECONDS = 8
COMMAND = (sys.executable, "-m", "ringside_worker.compute")


class RunRefused(Exception):
    """The engine ended a run with this code; it is ready for the next."""

    def __init__(self, code: str, message: str, details: dict):
        super().__init__(message)
        self.code, self.message, self.details = code, message, details


class RunCancelled(Exception):
    """The engine ended a run as it was told to; it is ready for the next."""


class Died(Exception):
    """A compute process ended, or has to. `rank`: which, where that is known. `code` and `details`: the protocol's."""

    def __init__(self, message: str, rank: int | None = None, code: str = "worker-failed", details: dict | None = None):
        super().__init__(message)
        self.rank, self.code = rank, code
        self.details = details or ({} if rank is None else {"rank": rank})


class Group:
    """
    `processes`: how many to start here, over gloo or NCCL on this host; 0 under torchrun, which has started the other ranks: then this
    one is rank 0 of theirs and cannot be started again alone. `command` starts a compute process. `options` are those of Engine.start.
    `start_seconds`: how long the processes may take to find each other and to check their kernels.
    """

    def __init__(self, processes: int, options: dict, command: tuple[str, ...] = COMMAND, start_seconds: float = 1800):
        self._processes, self._options, self._command, self._start_seconds = processes, options, command, start_seconds
        self._meeting: tempfile.TemporaryDirectory | None = None
        self._children: list[subprocess.Popen] = []
        self._link: Link | None = None
        self._answer: asyncio.Future | None = None
        self._emit: Callable[[dict], None] = lambda event: None
        self._run = 0
        self._watching: asyncio.Task | None = None
        self.facts: dict = {}
        #: Set when a process has ended by itself; `start` clears it.
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
        """Starts the processes; what rank 0 says of the machine. Raises Died."""
        loop = asyncio.get_running_loop()
        self._death = None
        self.died.clear()
        self._answer = loop.create_future()
        ours, theirs = socket.socketpair()
        self._link = Link(ours)
        ranks = max(1, self._processes)
        self._meeting = tempfile.TemporaryDirectory(prefix="ringside-")
        self._children = []
        for rank in range(ranks):
            env = dict(os.environ)
            if self._processes > 1:
                env |= {
                    "RANK": str(rank),
                    "WORLD_SIZE": str(ranks),
                    "LOCAL_RANK": str(rank),
                    "LOCAL_WORLD_SIZE": str(ranks),
                }
                # All are on this host: they meet in a file and speak over loopback, so nothing but the server listens
                # to the network.
                env[STORE_FILE] = os.path.join(self._meeting.name, "store")
                for name in (INTERFACE, "NCCL_SOCKET_IFNAME"):
                    env.setdefault(name, LOOPBACK)
                env.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // ranks)))
            arguments = [*self._command, json.dumps(self._options)] + ([str(theirs.fileno())] if rank == 0 else [])
            # A session of its own: Ctrl-C reaches the server alone. A pipe as standard input: it closes when the server
            # is gone.
            self._children.append(
                subprocess.Popen(
                    arguments,
                    env=env,
                    stdin=subprocess.PIPE,
                    stdout=sys.stderr,
                    start_new_session=True,
                    pass_fds=[theirs.fileno()] if rank == 0 else [],
                )
            )
        theirs.close()
        answer, link = self._answer, self._link
        threading.Thread(target=self._read, args=(loop, link, answer), daemon=True).start()
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

    async def run(
        self, method: str, params: dict, inputs: list[tuple[dict, Block]], emit: Callable[[dict], None]
    ) -> tuple[dict, list[tuple[dict, Block]]]:
        """
        One run. `inputs`: descriptions `{name, dtype, shape, bytes}` with their bytes; likewise what comes back beside the value, which the caller closes.
        `emit` is called on the event loop. Raises RunRefused, RunCancelled, Died. One at a time.
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
            await loop.run_in_executor(None, self._link.send, message, [block for _, block in inputs])
        except OSError:
            pass  # The watch says who died.
        answer = await self._answer
        if "done" in answer:
            return answer["value"], list(zip(answer["tensors"], answer["blocks"], strict=True))
        if "cancelled" in answer:
            raise RunCancelled
        if answer.get("code") in ("rank-died", "worker-failed"):
            # A rank sees that another is gone before the system tells its parent: which one, and how it ended, says
            # more than a broken connection.
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
        raise RunRefused(answer["code"], answer["message"], answer["details"])

    def cancel(self) -> None:
        """Tells the engine to end its run soon."""
        link, number = self._link, self._run

        def tell() -> None:
            try:
                link.send({"cancel": number})
            except OSError:
                pass

        asyncio.get_running_loop().run_in_executor(None, tell)

    async def end(self) -> None:
        """Lets the engine end in order, in bounded time."""
        self._look_away()
        if self._link is not None:
            try:
                await asyncio.get_running_loop().run_in_executor(None, self._link.send, {"close": True})
            except OSError:
                pass
        await self._gone(END_SECONDS)
        await self.kill()

    async def kill(self) -> None:
        """Ends the processes now; a run in progress ends with Died."""
        self._look_away()
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
        if self._link is not None:
            self._link.close()
        self._death = self._death or Died("the compute processes were ended")
        self._settle(self._answer, self._death)

    def _look_away(self) -> None:
        """These processes may end now."""
        if self._watching is not None:
            self._watching.cancel()

    async def _gone(self, seconds: float) -> None:
        """Until all have ended, or the time is over."""
        for _ in range(int(seconds / 0.02)):
            if all(child.poll() is not None for child in self._children):
                return
            await asyncio.sleep(0.02)

    async def _watch(self, children: list[subprocess.Popen]) -> None:
        """Says who died: not the first that was found to have ended, if that one only lost another."""
        patience = WITNESS_SECONDS
        while True:
            ended = {rank: status for rank, child in enumerate(children) if (status := child.poll()) is not None}
            died = next((rank for rank, status in ended.items() if status != LOST), None)
            if died is not None:
                status = ended[died]
                how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
                # What the process said last is still on its way.
                await asyncio.sleep(0.1)
                return self._lost(
                    self._link, Died(f"the compute process of rank {died} ended {how}", died, "rank-died")
                )
            if ended and (patience := patience - 0.05) < 0:
                # Rank 0 would have said whom it lost.
                silent = (
                    next(rank for rank in range(len(children)) if rank not in ended)
                    if len(ended) < len(children)
                    else 0
                )
                return self._lost(
                    self._link, Died(f"rank {silent} is silent: the others waited for it in vain", silent, "rank-died")
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

    def _read(self, loop: asyncio.AbstractEventLoop, link: Link, started: asyncio.Future) -> None:
        """In a thread of its own: what rank 0 says. It hands over one message at a time, so that a busy event loop holds back the engine."""
        try:
            while (received := link.receive()) is not None:
                message, fds = received
                message["blocks"] = [
                    Block(tensor["bytes"], fd) for tensor, fd in zip(message.get("tensors", []), fds, strict=True)
                ]
                handled = threading.Event()
                loop.call_soon_threadsafe(self._hear, message, started, handled)
                handled.wait()
        except Exception as error:
            # A worker that no longer hears its engine would wait for ever: this counts as the engine's end.
            deaf = Died(f"what rank 0 said could not be taken in: {type(error).__name__}: {error}", 0, "rank-died")
            try:
                loop.call_soon_threadsafe(self._lost, link, deaf)
            except RuntimeError:
                pass  # The event loop has ended, and the worker with it.

    def _lost(self, link: Link, death: Died) -> None:
        """The processes behind this link are of no use any more."""
        if link is not self._link or self._death is not None:
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
                    for block in message["blocks"]:
                        block.close()
        finally:
            handled.set()
