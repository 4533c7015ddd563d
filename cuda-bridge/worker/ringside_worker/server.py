"""The server: listens, decides who may come in, and ends what takes too long. Nothing here blocks the event loop."""

from __future__ import annotations

import asyncio
import http
import logging
import ssl
import sys
import time
from collections.abc import Callable

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from .auth import Origins
from .connection import CLOSE_GOING, CLOSE_MANY, CLOSE_STALLED, Connection, Ended
from .errors import Refused
from .limits import Limits
from .pending import Full, PendingSockets, listening_sockets
from .processes import ComputeProcesses
from .runner import Runner
from .wire import PROTOCOL, SUBPROTOCOL, check_facts

CAPABILITIES = ["attend", "session", "layer", "bench", "masks"]


def to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class Server:
    """`token`: what every hello must carry. `log` takes lines, which never contain the token."""

    def __init__(
        self,
        processes: ComputeProcesses,
        token: str,
        origins: Origins,
        limits: Limits,
        log: Callable[[str], None] = to_stderr,
    ):
        self.limits, self.token, self.log = limits, token, log
        self.runner = Runner(processes, limits, log)
        self._processes, self._origins = processes, origins
        self._begun = time.monotonic()
        self._pending, self._logged_full = PendingSockets(limits.pending), -60.0
        self._connections: set[Connection] = set()

    # Start and end

    @property
    def broken(self) -> asyncio.Future[str]:
        """Resolves to a reason when the worker cannot go on."""
        return self.runner.broken

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> int:
        """Listens once the engine is ready; the port. Raises Died, or OSError if the address cannot be bound."""
        asyncio.get_running_loop().set_exception_handler(self._unhandled)
        quiet = logging.getLogger("ringside_worker.websockets")
        quiet.setLevel(logging.CRITICAL)
        self._listeners = [
            await serve(
                self._accept,
                sock=listening,
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
            for listening in listening_sockets(host, port, self._pending)
        ]
        try:
            await self._processes.start()
            check_facts(self._processes.facts)
        except BaseException:
            for listener in self._listeners:
                listener.close()
            raise
        for listener in self._listeners:
            await listener.start_serving()
        self.runner.state = "ready"
        self._tasks = [asyncio.create_task(self.runner.work()), asyncio.create_task(self._watch_time())]
        for task in self._tasks:
            task.add_done_callback(self._task_ended)
        return self._listeners[0].sockets[0].getsockname()[1]

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict) -> None:
        if not isinstance(context.get("exception"), Full):
            return loop.default_exception_handler(context)
        if time.monotonic() - self._logged_full > 60:
            self._logged_full = time.monotonic()
            self.log(
                f"found {self.limits.pending} sockets that have not sent hello: new ones have to wait (--limit pending)"
            )

    async def stop(self, why: str) -> None:
        """Tells every client and shuts the engine down properly, in bounded time."""
        for listener in self._listeners:
            listener.close(close_connections=False)
        for task in self._tasks:
            task.cancel()
        for connection in list(self._connections):
            for call in list(connection.calls.values()):
                self.runner.queue.leave(call)
                connection.fail(call, Refused("shutting-down", why))
        await asyncio.gather(
            *(connection.end(Ended("shutting-down", why, CLOSE_GOING)) for connection in list(self._connections))
        )
        if self.runner.queue.running is not None:
            self._processes.cancel()
        await self._processes.end()

    def _task_ended(self, task: asyncio.Task) -> None:
        if not task.cancelled() and task.exception() is not None and not self.broken.done():
            self.broken.set_result(f"{type(task.exception()).__name__}: {task.exception()}")

    # Who may come in

    def _request(self, connection: ServerConnection, request: Request) -> Response | None:
        if not self._origins.allows(request.headers.get_all("Origin")):
            self.log("refused: a page of an origin that is not allowed")
            return connection.respond(
                http.HTTPStatus.FORBIDDEN,
                "bad-origin: this page's origin is not allowed; "
                "start the worker with --origin and the page's scheme and host\n",
            )
        offered = ",".join(request.headers.get_all("Sec-WebSocket-Protocol"))
        if SUBPROTOCOL not in (name.strip() for name in offered.split(",")):
            what = ascii(offered[:80]) if offered else "no subprotocol"
            return connection.respond(
                http.HTTPStatus.BAD_REQUEST,
                f"Sec-WebSocket-Protocol: found {what}, expected {SUBPROTOCOL}: "
                "use Ringside's client, of this version\n",
            )
        if request.path != "/":
            return connection.respond(
                http.HTTPStatus.NOT_FOUND,
                "expected the path /; the token goes into the hello message, never into the address\n",
            )
        return None

    async def _accept(self, socket: ServerConnection) -> None:
        await Connection(self, self.runner, socket).serve()

    def admit(self, connection: Connection) -> None:
        """A client with the right hello. Raises Ended."""
        if len(self._connections) >= self.limits.connections:
            most = self.limits.connections
            raise Ended(
                "too-many-connections",
                f"found {most} connections, the most this worker takes: close one, or come again later",
                CLOSE_MANY,
            )
        self._pending.remove(connection.descriptor)
        self._connections.add(connection)
        self.log(f"{connection.name} is connected ({len(self._connections)} of {self.limits.connections})")

    def forget(self, connection: Connection) -> None:
        """A client is gone: ends its calls and closes its sessions."""
        self.runner.forget(connection)
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        self.log(f"{connection.name} is gone")
        self.runner.sessions.drop_of(connection)
        self.runner.wake()

    def welcome(self) -> dict:
        return {
            "type": "welcome",
            "protocol": PROTOCOL,
            "facts": self._processes.facts,
            "limits": self.limits.for_welcome(),
            "capabilities": CAPABILITIES,
        }

    def health(self) -> dict:
        """The value of a health call."""
        state, queue = self.runner.state, self.runner.queue
        return {
            "state": "running" if queue.running is not None and state == "ready" else state,
            "waiting": len(queue.waiting),
            "connections": len(self._connections),
            "sessions": self.runner.sessions.open,
            "seconds": round(time.monotonic() - self._begun, 3),
        }

    # Time

    async def _watch_time(self) -> None:
        """Ends what takes too long: clients that take or send nothing, and uploads that stop."""
        limits = self.limits
        while True:
            await asyncio.sleep(min(0.25, limits.stall_seconds / 4))
            now = time.monotonic()
            for connection in list(self._connections):
                if connection.outbox.stalled(limits.stall_seconds):
                    why = f"the client has taken nothing for {limits.stall_seconds:g} s"
                    connection.end(Ended("time-limit", why, CLOSE_STALLED))
                elif not connection.calls and connection.outbox.idle and now - connection.heard > limits.idle_seconds:
                    connection.end(Ended("time-limit", f"no message for {limits.idle_seconds:g} s", CLOSE_STALLED))
                for call in list(connection.calls.values()):
                    if not call.ready and (
                        now - call.moved > limits.stall_seconds or now - call.begun > limits.run_seconds
                    ):
                        self.runner.queue.leave(call)
                        connection.fail(
                            call,
                            Refused(
                                "time-limit",
                                f"the bytes of its tensors stopped coming for {limits.stall_seconds:g} s, "
                                f"or took longer than {limits.run_seconds:g} s",
                            ),
                        )
                        self.runner.wake()
