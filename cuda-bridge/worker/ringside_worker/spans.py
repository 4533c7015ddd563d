"""
Spans (engine/trace/span.ts) from marks: of a real run, or of simulated ranks that share one device.

A mark is a CUDA event, or seconds of the host's clock. We read a CUDA event once the device has passed it. So spans
come out a little later, in the order in which their work was submitted.
"""

import time
from collections import deque
from collections.abc import Callable

import torch

KINDS = (
    "compile",
    "upload",
    "attend",
    "merge",
    "download",
    "send",
    "receive",
    "wait",
    "all2all",
    "gemm",
    "allreduce",
    "launch",
)
LANES = ("device", "send", "receive", "host")
LEAST_WAIT = 1e-6
"""Waits shorter than this many seconds give no span."""


def span(
    rank: int,
    lane: str,
    kind: str,
    hop: int,
    start: float,
    duration: float,
    bytes: int = 0,
    flops: float = 0,
    peer: int | None = None,
) -> dict:
    return {
        "rank": rank,
        "lane": lane,
        "kind": kind,
        "hop": hop,
        "start": start,
        "duration": duration,
        "bytes": bytes,
        "flops": flops,
        **({} if peer is None else {"peer": peer}),
    }


class HostClock:
    """For devices on which work is done when the call returns."""

    name = "host"

    def start(self) -> None:
        self._origin = time.perf_counter()

    def mark(self) -> float:
        return time.perf_counter() - self._origin

    def passed(self, mark: float) -> bool:
        return True

    def seconds(self, mark: float) -> float:
        return mark

    def between(self, a: float, b: float) -> float:
        return b - a

    def wait(self, mark: float) -> None:
        pass


