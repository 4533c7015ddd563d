"""Runs calls on the compute processes, one at a time, and restarts the processes if one dies. No socket here."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Callable

from .call import Call, Client
from .client_sessions import ClientSession, ClientSessions
from .errors import Cancelled, Refused
from .limits import Limits
from .processes import ComputeProcesses, Died
from .queue import CallQueue

#: A cancelled run ends for its client after this, whatever the engine does: the protocol promises one second.
CANCEL_SECONDS = 0.8


class Runner:
    """The queue of calls, the clients' sessions, and the compute processes that run them."""

    def __init__(self, processes: ComputeProcesses, limits: Limits, log: Callable[[str], None]):
        self.processes, self.limits, self.log = processes, limits, log
        self.queue = CallQueue(limits.queue, lambda owner: owner is None or not owner.outbox.delivering)
        self.sessions = ClientSessions(self._close_in_engine)
        self.state = "starting"
        self._input_bytes = 0
        self._wake = asyncio.Event()
        #: Resolves to a reason when the worker cannot go on.
        self.broken: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    # Calls that come and go

    def check(self, client: Client, method: str, params: dict, input_bytes: int) -> None:
        """May this call join the queue? Raises Refused."""
        limits = self.limits
        if self.queue.full:
            raise Refused(
                "queue-full",
                f"found {len(self.queue.waiting)} calls waiting, expected fewer than {limits.queue}: "
                "send it again later",
            )
        if input_bytes > limits.tensor_bytes:
            raise Refused(
                "too-large",
                f"params.tensors: found {input_bytes} bytes, expected at most {limits.tensor_bytes}: "
                "send less, or use seeded inputs, which need not travel",
            )
        if self._input_bytes + input_bytes > limits.tensor_bytes:
            raise Refused(
                "queue-full",
                f"found {self._input_bytes} bytes of tensors waiting and {input_bytes} more, "
                f"expected at most {limits.tensor_bytes} in all: send it again later",
            )
        if method == "session.open":
            count = self.sessions.open + sum(
                call.method == method for call in [*self.queue.waiting, self.queue.running] if call is not None
            )
            if count >= limits.sessions:
                raise Refused(
                    "too-many-sessions",
                    f"found {count} sessions open, the most this worker takes: close one, or come again later",
                )
            return
        if "session" in params:
            session = self.sessions.find(client, params["session"])
            heads, value_dim = session.heads, session.value_dim
            rows = sum(entry["new"] for entry in params.get("batch", []))
        elif method == "attend":
            heads, value_dim = params["heads"], value_dim_of(params)
            rows = sum(sequence["new"] for sequence in params["sequences"])
        else:
            return
        if params.get("output") == "rows":
            if "rows" not in params:
                raise Refused("bad-input", 'params.rows: found nothing, expected rows, since output is "rows"')
            return
        output_bytes = 4 * rows * heads * (value_dim + 1)
        if params.get("output") == "full" and output_bytes > limits.tensor_bytes:
            raise Refused(
                "too-large",
                f'params.output: found "full", whose out and lse are {output_bytes} bytes, '
                f"expected at most {limits.tensor_bytes}: ask for rows",
            )

    def join(self, call: Call) -> None:
        self._input_bytes += call.bytes
        self.queue.join(call)
        self.wake()

    def release(self, call: Call) -> None:
        """Frees what a call held."""
        if call.ended:
            return
        call.ended = True
        self._input_bytes -= call.bytes
        for _, inbound, shared in call.inputs:
            if call.owner is not None:
                call.owner.streams.open.pop(inbound.stream, None)
            inbound.buffer = memoryview(b"")
            shared.close()

    def forget(self, client: Client) -> None:
        """A client is gone: its calls end."""
        for call in list(client.calls.values()):
            call.stop.set()
            if self.queue.leave(call):
                self.release(call)
        client.calls.clear()

    def wake(self) -> None:
        """The queue has changed."""
        if self.queue.running is not None or self.state != "ready":
            self._send_places()
        self._wake.set()

    def _send_places(self) -> None:
        for call, place in self.queue.news():
            if call.owner is not None:
                call.owner.outbox.message({"type": "queued", "id": call.id, "place": place})

    def _close_in_engine(self, number: int) -> None:
        self.queue.join(Call(None, 0, "session.close", {"session": number}, []))
        self.wake()

    # The run

    async def work(self) -> None:
        """Runs one call after another, as long as the server lives."""
        while True:
            if self.processes.died.is_set():
                await self._restart("a compute process ended")
            call = self.queue.next()
            self._send_places()
            if call is None:
                await self._something()
                continue
            if call.owner is not None:
                call.owner.outbox.message({"type": "queued", "id": call.id, "place": 0})
            begun = time.monotonic()
            try:
                outcome = await self._run(call)
            except Died:
                raise
            except Exception as error:  # noqa: BLE001 - whatever goes wrong with a call is that call's failure alone
                self.log("".join(traceback.format_exception(error)))
                outcome = "worker-failed"
                self._end(call, Refused(outcome, f"{type(error).__name__}: {error}"))
            self.queue.done()
            who, seconds = call.owner.name if call.owner else "worker", time.monotonic() - begun
            self.log(f"{who}: {call.method} {call.id}: {outcome} after {seconds:.3f} s")

    async def _something(self) -> None:
        """Waits until the queue changes or a process dies."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self._wake, self.processes.died)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        self._wake.clear()

    async def _run(self, call: Call) -> str:
        """Runs one call to its end. Returns the outcome in a word, for the log."""
        try:
            params = call.params
            if "session" in params and call.owner is not None:
                params = params | {"session": self.sessions.find(call.owner, params["session"]).number}
        except Refused as error:
            call.owner.fail(call, error)
            return error.code
        inputs = [(described, shared) for described, _, shared in call.inputs]
        run = asyncio.create_task(
            self.processes.run(call.method, params, inputs, lambda event: self._event(call, event))
        )
        # When the server stops, nobody awaits this task any more.
        run.add_done_callback(lambda task: task.cancelled() or task.exception())
        stopped = await self._ended(call, run)
        try:
            value, tensors = await run
        except Cancelled:
            error = stopped or Refused("cancelled", "cancelled")
        except Refused as refused:
            error = refused
        except Died as died:
            next_step = (
                "starts its compute processes again, and all sessions are lost: send the call again, or a smaller one"
                if self.processes.restartable
                else "ends, since torchrun's other ranks cannot be joined again"
            )
            error = Refused(died.code, f"{died}; the worker {next_step}", died.details)
            self._end(call, error)
            await self._restart(str(died))
        else:
            return self._finish(call, value, tensors)
        self._end(call, error)
        return error.code

    async def _ended(self, call: Call, run: asyncio.Task) -> Refused | None:
        """
        Waits for a run. Stops it if it is cancelled or takes too long, and kills the processes if it doesn't stop.

        Returns why it was stopped, or None.
        """
        stop = asyncio.ensure_future(call.stop.wait())
        await asyncio.wait({run, stop}, timeout=self.limits.run_seconds, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if run.done():
            return None
        seconds = self.limits.run_seconds
        why = (
            Refused("cancelled", "cancelled")
            if call.stop.is_set()
            else Refused(
                "time-limit", f"the run took longer than {seconds:g} s, the most this worker gives: send a smaller one"
            )
        )
        self.processes.cancel()
        await asyncio.wait({run}, timeout=CANCEL_SECONDS)
        if not run.done():
            self._end(call, why)
            await asyncio.wait({run}, timeout=self.limits.kill_seconds)
        if not run.done():
            seconds = CANCEL_SECONDS + self.limits.kill_seconds
            self.log(f"the compute processes did not stop within {seconds:g} s and are killed")
            await self.processes.kill()
        return why

    def _end(self, call: Call, error: Refused) -> None:
        if call.owner is not None:
            call.owner.fail(call, error)
        else:
            self.release(call)

    def _finish(self, call: Call, value: dict, tensors: list) -> str:
        """A run that gave a result."""
        owner, wanted = call.owner, call.owner is not None and call.id in call.owner.calls
        if call.method == "session.open" and owner is not None:
            number = self.sessions.add(
                ClientSession(owner, call.params["heads"], value_dim_of(call.params), value["session"])
            )
            value = value | {"session": number}
            if not wanted:
                self.sessions.drop(number)
        elif call.method == "session.close" and owner is not None:
            self.sessions.forget(call.params["session"])
        elif owner is not None and not wanted and call.params.get("session") in self.sessions:
            # We have answered "cancelled", which promises that the session stays as it was; but this step took effect.
            self.sessions.drop(call.params["session"], "a cancelled step of it came through too late to be undone")
        size = sum(described["bytes"] for described, _ in tensors)
        if wanted and size <= self.limits.tensor_bytes:
            owner.succeed(call, value, tensors)
            return "done"
        for _, shared in tensors:
            shared.close()
        self._end(
            call,
            Refused(
                "too-large",
                f"found a result of {size} bytes, expected at most {self.limits.tensor_bytes}: ask for rows",
            ),
        )
        return "no longer wanted" if owner is not None and not wanted else "done"

    def _event(self, call: Call, event: dict) -> None:
        """Passes progress and spans on to the client."""
        if call.owner is None or call.id not in call.owner.calls:
            return
        outbox = call.owner.outbox
        if event["type"] == "spans":
            for first in range(0, len(event["spans"]), 1000):
                outbox.message({"type": "spans", "id": call.id, "spans": event["spans"][first : first + 1000]})
        else:
            outbox.message({"id": call.id, **event})

    async def _restart(self, why: str) -> None:
        """Starts the compute processes again after one died."""
        self.state = "starting"
        self.log(f"{why}: starting again")
        for call in [call for call in self.queue.waiting if call.owner is None]:
            self.queue.leave(call)
        self.sessions.lose_all(f"lost when the compute processes ended ({why})")
        await self.processes.kill()
        if not self.processes.restartable:
            if not self.broken.done():
                self.broken.set_result(
                    f"{why}; under torchrun the other ranks cannot be joined again, so the worker ends"
                )
            await asyncio.Event().wait()
        for attempt in range(3):
            try:
                await self.processes.start()
                self.state = "ready"
                return
            except Died as died:
                why = str(died)
                self.log(f"attempt {attempt + 1} of 3 failed: {why}")
        raise Died(f"the compute processes cannot be started: {why}")


def value_dim_of(params: dict) -> int:
    """Dv, the head size of O."""
    return params.get("valueDim", params["headDim"])
