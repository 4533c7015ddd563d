"""
What the processes of a worker exchange besides the ring's tensors: commands, errors, and meetings.

At a meeting every rank learns of a cancellation or an error. Everything here is JSON bytes or numbers on separate gloo
groups; nothing is unpickled.

Commands wait on a group without a time limit, because a worker may idle for days. Preparation, where one rank may
compile for minutes, uses a patient group. Everything else has the limit `timeout`. If a rank is gone, its connections
close, and the others usually see "rank-died" at once. If it is silent, they see it within that limit.
"""

from __future__ import annotations

import json
import time
from datetime import timedelta

import torch
import torch.distributed as dist

from .errors import Cancelled, CannotMeet, Refused
from .meeting import CANCEL, ERROR, GO, SLOTS, done_of, flag_of, pack, spans_of
from .rendezvous import choose_interface, first_line, open_store, wait_for_all

REPORT_SECONDS = 2.0
"""How long rank 0 waits for the other ranks to report that they too lost one. A rank that reports nothing is lost."""
CHECK_SECONDS = 0.25
"""A rank that prepares checks this often whether the run was cancelled."""


class Team:
    """This process's place among `world` processes, ranks 0 to world - 1. With one process everything is local."""

    def __init__(
        self, rank: int, world: int, device: torch.device, timeout: float, patience: float, whole: Team | None = None
    ):
        self.rank, self.world, self.timeout, self.patience = rank, world, timeout, patience
        self._device, self._whole = device, whole or self
        self.backend = "single" if world == 1 else "nccl" if device.type == "cuda" else "gloo"
        self.hop: int | None = None
        """The hop of the last transfer that this rank began."""
        self._smaller: dict[int, Team] = {}
        self._lost: Refused | None = None
        self._run, self._checked = 0, 0.0
        self._store: dist.Store | None = None
        self.ring = self._control = self._patient = self._idle = None
        """`ring` is torch's group for transfers of tensors; None stands for that of all processes."""

    @classmethod
    def start(cls, rank: int, world: int, device: torch.device, timeout: float, patience: float) -> Team:
        """All processes of a worker. They may come minutes apart, up to `patience` seconds. Raises CannotMeet."""
        team = cls(rank, world, device, timeout, patience)
        if world == 1:
            return team
        store = open_store(rank, world, patience)
        wait_for_all(store, rank, world, patience)
        choose_interface(store, world)
        gpu, short = device.type == "cuda", timedelta(seconds=timeout)
        try:
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if gpu else "gloo",
                store=store,
                rank=rank,
                world_size=world,
                timeout=short,
                **({"device_id": device} if gpu else {}),
            )
            team._control = dist.new_group(backend="gloo", timeout=short)
            team._patient = dist.new_group(backend="gloo", timeout=timedelta(seconds=patience))
            team._idle = dist.new_group(backend="gloo", timeout=timedelta(days=3650))
        except RuntimeError as error:
            hint = "on several hosts name the interface between them in GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME"
            raise CannotMeet(f"the ranks found each other but cannot connect ({first_line(error)}): {hint}") from None
        team._store = store
        return team

    def first(self, ranks: int) -> Team:
        """The first so many ranks as a team. All processes have to call this alike; the team is kept."""
        if ranks == self.world:
            return self
        if ranks not in self._smaller:
            smaller = Team(self.rank, ranks, self._device, self.timeout, self.patience, self)
            if ranks > 1:  # connect now: the first transfer of a group does that, and a run must not pay for it
                short, members = timedelta(seconds=self.timeout), list(range(ranks))
                smaller.ring = self.guarded("new group", dist.new_group, members, timeout=short)
                smaller._control = self.guarded("new group", dist.new_group, members, backend="gloo", timeout=short)
                smaller._patient = self.guarded(
                    "new group", dist.new_group, members, backend="gloo", timeout=timedelta(seconds=self.patience)
                )
                smaller._store = self._store
                if self.rank < ranks:
                    smaller.bandwidth(self._device)
            self._smaller[ranks] = smaller
        return self._smaller[ranks]

    # Lost ranks

    @property
    def lost(self) -> Refused | None:
        """Why this worker's processes have lost each other; None while they have not."""
        return self._whole._lost

    def guarded(self, what: str, fn, *args, **named):
        """Calls torch.distributed. An error there means that a rank is gone or silent, and the group is unusable."""
        if self.lost is not None:
            raise self.lost
        try:
            return fn(*args, **named)
        except RuntimeError as error:
            raise self.lose(what, first_line(error)) from error

    def lose(self, what: str, why: str, silent: list[int] | None = None) -> Refused:
        """
        Ends the team. Returns the error that names the lost rank and the hop.

        torch.distributed doesn't say which rank it lost. So each rank that lost another reports it in the store, and
        the rank that reports nothing is the lost one. `silent`: the lost ranks, if the caller knows them.
        """
        if self.lost is not None:
            return self.lost
        reports = {self.rank: {"what": what, "hop": self.hop}}
        others = set(silent or range(self.world)) - {self.rank}
        try:
            if silent is None and self._store is not None:
                self._store.set(f"lost/{self._run}/{self.rank}", json.dumps(reports[self.rank]))
                deadline = time.monotonic() + (REPORT_SECONDS if self.rank == 0 else 0)
                while others - reports.keys():
                    for k in others - reports.keys():
                        if self._store.check([f"lost/{self._run}/{k}"]):
                            reports[k] = json.loads(self._store.get(f"lost/{self._run}/{k}"))
                    if time.monotonic() > deadline:
                        break
                    time.sleep(0.05)
        except RuntimeError:
            pass  # The host of the store is gone.
        self._whole._lost = self._loss(what, why, reports, sorted(others - reports.keys()))
        return self._whole._lost

    def _loss(self, what: str, why: str, reports: dict[int, dict], missing: list[int]) -> Refused:
        """The error, from the reports of ranks that still answer, and the ranks that don't."""
        if self.world == 1 or self.rank != 0 or not missing:
            who, details = f"{what}: a rank of this worker is gone or silent for {self.timeout:g} s", {}
        else:
            # A rank whose chunk was awaited comes first: once one has ended, torchrun ends others too.
            awaited_ranks = {(k - 1) % self.world for k, report in reports.items() if report["what"] == "transfer"}
            rank = next((k for k in missing if k in awaited_ranks), missing[0])
            by = next(k for k in ((rank + 1) % self.world, 0) if k in reports)
            missing = [rank, *(k for k in missing if k != rank)]
            hop = reports[by]["hop"]
            awaited = (
                f"the chunk of hop {hop} by rank {by}"
                if reports[by]["what"] == "transfer"
                else f"its part in the {reports[by]['what']} by rank {by}"
            )
            at = "" if hop is None else f"hop {hop}: "
            more = f" (and rank {', '.join(map(str, missing[1:]))})" if missing[1:] else ""
            who = f"{at}rank {rank}{more} is gone or silent for {self.timeout:g} s (awaited: {awaited})"
            details = {"rank": rank, "awaited": awaited, **({} if hop is None else {"hop": hop})}
        return Refused("rank-died", f"{who} ({why})", details)

    # Cancels during preparation

    def begin(self, run: int) -> None:
        """The run of this number begins."""
        self._run, self.hop, self._checked = run, None, 0.0

    def announce_cancel(self, run: int) -> None:
        """Rank 0, from any thread: a run is cancelled. Ranks that prepare check for it; in the ring they meet."""
        if self._store is not None:
            try:
                self._store.set(f"cancel/{run}", "1")
            except RuntimeError:
                pass  # The ranks that check find the store gone as well.

    def cancel_announced(self) -> bool:
        """On the other ranks: whether rank 0 has announced that the run is cancelled."""
        now = time.monotonic()
        if self._store is None or now - self._checked < CHECK_SECONDS:
            return False
        self._checked = now
        return self.guarded("check for a cancel", self._store.check, [f"cancel/{self._run}"])

    # Messages

    def command(self, message: dict | None = None) -> dict:
        """Rank 0 sends to each rank separately, so that it knows which doesn't listen. The others wait and receive."""
        if self.rank != 0:
            length = torch.zeros(1, dtype=torch.int64)
            self.guarded("command", dist.recv, length, 0, group=self._idle)
            data = torch.empty(int(length), dtype=torch.uint8)
            self.guarded("command", dist.recv, data, 0, group=self._idle)
            return json.loads(data.numpy().tobytes())
        data = torch.frombuffer(bytearray(json.dumps(message).encode()), dtype=torch.uint8)
        parts = (torch.tensor([data.numel()]), data)
        works = [
            (k, self.guarded("command", dist.isend, part, k, group=self._idle))
            for k in range(1, self.world)
            for part in parts
        ]
        silent, why, end = set(), "", time.monotonic() + self.timeout
        for k, work in works:
            try:
                work.wait(timedelta(seconds=max(0.1, end - time.monotonic())))
            except RuntimeError as error:
                silent.add(k)
                why = first_line(error)
        if silent:
            raise self.lose("command", why, sorted(silent))
        return message

    def share(self, value, patient: bool = False) -> list:
        """The values of all ranks. `patient`: some may be minutes behind."""
        if self.world == 1:
            return [value]
        group = self._patient if patient else self._control
        data = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.world)]
        self.guarded("meeting", dist.all_gather, lengths, torch.tensor([data.numel()]), group=group)
        longest = max(int(n) for n in lengths)
        out = [torch.empty(longest, dtype=torch.uint8) for _ in range(self.world)]
        self.guarded(
            "meeting", dist.all_gather, out, torch.nn.functional.pad(data, (0, longest - data.numel())), group=group
        )
        return [json.loads(o[: int(n)].numpy().tobytes()) for o, n in zip(out, lengths)]

    def agree(self, error: Exception | None, patient: bool = False) -> None:
        """Returns if no rank has an error. Otherwise raises this rank's, or the first of the others."""
        if isinstance(error, Refused) and error.code == "rank-died":
            raise error
        errors = self.share(None if error is None else described(error), patient)
        if error is not None:
            raise error
        for rank, found in enumerate(errors):
            if found is not None and found["code"] == "cancelled":
                raise Cancelled()
            if found is not None:
                raise Refused(found["code"], found["message"], {**found["details"], "rank": rank})

    def meet(self, flag: int, done: int, spans: list[dict]) -> tuple[int, int, list[dict]]:
        """
        Returns the worst flag, the sum of `done`, and on rank 0 the other ranks' spans. One small all-gather.

        On the other ranks, removes up to SLOTS of `spans`, which it sends.
        """
        taken = [] if self.rank == 0 else spans[:SLOTS]
        del spans[: len(taken)]
        row = pack(flag, done, taken)
        rows = [torch.empty_like(row) for _ in range(self.world)]
        self.guarded("meeting", dist.all_gather, rows, row, group=self._control)
        others = [s for other in rows[1:] for s in spans_of(other)] if self.rank == 0 else []
        return flag_of(rows), done_of(rows), others

    def go_on(self, flag: int, error: Exception | None) -> None:
        """A meeting for work outside the ring: ends it on all ranks if rank 0 was cancelled, or if one has an error."""
        flag = ERROR if error is not None else flag
        worst = flag if self.world == 1 else self.meet(flag, 0, [])[0]
        if worst != GO:
            self.agree(error or (Cancelled() if worst == CANCEL else None))

    def send(self, tensor: torch.Tensor, to: int) -> None:
        self.guarded("delivery", dist.send, tensor.contiguous().view(torch.uint8), to, group=self._control)

    def receive(self, tensor: torch.Tensor, source: int) -> torch.Tensor:
        self.guarded("delivery", dist.recv, tensor.view(torch.uint8), source, group=self._control)
        return tensor

    def bandwidth(self, device: torch.device) -> float:
        """Bytes/s of the slowest rank in the ring: the second of two transfers of 8 MB to the next rank."""
        ahead, behind, seconds = (self.rank + 1) % self.world, (self.rank - 1) % self.world, 0.0
        out, into = torch.zeros(1 << 21, device=device), torch.zeros(1 << 21, device=device)
        for _ in range(2):
            started = time.perf_counter()
            for work in self.guarded(
                "start",
                dist.batch_isend_irecv,
                [dist.P2POp(dist.isend, out, ahead, self.ring), dist.P2POp(dist.irecv, into, behind, self.ring)],
            ):
                self.guarded("start", work.wait)
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds = time.perf_counter() - started
        return out.nbytes / max(self.share(seconds))

    def close(self) -> None:
        if self.world > 1 and self.lost is None:
            dist.destroy_process_group()


def described(error: Exception) -> dict:
    """An error in JSON, for another rank."""
    if isinstance(error, Cancelled):
        return {"code": "cancelled", "message": "cancelled", "details": {}}
    if isinstance(error, Refused):
        return {"code": error.code, "message": str(error), "details": error.details}
    return {"code": "worker-failed", "message": f"{type(error).__name__}: {error}", "details": {}}
