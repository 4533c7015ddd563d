"""The server: who is connected, whose sessions there are, and one run at a time on the compute processes. Nothing here blocks the event loop."""

from __future__ import annotations

import asyncio
import http
import logging
import ssl
import sys
import time
import traceback
from dataclasses import dataclass

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from .auth import Origins
from .connection import CLOSE_GOING, CLOSE_MANY, CLOSE_STALLED, Call, Connection, Ended, Refusal
from .door import Doorstep, Full, doors
from .group import Died, Group, RunCancelled, RunRefused
from .limits import Limits
from .queue import Line
from .wire import PROTOCOL, SUBPROTOCOL, check_facts

#: A cancelled run is over for its client after this, whatever the engine does: the protocol says a second.
CANCEL_SECONDS = 0.8
CAPABILITIES = ["attend", "session", "layer", "bench"]


@dataclass
class Session:
    """A session of the engine's. `number` is the engine's, None before it is open; `lost` says why it is no more."""

    owner: Connection
    heads: int
    head_dim: int
    number: int | None = None
    lost: str | None = None


class Server:
    """`token`: what a hello must bear. `log` takes lines that never hold it."""

    def __init__(
        self,
        group: Group,
        token: str,
        origins: Origins,
        limits: Limits,
        log=lambda line: print(line, file=sys.stderr, flush=True),
    ):
        self.limits, self.token, self.log = limits, token, log
        self._group, self._origins = group, origins
        self._begun = time.monotonic()
        self._doorstep, self._said_full = Doorstep(limits.pending), -60.0
        self._connections: set[Connection] = set()
        self._sessions: dict[int, Session] = {}
        self._last_session = 0
        self._input_bytes = 0
        self._state = "starting"
        self._wake = asyncio.Event()
        self.line = Line(limits.queue, lambda owner: owner is None or not owner.outbox.delivering)
        #: Set to a reason when the worker cannot go on.
        self.broken: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    # ---- life
    # -------------------------------------------------------------------------------------------------------------------------

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> int:
        """Listens, once the engine is ready; the port. Raises Died, or OSError where the address cannot be had."""
        asyncio.get_running_loop().set_exception_handler(self._unhandled)
        quiet = logging.getLogger("ringside_worker.websockets")
        quiet.setLevel(logging.CRITICAL)
        self._listeners = [
            await serve(
                self._accept,
                sock=door,
                ssl=tls,
                start_serving=False,
                **({"ssl_handshake_timeout": self.limits.hello_seconds} if tls else {}),
                process_request=self._request,
                select_subprotocol=lambda *_: SUBPROTOCOL,
                compression=None,
                server_header=None,
                max_size=self.limits.frame_bytes,
                max_queue=4,
                open_timeout=self.limits.hello_seconds,
                ping_interval=20,
                ping_timeout=60,
                close_timeout=1,
                logger=quiet,
            )
            for door in doors(host, port, self._doorstep)
        ]
        try:
            await self._group.start()
            check_facts(self._group.facts)
        except BaseException:
            for listener in self._listeners:
                listener.close()
            raise
        for listener in self._listeners:
            await listener.start_serving()
        self._state = "ready"
        self._tasks = [asyncio.create_task(self._work()), asyncio.create_task(self._keep_house())]
        for task in self._tasks:
            task.add_done_callback(self._task_ended)
        return self._listeners[0].sockets[0].getsockname()[1]

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict) -> None:
        if not isinstance(context.get("exception"), Full):
            return loop.default_exception_handler(context)
        if time.monotonic() - self._said_full > 60:
            self._said_full = time.monotonic()
            self.log(
                f"found {self.limits.pending} sockets that say no hello: new ones wait their turn (--limit pending)"
            )

    async def stop(self, why: str) -> None:
        """Tells every client, and ends the engine in order, in bounded time."""
        for listener in self._listeners:
            listener.close(close_connections=False)
        for task in self._tasks:
            task.cancel()
        for connection in list(self._connections):
            for call in list(connection.calls.values()):
                self.line.leave(call)
                connection.fail(call, Refusal("shutting-down", why))
        await asyncio.gather(
            *(connection.end(Ended("shutting-down", why, CLOSE_GOING)) for connection in list(self._connections))
        )
        if self.line.running is not None:
            self._group.cancel()
        await self._group.end()

    def _task_ended(self, task: asyncio.Task) -> None:
        if not task.cancelled() and task.exception() is not None and not self.broken.done():
            self.broken.set_result(f"{type(task.exception()).__name__}: {task.exception()}")

    # ---- who may come in
    # --------------------------------------------------------------------------------------------------------------

    def _request(self, connection: ServerConnection, request: Request) -> Response | None:
        if not self._origins.allows(request.headers.get_all("Origin")):
            self.log("refused: a page of an origin that is not allowed")
            return connection.respond(
                http.HTTPStatus.FORBIDDEN,
                "bad-origin: this page's origin is not allowed; start the worker with --origin and the page's scheme and host\n",
            )
        offered = ",".join(request.headers.get_all("Sec-WebSocket-Protocol"))
        if SUBPROTOCOL not in (name.strip() for name in offered.split(",")):
            what = ascii(offered[:80]) if offered else "no subprotocol"
            return connection.respond(
                http.HTTPStatus.BAD_REQUEST,
                f"Sec-WebSocket-Protocol: found {what}, expected {SUBPROTOCOL}: use Ringside's client, of this version\n",
            )
        if request.path != "/":
            return connection.respond(
                http.HTTPStatus.NOT_FOUND,
                "expected the path /; the token goes into the hello message, never into the address\n",
            )
        return None

    async def _accept(self, socket: ServerConnection) -> None:
        await Connection(self, socket).serve()

    def admit(self, connection: Connection) -> None:
        """A client with the right hello. Raises Ended."""
        if len(self._connections) >= self.limits.connections:
            most = self.limits.connections
            raise Ended(
                "too-many-connections",
                f"found {most} connections, the most this worker takes: close one, or come again later",
                CLOSE_MANY,
            )
        self._doorstep.entered(connection.descriptor)
        self._connections.add(connection)
        self.log(f"{connection.name} is connected ({len(self._connections)} of {self.limits.connections})")

    def forget(self, connection: Connection) -> None:
        """A client is gone: its calls end, and its sessions are closed."""
        for call in list(connection.calls.values()):
            call.stop.set()
            if self.line.leave(call):
                self.release(call)
        connection.calls.clear()
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        self.log(f"{connection.name} is gone")
        for number, session in list(self._sessions.items()):
            if session.owner is connection:
                self._drop_session(number)
        self.wake()

    def welcome(self) -> dict:
        return {
            "type": "welcome",
            "protocol": PROTOCOL,
            "facts": self._group.facts,
            "limits": self.limits.told(),
            "capabilities": CAPABILITIES,
        }

    def health(self) -> dict:
        """The value of a health call."""
        return {
            "state": "running" if self.line.running is not None and self._state == "ready" else self._state,
            "waiting": len(self.line.waiting),
            "connections": len(self._connections),
            "sessions": self._open_sessions(),
            "seconds": round(time.monotonic() - self._begun, 3),
        }

    # ---- calls
    # ------------------------------------------------------------------------------------------------------------------------

    def check(self, connection: Connection, method: str, params: dict, input_bytes: int) -> None:
        """May this call join the line? Raises Refusal."""
        limits = self.limits
        if self.line.full:
            raise Refusal(
                "queue-full",
                f"found {len(self.line.waiting)} calls waiting, expected fewer than {limits.queue}: send it again later",
            )
        if input_bytes > limits.tensor_bytes:
            raise Refusal(
                "too-large",
                f"params.tensors: found {input_bytes} bytes, expected at most {limits.tensor_bytes}: send less, or take seeded inputs, which need not travel",
            )
        if self._input_bytes + input_bytes > limits.tensor_bytes:
            raise Refusal(
                "queue-full",
                f"found {self._input_bytes} bytes of tensors waiting and {input_bytes} more, expected at most {limits.tensor_bytes} in all: send it again later",
            )
        if method == "session.open":
            count = self._open_sessions() + sum(
                call.method == method for call in [*self.line.waiting, self.line.running] if call is not None
            )
            if count >= limits.sessions:
                raise Refusal(
                    "too-many-sessions",
                    f"found {count} sessions open, the most this worker takes: close one, or come again later",
                )
            return
        if "session" in params:
            session = self._session(connection, params["session"])
            heads, head_dim, rows = (
                session.heads,
                session.head_dim,
                sum(entry["new"] for entry in params.get("batch", [])),
            )
        elif method == "attend":
            heads, head_dim, rows = (
                params["heads"],
                params["headDim"],
                sum(sequence["new"] for sequence in params["sequences"]),
            )
        else:
            return
        if params.get("output") == "rows":
            if "rows" not in params:
                raise Refusal("bad-input", 'params.rows: found nothing, expected rows, since output is "rows"')
            return
        output_bytes = 4 * rows * heads * (head_dim + 1)
        if params.get("output") == "full" and output_bytes > limits.tensor_bytes:
            raise Refusal(
                "too-large",
                f'params.output: found "full", whose out and lse are {output_bytes} bytes, expected at most {limits.tensor_bytes}: ask for rows',
            )

    def join(self, call: Call) -> None:
        self._input_bytes += call.bytes
        self.line.join(call)
        self.wake()

    def release(self, call: Call) -> None:
        """Gives back what a call held."""
        if call.ended:
            return
        call.ended = True
        self._input_bytes -= call.bytes
        for _, inbound, block in call.inputs:
            if call.owner is not None:
                call.owner.streams.open.pop(inbound.stream, None)
            inbound.buffer = memoryview(b"")
            block.close()

    def wake(self) -> None:
        """Something has changed for the line."""
        if self.line.running is not None or self._state != "ready":
            self._tell_places()
        self._wake.set()

    async def _work(self) -> None:
        """One run after the other, as long as the server lives."""
        while True:
            if self._group.died.is_set():
                await self._restart("a compute process ended")
            call = self.line.next()
            self._tell_places()
            if call is None:
                await self._something()
                continue
            if call.owner is not None:
                call.owner.outbox.message({"type": "queued", "id": call.id, "place": 0})
            begun = time.monotonic()
            try:
                outcome = await self._do(call)
            except Died:
                raise
            except Exception as error:
                # Whatever goes wrong with a call is that call's failure: the line goes on.
                self.log("".join(traceback.format_exception(error)))
                outcome = "worker-failed"
                self._end(call, Refusal(outcome, f"{type(error).__name__}: {error}"))
            self.line.done()
            self.log(
                f"{call.owner.name if call.owner else 'worker'}: {call.method} {call.id}: {outcome} after {time.monotonic() - begun:.3f} s"
            )

    async def _something(self) -> None:
        waits = [asyncio.ensure_future(event.wait()) for event in (self._wake, self._group.died)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        self._wake.clear()

    def _tell_places(self) -> None:
        for call, place in self.line.news():
            if call.owner is not None:
                call.owner.outbox.message({"type": "queued", "id": call.id, "place": place})

    async def _do(self, call: Call) -> str:
        """Runs one call to its end; in a word what came of it."""
        try:
            params = call.params
            if "session" in params and call.owner is not None:
                params = params | {"session": self._session(call.owner, params["session"]).number}
        except Refusal as refusal:
            call.owner.fail(call, refusal)
            return refusal.code
        inputs = [(described, block) for described, _, block in call.inputs]
        run = asyncio.create_task(self._group.run(call.method, params, inputs, lambda event: self._event(call, event)))
        # When the server stops, nobody waits for it any more.
        run.add_done_callback(lambda task: task.cancelled() or task.exception())
        late = await self._ended(call, run)
        try:
            value, tensors = await run
        except RunCancelled:
            refusal = late or Refusal("cancelled", "cancelled")
        except RunRefused as refused:
            refusal = Refusal(refused.code, refused.message, refused.details)
        except Died as died:
            next_step = (
                "starts its compute processes again, and all sessions are lost: send the call again, or a smaller one"
                if self._group.restartable
                else "ends, since torchrun's other ranks cannot be joined again"
            )
            refusal = Refusal(died.code, f"{died}; the worker {next_step}", died.details)
            self._end(call, refusal)
            await self._restart(str(died))
        else:
            return self._finish(call, value, tensors)
        self._end(call, refusal)
        return refusal.code

    async def _ended(self, call: Call, run: asyncio.Task) -> Refusal | None:
        """Waits for a run; stops it when it is cancelled or takes too long, and then kills what does not stop. Why it was stopped, if it was."""
        stop = asyncio.ensure_future(call.stop.wait())
        await asyncio.wait({run, stop}, timeout=self.limits.run_seconds, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if run.done():
            return None
        seconds = self.limits.run_seconds
        why = (
            Refusal("cancelled", "cancelled")
            if call.stop.is_set()
            else Refusal(
                "time-limit", f"the run took longer than {seconds:g} s, the most this worker gives: send a smaller one"
            )
        )
        self._group.cancel()
        await asyncio.wait({run}, timeout=CANCEL_SECONDS)
        if not run.done():
            self._end(call, why)
            await asyncio.wait({run}, timeout=self.limits.kill_seconds)
        if not run.done():
            self.log(
                f"the compute processes did not stop within {CANCEL_SECONDS + self.limits.kill_seconds:g} s and are killed"
            )
            await self._group.kill()
        return why

    def _end(self, call: Call, refusal: Refusal) -> None:
        if call.owner is not None:
            call.owner.fail(call, refusal)
        else:
            self.release(call)

    def _finish(self, call: Call, value: dict, tensors: list) -> str:
        """A run that gave a result."""
        owner, wanted = call.owner, call.owner is not None and call.id in call.owner.calls
        if call.method == "session.open" and owner is not None:
            self._last_session += 1
            self._sessions[self._last_session] = Session(
                owner, call.params["heads"], call.params["headDim"], value["session"]
            )
            value = value | {"session": self._last_session}
            if not wanted:
                self._drop_session(self._last_session)
        elif call.method == "session.close" and owner is not None:
            self._sessions.pop(call.params["session"], None)
        elif owner is not None and not wanted and call.params.get("session") in self._sessions:
            # Its client was told "cancelled", which leaves a session as it was; this step came through nevertheless.
            self._drop_session(call.params["session"], "a cancelled step of it came through too late to be undone")
        size = sum(described["bytes"] for described, _ in tensors)
        if wanted and size <= self.limits.tensor_bytes:
            owner.succeed(call, value, tensors)
            return "done"
        for _, block in tensors:
            block.close()
        self._end(
            call,
            Refusal(
                "too-large",
                f"found a result of {size} bytes, expected at most {self.limits.tensor_bytes}: ask for rows",
            ),
        )
        return "not wanted any more" if owner is not None and not wanted else "done"

    def _event(self, call: Call, event: dict) -> None:
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
        self._state = "starting"
        self.log(f"{why}: starting again")
        for call in [call for call in self.line.waiting if call.owner is None]:
            self.line.leave(call)
        for session in self._sessions.values():
            session.lost = session.lost or f"lost when the compute processes ended ({why})"
        await self._group.kill()
        if not self._group.restartable:
            if not self.broken.done():
                self.broken.set_result(
                    f"{why}; under torchrun the other ranks cannot be joined again, so the worker ends"
                )
            await asyncio.Event().wait()
        for attempt in range(3):
            try:
                await self._group.start()
                self._state = "ready"
                return
            except Died as died:
                why = str(died)
                self.log(f"attempt {attempt + 1} of 3 failed: {why}")
        raise Died(f"the compute processes cannot be started: {why}")

    # ---- sessions
    # ---------------------------------------------------------------------------------------------------------------------

    def _open_sessions(self) -> int:
        return sum(session.lost is None for session in self._sessions.values())

    def _session(self, connection: Connection, number: int) -> Session:
        session = self._sessions.get(number)
        if session is None or session.owner is not connection:
            raise Refusal("unknown-session", f"params.session: found {number}, which is no session of this connection")
        if session.lost is not None:
            raise Refusal(
                "unknown-session", f"session {number} was {session.lost}: open a new one and give it its rows again"
            )
        return session

    def _drop_session(self, number: int, lost: str | None = None) -> None:
        """Closes a session in the engine; with `lost` its client still gets to hear why."""
        session = self._sessions[number]
        if lost is None:
            del self._sessions[number]
        if session.lost is None and session.number is not None:
            self.line.join(Call(None, 0, "session.close", {"session": session.number}, []))
            self.wake()
        session.lost = session.lost or lost

    # ---- time
    # -------------------------------------------------------------------------------------------------------------------------

    async def _keep_house(self) -> None:
        """Ends what takes too long."""
        limits = self.limits
        while True:
            await asyncio.sleep(min(0.25, limits.stall_seconds / 4))
            now = time.monotonic()
            for connection in list(self._connections):
                if connection.outbox.stalled(limits.stall_seconds):
                    connection.end(
                        Ended(
                            "time-limit", f"the client has taken nothing for {limits.stall_seconds:g} s", CLOSE_STALLED
                        )
                    )
                elif not connection.calls and connection.outbox.idle and now - connection.heard > limits.idle_seconds:
                    connection.end(Ended("time-limit", f"no message for {limits.idle_seconds:g} s", CLOSE_STALLED))
                for call in list(connection.calls.values()):
                    if not call.ready and (
                        now - call.moved > limits.stall_seconds or now - call.begun > limits.run_seconds
                    ):
                        self.line.leave(call)
                        connection.fail(
                            call,
                            Refusal(
                                "time-limit",
                                f"the bytes of its tensors stopped coming for {limits.stall_seconds:g} s, or took longer than {limits.run_seconds:g} s",
                            ),
                        )
                        self.wake()
