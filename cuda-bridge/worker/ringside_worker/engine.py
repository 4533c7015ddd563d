"""
The compute half of the worker: one Engine a process, rank 0 answers `run`, the others obey it in `serve`.

    engine = Engine.start()            # reads RANK, WORLD_SIZE, LOCAL_RANK as torchrun sets them; one process without them
    if engine.rank != 0: engine.serve(); sys.exit()
    value, tensors = engine.run("attend", params, {}, emit, cancelled)
    engine.close()

Every process runs the same code for a call; what differs by rank is who holds what. A call prepares (checks, memory, buffers, seeded inputs), the ranks agree
that all could, then the ring runs.
"""

import os
import platform
import sys
import time
from collections.abc import Callable

import torch

from . import memory, policy
from .errors import Cancelled, Refused
from .facts import facts, own_device
from .job import HOLDS, Job, Shape, need, need_on_host, require_ranks
from .layout import Block, count
from .merge import Merger
from .ops import Kernels
from .run import Listener, Run
from .session import Session
from .spans import CudaClock, HostClock
from .team import CANCEL, GO, Team
from .tensors import Inputs, check_rows, deliver, gather, operands

__all__ = ["Cancelled", "Engine", "Refused"]

FIRST_RATE = {"cuda": 2e14, "cpu": 2e10}
"""FLOP/s of attention that the first slices reckon with; then what was measured."""

WINDOW = {"cuda": 1 << 27, "cpu": 1 << 22}
"""Elements of inputs made between two looks at `cancelled`."""


