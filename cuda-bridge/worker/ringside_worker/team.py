"""
What the processes of a worker say to each other besides tensors of the ring: commands, errors, and the meetings at which a cancellation reaches all.

Everything here is JSON bytes or numbers on gloo groups of its own; nothing is unpickled. Commands wait on a group without a time limit (a worker may idle
for days), all else on one whose limit is `timeout`: a dead rank ends in "rank-died" within it, usually at once, as its connections close.
"""

import json
import time
from datetime import timedelta

import torch
import torch.distributed as dist

from .errors import Cancelled, Refused
from .spans import KINDS, LANES, span

GO, CANCEL, ERROR = 0, 1, 2
SLOTS = 24
"""Spans that a meeting carries from each rank."""
FIELDS = 9


class Team:
    """This process's place among `world` processes. Alone, everything is local."""

    def __init__(self, rank: int, world: int, device: torch.device, timeout: float):
        self.rank, self.world, self.timeout = rank, world, timeout
        self.backend = "single"
        self.lost: str | None = None
        self._control = self._idle = None
        if world > 1:
            gpu = device.type == "cuda"
            self.backend = "nccl" if gpu else "gloo"
            dist.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=timedelta(seconds=timeout), **({"device_id": device} if gpu else {}))
            self._control = dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout))
            self._idle = dist.new_group(backend="gloo", timeout=timedelta(days=3650))

    def guarded(self, what: str, fn, *args, **named):
        """Calls torch.distributed; an error there means that a rank is gone, and so is the group."""
        if self.lost is not None:
            raise Refused("rank-died", self.lost)
        try:
            return fn(*args, **named)
        except RuntimeError as error:
            self.lost = f"{what}: a rank of this worker is gone or silent for {self.timeout:g} s ({str(error).splitlines()[0][:200]}); start the worker again"
            raise Refused("rank-died", self.lost) from error

    def command(self, message: dict | None = None) -> dict:
        """Rank 0 tells, the others wait and hear."""
        data = torch.frombuffer(bytearray(json.dumps(message).encode()), dtype=torch.uint8) if self.rank == 0 else None
        length = torch.tensor([0 if data is None else data.numel()])
        self.guarded("command", dist.broadcast, length, 0, group=self._idle)
        if data is None:
            data = torch.empty(int(length), dtype=torch.uint8)
        self.guarded("command", dist.broadcast, data, 0, group=self._idle)
        return json.loads(data.numpy().tobytes())

    def share(self, value) -> list:
        """Everybody's value, by rank."""
        if self.world == 1:
            return [value]
        data = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.world)]
        self.guarded("share", dist.all_gather, lengths, torch.tensor([data.numel()]), group=self._control)
        longest = max(int(n) for n in lengths)
        out = [torch.empty(longest, dtype=torch.uint8) for _ in range(self.world)]
        self.guarded("share", dist.all_gather, out, torch.nn.functional.pad(data, (0, longest - data.numel())), group=self._control)
        return [json.loads(o[: int(n)].numpy().tobytes()) for o, n in zip(out, lengths)]

    def agree(self, error: Exception | None) -> None:
        """Goes on only if nobody has an error; raises the own one, or the first of the others."""
        if isinstance(error, Refused) and error.code == "rank-died":
            raise error
        errors = self.share(None if error is None else described(error))
        if error is not None:
            raise error
        for rank, found in enumerate(errors):
            if found is not None and found["code"] == "cancelled":
                raise Cancelled()
            if found is not None:
                raise Refused(found["code"], found["message"], {**found["details"], "rank": rank})

    def meet(self, flag: int, done: int, spans: list[dict]) -> tuple[int, int, list[dict]]:
        """The worst flag, the sum of `done`, and on rank 0 the others' spans; of the others it takes up to SLOTS of `spans` away. One small all-gather."""
        taken = [] if self.rank == 0 else spans[:SLOTS]
        del spans[: len(taken)]
        row = torch.zeros(3 + SLOTS * FIELDS, dtype=torch.float64)
        row[0], row[1], row[2] = flag, done, len(taken)
        for i, s in enumerate(taken):
            row[3 + i * FIELDS : 3 + (i + 1) * FIELDS] = torch.tensor(
                [s["rank"], LANES.index(s["lane"]), KINDS.index(s["kind"]), s["hop"], s["start"], s["duration"], s["bytes"], s["flops"], s.get("peer", -1)], dtype=torch.float64
            )
        rows = [torch.empty_like(row) for _ in range(self.world)]
        self.guarded("meeting", dist.all_gather, rows, row, group=self._control)
        others = []
        if self.rank == 0:
            for other in rows[1:]:
                for i in range(int(other[2])):
                    rank, lane, kind, hop, start, duration, bytes, flops, peer = other[3 + i * FIELDS : 3 + (i + 1) * FIELDS].tolist()
                    others.append(span(int(rank), LANES[int(lane)], KINDS[int(kind)], int(hop), start, duration, int(bytes), flops, None if peer < 0 else int(peer)))
        return int(max(r[0] for r in rows)), int(sum(r[1] for r in rows)), others

    def go_on(self, flag: int, error: Exception | None) -> None:
        """A meeting for work that is not a ring: ends it on all when rank 0 is asked to cancel, or when one has an error."""
        flag = ERROR if error is not None else flag
        worst = flag if self.world == 1 else self.meet(flag, 0, [])[0]
        if worst != GO:
            self.agree(error or (Cancelled() if worst == CANCEL else None))

    def send(self, tensor: torch.Tensor, to: int) -> None:
        self.guarded("send", dist.send, tensor.contiguous().view(torch.uint8), to, group=self._control)

    def receive(self, tensor: torch.Tensor, source: int) -> torch.Tensor:
        self.guarded("receive", dist.recv, tensor.view(torch.uint8), source, group=self._control)
        return tensor

    def bandwidth(self, device: torch.device) -> float:
        """Bytes/s that the ring moves: 8 MB to the next rank, the second time; the slowest rank's."""
        ahead, behind, seconds = (self.rank + 1) % self.world, (self.rank - 1) % self.world, 0.0
        out, into = torch.zeros(1 << 21, device=device), torch.zeros(1 << 21, device=device)
        for _ in range(2):
            started = time.perf_counter()
            for work in self.guarded("start", dist.batch_isend_irecv, [dist.P2POp(dist.isend, out, ahead), dist.P2POp(dist.irecv, into, behind)]):
                self.guarded("start", work.wait)
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds = time.perf_counter() - started
        return out.nbytes / max(self.share(seconds))

    def close(self) -> None:
        if self.world > 1 and self.lost is None:
            dist.destroy_process_group()


def described(error: Exception) -> dict:
    """An error as another rank can be told of it."""
    if isinstance(error, Cancelled):
        return {"code": "cancelled", "message": "cancelled", "details": {}}
    if isinstance(error, Refused):
        return {"code": error.code, "message": str(error), "details": error.details}
    return {"code": "worker-failed", "message": f"{type(error).__name__}: {error}", "details": {}}