class CudaClock:
    """Marks are events of the current stream."""

    name = "cuda-events"

    def __init__(self, timeout: float, lost: Callable[[], Exception]):
        """`lost` makes the error for a device that doesn't finish within `timeout` seconds."""
        self._timeout, self._lost = timeout, lost

    def start(self) -> None:
        torch.cuda.synchronize()
        self._origin = self.mark()

    def mark(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def passed(self, mark: torch.cuda.Event) -> bool:
        return mark.query()

    def seconds(self, mark: torch.cuda.Event) -> float:
        return self._origin.elapsed_time(mark) / 1e3

    def between(self, a: torch.cuda.Event, b: torch.cuda.Event) -> float:
        return a.elapsed_time(b) / 1e3

    def wait(self, mark: torch.cuda.Event) -> None:
        """Polls. A synchronisation would block for ever if the device waits for a message of a dead rank."""
        deadline = time.monotonic() + self._timeout
        while not mark.query():
            if time.monotonic() > deadline:
                raise self._lost()
            time.sleep(5e-5)


class Timeline:
    """The spans of this process's rank, measured."""

    def __init__(self, clock, put: Callable[[dict], None]):
        self.clock, self._put = clock, put
        self._queue: deque = deque()
        self.end = 0.0

    def device(
        self, rank: int, kind: str, hop: int, a, b, bytes: int = 0, flops: float = 0, peer: int | None = None
    ) -> None:
        self.between(rank, "device", kind, hop, a, b, bytes, flops, peer)

    def between(
        self, rank: int, lane: str, kind: str, hop: int, a, b, bytes: int = 0, flops: float = 0, peer: int | None = None
    ) -> None:
        self._queue.append((rank, lane, kind, hop, a, b, bytes, flops, peer))

    def drain(self, everything: bool = False) -> None:
        """Puts out the spans that are known by now. `everything`: waits for the rest too."""
        while self._queue:
            rank, lane, kind, hop, a, b, bytes, flops, peer = self._queue[0]
            if everything:
                self.clock.wait(a)
                self.clock.wait(b)
            elif not (self.clock.passed(a) and self.clock.passed(b)):
                return
            self._queue.popleft()
            start, duration = self.clock.seconds(a), self.clock.between(a, b)
            if kind == "wait" and duration < LEAST_WAIT:
                continue
            self.end = max(self.end, start + duration)
            self._put(span(rank, lane, kind, hop, start, max(0.0, duration), bytes, flops, peer))


class SimulatedTimeline:
    """
    The spans of N ranks that share a device, each rank with its own clock.

    Kernels take their measured time, messages that of the link model: a rank's messages queue for `bandwidth`
    (bytes/s), then take `latency` (s) more. Without a link messages take no time.
    """

    def __init__(self, clock, ranks: int, link: dict | None, put: Callable[[dict], None]):
        self.clock, self._put = clock, put
        self._queue: deque = deque()
        self._at, self._free, self._debt = [0.0] * ranks, [0.0] * ranks, [0.0] * ranks
        self._arrivals: dict[tuple[int, int], tuple[float, int, int]] = {}
        self._parcels: list[list[tuple[float, int, int]]] = [[] for _ in range(ranks)]
        self._rate, self._latency = (1 / link["bandwidth"], link["latency"]) if link else (0.0, 0.0)

    @property
    def end(self) -> float:
        return max(self._at)

    def device(
        self, rank: int, kind: str, hop: int, a, b, bytes: int = 0, flops: float = 0, peer: int | None = None
    ) -> None:
        self._queue.append((b, lambda: self._work(rank, kind, hop, self.clock.between(a, b), bytes, flops, peer)))

    def later(self, rank: int, a, b) -> None:
        """A merge of pass-Q, made as partials come. A real rank merges after the All2All, so its span goes there."""

        def work() -> None:
            self._debt[rank] += self.clock.between(a, b)

        self._queue.append((b, work))

    def send(self, rank: int, to: int, kind: str, hop: int, bytes: int) -> None:
        self._queue.append((None, lambda: self._send(rank, to, kind, hop, bytes)))

    def arrive(self, rank: int, hop: int) -> None:
        """The rank's next work needs the message sent to it at `hop`."""

        def work() -> None:
            at, bytes, peer = self._arrivals.pop((rank, hop))
            self._wait(rank, "wait", hop, at, bytes, peer)

        self._queue.append((None, work))

    def collect(self, rank: int, hop: int) -> None:
        """The rank waits for all other ranks' parcels, then merges."""

        def work() -> None:
            parcels, self._parcels[rank] = self._parcels[rank], []
            self._wait(
                rank, "all2all", hop, max((p[0] for p in parcels), default=0.0), sum(p[1] for p in parcels), None
            )
            if self._debt[rank] > 0:
                self._work(rank, "merge", hop, self._debt[rank], 0, 0, None)
                self._debt[rank] = 0.0

        self._queue.append((None, work))

    def drain(self, everything: bool = False) -> None:
        while self._queue:
            mark, work = self._queue[0]
            if mark is not None and everything:
                self.clock.wait(mark)
            elif mark is not None and not self.clock.passed(mark):
                return
            self._queue.popleft()
            work()

    def _work(self, rank, kind, hop, duration, bytes, flops, peer) -> None:
        self._put(span(rank, "device", kind, hop, self._at[rank], duration, bytes, flops, peer))
        self._at[rank] += duration

    def _send(self, rank, to, kind, hop, bytes) -> None:
        start = self._at[rank]
        self._free[rank] = max(self._free[rank], start) + bytes * self._rate
        end = self._free[rank] + self._latency
        if kind == "ring":
            self._arrivals[to, hop] = (end, bytes, rank)
        else:
            self._parcels[to].append((end, bytes, rank))
        self._put(span(rank, "send", "send" if kind == "ring" else kind, hop, start, end - start, bytes, 0, to))
        self._put(span(to, "receive", "receive" if kind == "ring" else kind, hop, start, end - start, bytes, 0, rank))

    def _wait(self, rank, kind, hop, until, bytes, peer) -> None:
        wait = until - self._at[rank]
        if wait >= LEAST_WAIT:
            self._put(span(rank, "device", kind, hop, self._at[rank], wait, bytes, 0, peer))
            self._at[rank] = until


def times_of(spans: list[dict], total: float) -> dict:
    """Seconds by kind, each that of the rank that spent the most on it (engine/trace/summary.ts)."""

    def longest(*kinds: str) -> float:
        ranks: dict[int, float] = {}
        for s in spans:
            if s["kind"] in kinds and s["lane"] not in ("send", "receive"):
                ranks[s["rank"]] = ranks.get(s["rank"], 0.0) + s["duration"]
        return max(ranks.values(), default=0.0)

    return {
        "compile": longest("compile"),
        "upload": longest("upload"),
        "attend": longest("attend"),
        "exchange": longest("wait", "all2all"),
        "merge": longest("merge"),
        "total": total,
    }