class Engine:
    """Everything here blocks; call `run` from one thread at a time (not the event loop's)."""

    def __init__(self, team: Team, device: torch.device, memory_limit: int | None, slice_seconds: float, flex: bool):
        self.crew, self.device, self.rank = team, device, team.rank
        self.team = team
        """Who takes part in the call that runs: the whole crew, or its first ranks."""
        self.clock = CudaClock(team.timeout, self._device_lost) if device.type == "cuda" else HostClock()
        self.kernels, self.merger = Kernels(device, flex), Merger(device)
        self.rate = FIRST_RATE[device.type]
        self._limit, self._slice = memory_limit, slice_seconds
        self._sessions: dict[int, Session] = {}
        self._last = self._number = 0
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
        Joins the process group if there is one, and runs the kernels' self-check (seconds). Raises Alone.
        `device`: "cpu", "cuda" or None (CUDA where there is one). `timeout`: seconds after which a peer that is silent in a run is lost;
        `patience`: the same at the start and while calls are prepared, where one rank may compile for minutes.
        `memory_limit`: bytes that a run may take in place of what is free. `slice_seconds`: work between two looks at `cancelled`. `flex`: try flex_attention too, whose compilation is slow.
        """
        rank, world, local = (
            int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
        )
        kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
        chosen = torch.device(kind, local) if kind == "cuda" else torch.device("cpu")
        if kind == "cuda":
            torch.cuda.set_device(chosen)
        elif world > 1 and "OMP_NUM_THREADS" not in os.environ:  # processes of a host would each take all its cores
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", world))))
        engine = cls(Team.start(rank, world, chosen, timeout, patience), chosen, memory_limit, slice_seconds, flex)
        engine.together(lambda: engine.kernels.ready(torch.bfloat16 if kind == "cuda" else torch.float32, 16, 1, 128))
        engine._measure_rates()
        engine.devices = engine.team.share(own_device(chosen))
        return engine

    @property
    def world(self) -> int:
        """Processes of the call that runs; all of them between calls."""
        return self.team.world

    def facts(self) -> dict:
        """Devices, memory, versions, kernels with self-check results, processes, backend (the protocol's `facts`)."""
        return facts(self)

    def run(
        self, method: str, params: dict, inputs: dict, emit: Callable[[dict], None], cancelled: Callable[[], bool]
    ) -> tuple[dict, dict]:
        """
        One of "attend", "session.open", "session.prefill", "session.decode", "session.evict", "session.close", "layer", "bench", "health".
        `inputs`: torch tensors or NumPy arrays by name. `emit` takes {"type": "progress", "done", "total", "note"} and
        {"type": "spans", "spans"} from this thread as they happen; `cancelled` is asked several times a second.
        Returns the value and f32 NumPy arrays by name. Raises Refused or Cancelled; the engine is ready for the next run unless
        `Refused.code` is "rank-died".
        """
        if method == "health":
            return {}, {}
        if method == "bench":
            from .gpu_check import bench

            return bench(self, params.get("quick", False), emit, cancelled), {}
        if method not in self._METHODS:
            raise Refused(
                "bad-input", f"method: found {method!r}, expected one of {', '.join(self._METHODS)}, bench, health"
            )
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)  # a setting of each thread
        params = {**params, **self._chosen(method, params)}
        if method == "session.open":
            params["number"] = self._last + 1
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

        def look() -> bool:
            """On rank 0: pass a cancellation seen during preparation on to the others."""
            asked = cancelled()
            if asked and self.world > 1:
                self.team.tell_cancel(command["run"])
            return asked

        return self._perform(command, inputs, Listener(emit, cancelled, look))

    def cancel(self, run: int) -> None:
        """From any thread: a run of this number is cancelled, though this one may just wait for the others to prepare."""
        self.crew.tell_cancel(run)

    @property
    def number(self) -> int:
        """Of the run in progress, or of the last."""
        return self._number

    def _ranks(self, p: dict) -> int:
        """How many processes take part. Raises Refused before any other hears of the call."""
        if self.crew.world == 1:
            return 1
        ranks = self._session(p).shape.ranks if "session" in p else p["ranks"]
        require_ranks(ranks, self.crew.world)
        return ranks

    def serve(self) -> bool:
        """What ranks other than 0 do: obeys rank 0 until it closes (True), or is lost as others are (False)."""
        while True:
            try:
                command = self.crew.command()
                if command["method"] == "stop":
                    return True
                if self.rank < command["ranks"]:
                    self._perform(command, {}, Listener(None, None, lambda: self.team.is_told()))
                else:
                    self.crew.of(command["ranks"])
            except Cancelled:
                pass
            except Refused as error:
                if error.code == "rank-died":
                    print(f"rank {self.rank}: {error}", file=sys.stderr, flush=True)
                    return False

    def close(self) -> None:
        """Ends `serve` in the other ranks and leaves the process group."""
        if self.rank == 0 and self.crew.world > 1 and self.crew.lost is None:
            self.crew.command({"method": "stop"})
        self.crew.close()

    def free(self, device: torch.device | None = None) -> int:
        """Bytes that a run may take on this process's device, or on the host; processes that share a host's memory have a part each."""
        device = device or self.device
        sharing = (
            sum(d["kind"] == "cpu" and d["host"] == self.devices[self.rank]["host"] for d in self.devices[: self.world])
            if device.type == "cpu"
            else 1
        )
        found = int(memory.free_on(device) * memory.MARGIN) // max(1, sharing)
        return found if self._limit is None else min(found, self._limit)

    def _perform(self, command: dict, inputs: dict, listener: Listener) -> tuple[dict, dict]:
        try:
            self.team = self.crew if self.crew.world == 1 else self.crew.of(command["ranks"])
            self.team.begin(command["run"])
            # Preparation is patient, so whoever is gone or stopped meanwhile is found before it.
            self.team.share(None)
            return self._METHODS[command["method"]](self, command["params"], inputs, listener, command["slice"])
        except (Refused, Cancelled):
            raise
        except Exception as error:
            code = "worker-failed" if self._device_works() else "rank-died"
            raise Refused(code, f"rank {self.rank}: {type(error).__name__}: {error}") from error
        finally:
            self.team = self.crew

    def _device_works(self) -> bool:
        """After an error: some of CUDA's, such as an illegal address, leave the process without its device for good."""
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

    def together(self, prepare: Callable):
        """What every rank can do by itself, some minutes longer than others, then whether all could. Errors are everybody's."""
        error, made = None, None
        try:
            made = prepare()
        except Exception as found:
            error = found
        self.team.agree(error, patient=True)
        return made

    def _attend(self, p: dict, inputs: dict, listener: Listener, slice_flops: float) -> tuple[dict, dict]:
        def prepare():
            job = Job.of_attend(p, self.world, listener.look)
            rows = check_rows(job, p)
            given = Inputs.of_attend(job, p.get("seed"), inputs)
            hold, planned = self._fit(
                job,
                p["output"],
                lambda n: Job.of_attend({**p, "sequences": scaled(p["sequences"], n)}, self.world, listener.look),
            )
            listener.progress(
                0,
                job.ranks**2,
                "checking and compiling kernels: a minute or more on a GPU the first time, seconds later",
            )
            self.warm(job, hold, listener.look)
            listener.progress(0, job.ranks**2, "inputs")
            queries, keys = operands(job, self.device)
            made = {k: (queries(k), keys(k)) for k in self.mine(job.ranks)}
            run = Run(
                self,
                job,
                hold,
                listener,
                lambda k: made[k][0],
                lambda k: made[k][1],
                p.get("link"),
                slice_flops,
                "hops",
            )
            return job, rows, given, made, run, planned

        job, rows, given, made, run, planned = self.together(prepare)

        def parts(rank: int):
            q, kv = made[rank] if rank in made else tuple(make(rank) for make in operands(job, torch.device("meta")))
            return [
                (q.data, "q", q.block, True),
                (kv.data[0], "k", kv.block, False),
                (kv.data[1], "v", kv.block, False),
            ]

        self._fill(listener, given, {k: parts(k) for k in made}, max(job.queries[0].rows, job.keys[0].rows))
        deliver(self.team, given, parts)
        result = run.go(not given.seeded)
        tensors = gather(self.team, job, run.totals, p["output"], rows)
        return self._report(job, p, run, result, planned), tensors

    def _fill(self, listener: Listener, given: Inputs, parts: dict[int, list], rows: int) -> None:
        """Makes the rows of this process's ranks, in windows of the `rows` that any part of any rank has; between two a cancellation is seen by all."""
        error, width = None, sum(out[0].numel() for own in parts.values() for out, _, _, _ in own if len(out))
        step = max(1, WINDOW[self.device.type] // max(1, max(self.team.share(width))))
        for low in range(0, rows, step):
            self.team.go_on(CANCEL if listener.is_cancelled() else GO, error)
            try:
                for own in parts.values():
                    for out, name, block, new_only in own:
                        listener.look()
                        given.fill(out, name, block, new_only, (low, low + step))
            except Exception as found:
                error = found
        self.team.go_on(GO, error)

    def warm(self, job: Job, hold: int, look: Callable[[], None]) -> None:
        """Self-check and compilation, so that neither falls into the run."""
        self.kernels.ready(job.dtype, job.heads, job.kv_heads, job.head_dim, look)
        if self.merger.how == "fused":
            q, k = (
                torch.zeros(64, heads, job.head_dim, dtype=job.dtype, device=self.device)
                for heads in (job.heads, job.kv_heads)
            )
            self.merger.ready(
                *self.kernels.attend(q, k, k, True, job.scale),
                hold,
                (torch.float32, *([job.dtype] if self.world > 1 and job.variant == "pass-q" else [])),
                look,
            )
        self.kernels.used = set()

    def _open(self, p: dict, inputs: dict, listener: Listener, slice_flops: float) -> tuple[dict, dict]:
        def prepare() -> Session:
            shape = Shape.of(p, self.world)
            mine = self.mine(shape.ranks)
            fits = f"{self.free() // (len(mine) * shape.kv_bytes)} tokens a rank would"
            memory.require({"kv cache": p["capacity"] * shape.kv_bytes * len(mine)}, self.free(), self._where(), fits)
            self.kernels.ready(shape.dtype, shape.heads, shape.kv_heads, shape.head_dim, listener.look)
            return Session(p["number"], shape, p["capacity"], p["variant"], p.get("link"), p.get("rates"), mine)

        session = self.together(prepare)
        self._last = session.number
        self._sessions[session.number] = session
        return {"session": session.number, "capacity": session.capacity}, {}

    def _step(self, mode: str, p: dict, inputs: dict, listener: Listener, slice_flops: float) -> tuple[dict, dict]:
        session = self._session(p)
        numbers = [b["sequence"] for b in p["batch"]]

        def prepare():
            job, appended = session.plan(mode, p["batch"], p.get("variant", "pass-kv"), listener.look)
            rows = check_rows(job, p)
            given = Inputs.of_step(job, p.get("seed"), numbers, inputs)
            hold, planned = self._fit(job, p["output"], None, session.growth(numbers, appended))
            self.warm(job, hold, listener.look)
            session.reserve(numbers, appended, self.device, listener.look)
            queries, keys = operands(job, self.device)
            made = {k: queries(k) for k in session.caches}
            messages = {k: keys(k).data if job.variant == "pass-kv" else None for k in session.caches}

            def keys_of(k: int):
                return session.caches[k] if job.variant == "pass-q" else session.message(k, job, messages[k])

            def begin() -> Run:
                return Run(self, job, hold, listener, lambda k: made[k], keys_of, session.link, slice_flops, "hops")

            return job, appended, rows, given, made, begin, planned

        try:
            job, appended, rows, given, made, begin, planned = self.together(prepare)

            def parts(rank: int):
                shape = (2, 0, job.kv_heads, job.head_dim)
                if rank in made:
                    return parts_of(job, appended, rank, made[rank].data, lambda i: session.fresh(rank, i, appended))
                q = torch.empty(job.queries[rank].rows, job.heads, job.head_dim, dtype=job.dtype, device="meta")
                return parts_of(
                    job,
                    appended,
                    rank,
                    q,
                    lambda i: torch.empty(2, count(appended[rank][i]), *shape[2:], dtype=job.dtype, device="meta"),
                )

            self._fill(
                listener,
                given,
                {k: parts(k) for k in made},
                max(job.queries[0].rows, *(count(r) for own in appended for r in own)),
            )
            deliver(self.team, given, parts)
            run = self.together(begin)
            result = run.go(not given.seeded)
            tensors = self.together(lambda: gather(self.team, job, run.totals, p["output"], rows))
        except BaseException:
            session.drop_empty()
            raise
        step = session.steps
        session.keep(numbers, appended)
        new, cached = job.new, sum(P for _, P in job.sequences)
        more = {
            "step": step,
            "mode": mode,
            "batch": [{"sequence": n, "new": T, "cached": P} for n, (T, P) in zip(numbers, job.sequences)],
            "missRate": new / (new + cached),
            "paddingBytes": sum(t["paddingBytes"] for t in result["perRank"]),
            "tokens": session.tokens(),
        }
        return {**self._report(job, {**p, "link": session.link}, run, result, planned), **more}, tensors

    def _prefill(self, p, inputs, listener, slice_flops):
        return self._step("prefill", p, inputs, listener, slice_flops)

    def _decode(self, p, inputs, listener, slice_flops):
        return self._step("decode", p, inputs, listener, slice_flops)

    def _evict(self, p, inputs, listener, slice_flops):
        session = self._session(p)
        self.together(lambda: session.evict(p["sequence"]))
        return {"tokens": session.tokens()}, {}

    def _close(self, p, inputs, listener, slice_flops):
        self._session(p)
        del self._sessions[p["session"]]
        return {}, {}

    def _layer(self, p, inputs, listener, slice_flops):
        from .layer import layer

        return layer(self, p, listener, slice_flops), {}

    _METHODS = {
        "attend": _attend,
        "session.open": _open,
        "session.prefill": _prefill,
        "session.decode": _decode,
        "session.evict": _evict,
        "session.close": _close,
        "layer": _layer,
    }

    def _session(self, p: dict) -> Session:
        """The session; every process has the same ones, so each refuses alike."""
        session = self._sessions.get(p["session"])
        if session is None:
            raise Refused(
                "unknown-session", f"session: found {p['session']}, expected one of {sorted(self._sessions) or 'none'}"
            )
        return session

    def mine(self, ranks: int) -> list[int]:
        return list(range(ranks)) if self.world == 1 else [self.rank]

    def _where(self) -> str:
        return f"{self.device} of rank {self.rank}" if self.world > 1 else str(self.device)

    def _fit(self, job: Job, output: str, smaller, more: int = 0) -> tuple[int, int]:
        """How many partials may be held and the bytes that this takes, or Refused with what would fit. `smaller(n)`: the job with n of every 1,000 new tokens."""
        local = len(self.mine(job.ranks))
        host = need_on_host(job, output) if self.rank == 0 else 0

        def takes(j: Job, hold: int) -> dict[str, int]:
            return {
                **need(j, local, hold, smaller is None),
                "cache": more,
                **({"result": need_on_host(j, output)} if self.device.type == "cpu" and self.rank == 0 else {}),
            }

        have = self.free()
        for hold in HOLDS:
            if sum(takes(job, hold).values()) <= have:
                break
        else:
            fits = "a smaller step would"
            if smaller is not None:
                parts = memory.largest_that(lambda n: sum(takes(smaller(n), 1).values()) <= have, 999)
                fits = (
                    f"about {job.new * parts // 1000} new tokens would"
                    if parts
                    else "the cached tokens alone are too many; use more ranks or fewer tokens"
                )
            memory.require(takes(job, 1), have, self._where(), fits)
        if self.device.type == "cuda" and host:
            memory.require(
                {"result": host}, self.free(torch.device("cpu")), "the host", 'ask for output "rows" in place of "full"'
            )
        return hold, sum(takes(job, hold).values())

    def _chosen(self, method: str, p: dict) -> dict:
        """Resolves variant "auto" on rank 0 (Algorithm 5): C and BW as given, or C as measured and BW of the link model or of the real wire."""
        session = self._sessions.get(p.get("session", 0))
        if method == "session.prefill" and session is not None:
            wanted, rates, link, shape, sequences = (
                session.variant,
                session.rates,
                session.link,
                session.shape,
                session.lengths(p["batch"]),
            )
        elif method == "attend" and p["variant"] == "auto":
            shape = Shape.of(p, self.world)
            wanted, rates, link, sequences = (
                "auto",
                p.get("rates"),
                p.get("link"),
                [(s["new"], s["cached"]) for s in p["sequences"]],
            )
        elif method == "layer" and p["variant"] == "auto":
            from .layer import LINK, LLAMA, Sizes

            sizes, link = Sizes.of({**LLAMA, **p.get("model", {})}, p.get("tp", 8)), p.get("link", LINK)
            shape = Shape.of(
                {
                    "heads": sizes.heads,
                    "kvHeads": sizes.kv_heads,
                    "headDim": sizes.dim,
                    "dtype": p["dtype"],
                    "ranks": p["ranks"],
                },
                self.world,
            )
            wanted, rates, sequences = "auto", None, [(p["tokens"], p.get("cached", 0))]
        else:
            return {}
        if wanted != "auto":
            return {"variant": wanted}
        new, cached = (max(1, sum(s[0] for s in sequences)), sum(s[1] for s in sequences))
        bandwidth = rates["bandwidth"] if rates else link["bandwidth"] if link and self.world == 1 else self.bandwidth
        variant, why = policy.choose(
            new,
            cached,
            shape.ranks,
            shape.heads,
            shape.kv_heads,
            shape.dtype.itemsize,
            rates["flops"] if rates else self.rate,
            bandwidth,
        )
        return {"variant": variant, "choice": why}

    def _report(self, job: Job, p: dict, run: Run, result: dict, planned: int) -> dict:
        """The facts of a run. On rank 0 the measured rate becomes what the next slices reckon with."""
        attends = [s for s in run.listener.all if s["kind"] == "attend"]
        seconds = sum(s["duration"] for s in attends)
        if seconds > 0.005:
            self.rate = max(1e8, sum(s["flops"] for s in attends) / seconds)
        link = p.get("link")
        notes = list(dict.fromkeys([*self.kernels.notes, *([self.merger.note] if self.merger.note else [])]))
        if run.simulated:
            wire = (
                f"messages of {link['bandwidth']:.4g} bytes/s and {link['latency']:.3g} s"
                if link
                else "messages that take no time"
            )
            notes.insert(
                0,
                f"{job.ranks} simulated ranks share one device: kernels ran one after the other at their real sizes, and the timeline lays them side by side with {wire}",
            )
        elif link and self.world > 1:
            notes.insert(0, "the link model was not used: these are real transfers")
        return {
            "variant": job.variant,
            **({"choice": p["choice"]} if "choice" in p else {}),
            "ranks": job.ranks,
            "processes": self.world,
            "simulated": run.simulated,
            "backend": self.team.backend,
            "device": self.device_name(),
            "kernel": " + ".join(result["used"]) + f" {str(job.dtype).removeprefix('torch.')}",
            "merge": self.merger.how,
            "clock": self.clock.name,
            "dtype": next(
                name
                for name, t in {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}.items()
                if t == job.dtype
            ),
            "causal": job.causal,
            "scale": job.scale,
            "shape": {
                "heads": job.heads,
                "kvHeads": job.kv_heads,
                "headDim": job.head_dim,
                "sequences": [{"new": T, "cached": P} for T, P in job.sequences],
            },
            "perRank": result["perRank"],
            "times": result["times"],
            "wallSeconds": result["seconds"],
            "flops": job.flops,
            **({"peakMemoryBytes": torch.cuda.max_memory_allocated()} if self.device.type == "cuda" else {}),
            "plannedBytes": planned,
            "link": link if run.simulated else None,
            "notes": notes,
        }

    def device_name(self) -> str:
        return (
            torch.cuda.get_device_name(self.device)
            if self.device.type == "cuda"
            else f"CPU ({platform.machine()}, {torch.get_num_threads()} threads)"
        )

    def _measure_rates(self) -> None:
        """What slices and "auto" reckon with at first: attention on a CPU (a GPU's small calls say little), and the wire between processes."""
        if self.device.type == "cpu":
            q = torch.randn(512, 16, 128)
            self.kernels.attend(q, q[:, :1], q[:, 1:2], True, 0.1)
            started = time.perf_counter()
            self.kernels.attend(q, q[:, :1], q[:, 1:2], True, 0.1)
            self.rate = 4 * 128 * 16 * 512 * 513 / 2 / (time.perf_counter() - started)
        if self.world > 1:
            self.bandwidth = self.crew.bandwidth(self.device)


def scaled(sequences: list[dict], thousandths: int) -> list[dict]:
    """A batch with so many of every 1,000 new tokens, at least one in all."""
    out = [{"new": s["new"] * thousandths // 1000, "cached": s["cached"]} for s in sequences]
    return out if any(s["new"] for s in out) else [{"new": 1, "cached": out[0]["cached"]}, *out[1:]]


def parts_of(job: Job, appended, rank: int, q: torch.Tensor, fresh: Callable):
    """What one rank is given in a step: its queries, and the new rows of K and V of each sequence."""
    parts = [(q, "q", job.queries[rank], True)]
    for i, own in enumerate(appended[rank]):
        rows, only = (
            fresh(i),
            Block(
                tuple(own if j == i else () for j in range(len(appended[rank]))), (0,) * len(appended[rank]), count(own)
            ),
        )
        parts += [(rows[0], "k", only, True), (rows[1], "v", only, True)]
    return parts
