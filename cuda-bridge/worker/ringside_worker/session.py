"""
Sessions: a KV cache that stays sharded over the ranks, and what a step appends to it.

Every process keeps the same books (which rank holds which positions of which sequence) and the rows of its own ranks. A
step writes its rows behind a sequence's rows; they count only once the step is kept. So a step that fails or is
cancelled leaves nothing.
"""

from dataclasses import dataclass, field

import torch

from .errors import Refused
from .exchange import Chunk
from .job import Job, Shape
from .layout import (
    Block,
    Range,
    checking,
    count,
    deal_decode,
    deal_prefill,
    equal_blocks,
    joined,
    never_cancelled,
    packed,
)
from .memory import readable


@dataclass
class Rows:
    """
    K and V of one sequence on one rank, `[room, Hkv, D]` and `[room, Hkv, Dv]`; K alone if V is part of it.

    Only the first `length` rows count.
    """

    tensors: tuple[torch.Tensor, ...]
    length: int = 0

    @property
    def room(self) -> int:
        return self.tensors[0].shape[0]


@dataclass
class Cache:
    """One rank's rows of a session, as the ring programs read them. `keys` counts sequences in the order of `batch`."""

    owner: int
    rows: dict[int, Rows] = field(default_factory=dict)
    batch: list[int] = field(default_factory=list)
    block: Block | None = None
    """What the rows are, of the current step."""

    def keys(self, sequence: int, k0: int, k1: int) -> tuple[torch.Tensor, torch.Tensor]:
        parts = self.rows[self.batch[sequence]].tensors
        return parts[0][k0:k1], parts[-1][k0:k1]


class Session:
    """One session on one process, with the caches of its `ranks`."""

    def __init__(
        self,
        number: int,
        shape: Shape,
        capacity: int,
        variant: str,
        link: dict | None,
        rates: dict | None,
        ranks: list[int],
    ):
        self.number, self.shape, self.capacity = number, shape, capacity
        self.variant, self.link, self.rates = variant, link, rates
        self.caches = {k: Cache(k) for k in ranks}
        self.ranges: dict[int, list[tuple[Range, ...]]] = {}
        self.steps = 0

    def held(self, sequence: int) -> list[int]:
        """How many tokens of a sequence each rank holds."""
        return [count(r) for r in self.ranges.get(sequence, [()] * self.shape.ranks)]

    def tokens(self) -> list[dict]:
        return [{"sequence": s, "perRank": self.held(s)} for s in sorted(self.ranges)]

    def lengths(self, batch: list[dict]) -> list[tuple[int, int]]:
        """(T, P) of each sequence of a batch. Raises Refused if one comes twice."""
        numbers = [b["sequence"] for b in batch]
        if len(set(numbers)) != len(numbers):
            raise Refused("bad-input", f"batch: found sequences {numbers}, expected each once")
        return [(b["new"], sum(self.held(b["sequence"]))) for b in batch]

    def plan(
        self, mode: str, batch: list[dict], variant: str, check_cancelled=never_cancelled
    ) -> tuple[Job, list[list[tuple[Range, ...]]]]:
        """The job of a step, and the ranges that rank k appends to the batch's i-th sequence: `appended[k][i]`."""
        ranks, sequences = self.shape.ranks, self.lengths(batch)
        numbers = [b["sequence"] for b in batch]
        if mode == "decode":
            for number, (T, P) in zip(numbers, sequences):
                if T != 1 or P == 0:
                    raise Refused(
                        "bad-input",
                        f"decode: sequence {number}: found {T} new and {P} cached tokens, "
                        "expected 1 new token and at least 1 cached; prefill the sequence first",
                    )
            owners = deal_decode(
                [self.held(n) for n in checking(numbers, check_cancelled)], self.steps, check_cancelled
            )
            appended = [
                [((P, P + 1),) if owners[i] == k else () for i, (_, P) in enumerate(sequences)]
                for k in checking(range(ranks), check_cancelled)
            ]
            rows = max(sum(count(r) for r in own) for own in appended)
            queries, variant = [packed(own, rows) for own in appended], "pass-q"
        else:
            dealt = [
                deal_prefill(T, P, self.held(n), self.shape.dealing)
                for n, (T, P) in checking(zip(numbers, sequences), check_cancelled)
            ]
            appended = [[d[k] for d in dealt] for k in range(ranks)]
            queries = equal_blocks(appended, check_cancelled)
        before = [self.ranges.get(n, [()] * ranks) for n in numbers]
        after = [
            [joined([*before[i][k], *appended[k][i]]) for i in range(len(numbers))]
            for k in checking(range(ranks), check_cancelled)
        ]
        most = max(
            sum(count(r) for s, own in self.ranges.items() for r in [own[k]]) + sum(count(r) for r in appended[k])
            for k in range(ranks)
        )
        if most > self.capacity:
            e = self.shape.kv_bytes
            fits = (
                f"the session was opened for {self.capacity} tokens a rank: "
                "evict a sequence, or open a session with more capacity"
            )
            raise Refused(
                "does-not-fit",
                f"KV cache: needs {most} tokens on a rank ({readable(most * e)}), "
                f"found room for {self.capacity}; {fits}",
                {"need": most * e, "have": self.capacity * e, "fits": fits},
            )
        keys = equal_blocks(after, check_cancelled)
        job = Job(**vars(self.shape), variant=variant, sequences=sequences, queries=queries, keys=keys)
        for k, cache in self.caches.items():
            cache.block = keys[k]
        return job, appended

    def growth(self, numbers: list[int], appended) -> int:
        """By how many bytes this process's caches will grow."""
        e = self.shape.kv_bytes
        return sum(
            self._room(k, n, count(appended[k][i])) * e
            for k in self.caches
            for i, n in enumerate(numbers)
            if self._room(k, n, count(appended[k][i]))
        )

    def reserve(self, numbers: list[int], appended, device: torch.device, check_cancelled=never_cancelled) -> None:
        """Makes room for the rows of a step."""
        for k, cache in checking(self.caches.items(), check_cancelled):
            cache.batch = list(numbers)
            for i, n in enumerate(numbers):
                room, old = self._room(k, n, count(appended[k][i])), cache.rows.get(n)
                if room == 0 and old is not None:
                    continue
                made = tuple(
                    torch.empty(room, *width, dtype=self.shape.dtype, device=device) for width in self.shape.kv_widths
                )
                length = 0 if old is None else old.length
                for new, before in zip(made, () if old is None else old.tensors):
                    new[:length] = before[:length]
                cache.rows[n] = Rows(made, length)

    def fresh(self, rank: int, i: int, appended) -> tuple[torch.Tensor, ...]:
        """The places on a rank for the step's rows of the batch's i-th sequence: K's and V's, or K's alone."""
        rows = self.caches[rank].rows[self.caches[rank].batch[i]]
        return tuple(x[rows.length : rows.length + count(appended[rank][i])] for x in rows.tensors)

    def message(self, rank: int, job: Job, out: torch.Tensor) -> Chunk:
        """Fills `out`, the data of a chunk of keys, with the rows that pass-KV sends."""
        cache, block = self.caches[rank], job.keys[rank]
        made = Chunk(rank, block, out, self.shape.kv_widths if out.dim() == 1 else None)
        for i, own in enumerate(block.ranges):
            n = count(own)
            for to, held in zip(made.tensors, cache.rows[cache.batch[i]].tensors):
                to[block.first[i] : block.first[i] + n] = held[:n]
        return made

    def keep(self, numbers: list[int], appended) -> None:
        """Makes the step count."""
        for i, n in enumerate(numbers):
            before = self.ranges.get(n, [()] * self.shape.ranks)
            self.ranges[n] = [joined([*before[k], *appended[k][i]]) for k in range(self.shape.ranks)]
            for k, cache in self.caches.items():
                cache.rows[n].length += count(appended[k][i])
        self.steps += 1

    def drop_empty(self) -> None:
        """After a step that doesn't count: drops the sequences that it would have begun."""
        for cache in self.caches.values():
            for n in [n for n in cache.rows if n not in self.ranges]:
                del cache.rows[n]

    def evict(self, sequence: int) -> None:
        if sequence not in self.ranges:
            raise Refused(
                "bad-input", f"evict: found sequence {sequence}, expected one of {sorted(self.ranges) or 'none'}"
            )
        del self.ranges[sequence]
        for cache in self.caches.values():
            cache.rows.pop(sequence, None)

    def _room(self, rank: int, number: int, more: int) -> int:
        """
        Rows to make room for; 0 if there is enough room.

        Half as much again as the sequence has room for, so that decode seldom copies it.
        """
        old = self.caches[rank].rows.get(number)
        length, room = (0, 0) if old is None else (old.length, old.room)
        return 0 if length + more <= room else min(self.capacity, max(length + more, room + room // 2))
