"""Which keys a query sees, by absolute positions in its sequence: engine/layout/mask.ts in Python."""

from dataclasses import dataclass

from .errors import Refused

LOCAL = ("window", "chunk")
"""Kinds of mask under which a query sees only the keys near it, and the sink tokens."""


@dataclass(frozen=True)
class Mask:
    """
    What a query at position p sees: `causal` 0 to p; `full` all; `window` of W = `size` p-W+1 to p; `chunk` of C = `size`
    those with the same floor(position / C), up to p.

    `sink_tokens` adds the first S positions, up to p.
    """

    kind: str = "causal"
    size: int = 0
    sink_tokens: int = 0

    @classmethod
    def of(cls, p: dict) -> "Mask":
        """From a call's parameters: `mask`, else the older `causal`. Raises Refused for no mask, or if the two disagree."""
        causal = p.get("causal", True)
        given = p.get("mask")
        if given is None:
            return CAUSAL if causal else FULL
        if (given["kind"] in LOCAL) != ("size" in given) or ("sinkTokens" in given and "size" not in given):
            raise Refused(
                "bad-input",
                f"mask: found {given}, expected a size for window and chunk, and no more than a kind for causal and full",
            )
        mask = cls(given["kind"], given.get("size", 0), given.get("sinkTokens", 0))
        if "causal" in p and causal == (mask.kind == "full"):
            raise Refused("bad-input", f'causal: found {causal} beside the mask "{mask}", expected them to agree')
        return mask

    def __str__(self) -> str:
        sinks = f"+{self.sink_tokens}" if self.sink_tokens else ""
        return f"{self.kind}:{self.size}{sinks}" if self.is_local else self.kind

    @property
    def json(self) -> dict:
        """As the engine's reports write it."""
        if not self.is_local:
            return {"kind": self.kind}
        return {
            "kind": self.kind,
            "size": self.size,
            **({"sinkTokens": self.sink_tokens} if self.sink_tokens else {}),
        }

    @property
    def is_local(self) -> bool:
        return self.kind in LOCAL

    def first_seen(self, position: int) -> int:
        """The first position that a query sees, sink tokens apart. Never falls as `position` rises."""
        if self.kind == "window":
            return max(0, position - self.size + 1)
        return position // self.size * self.size if self.kind == "chunk" else 0

    @property
    def prefix_end(self) -> int:
        """The first position at which a query under a local mask may miss a key before it."""
        S, size = self.sink_tokens, self.size
        return S + size if self.kind == "window" else (S // size + 1) * size

    def pairs(self, new: int, cached: int) -> int:
        """Query-key pairs of T new tokens of a sequence after P cached ones."""
        if self.kind == "full":
            return new * (new + cached)
        return self._before(cached + new) - self._before(cached)

    def _before(self, n: int) -> int:
        """Pairs of the first n positions, each a query."""
        S, size = self.sink_tokens, self.size
        if self.kind == "causal":
            return triangle(n)
        if self.kind == "window":
            near, sinks = min(n, size), min(S, max(0, n - size))
            return triangle(near) + (n - near) * size + triangle(sinks) + (max(0, n - size) - sinks) * S
        whole, rest = divmod(n, size)
        few = min(whole, -(-S // size))  # chunks that begin before all sink tokens have
        sinks = size * size * few * (few - 1) // 2 + (whole - few) * size * S + rest * min(S, whole * size)
        return whole * triangle(size) + triangle(rest) + sinks


CAUSAL, FULL = Mask(), Mask("full")


def triangle(n: int) -> int:
    """1 + 2 + .. + n."""
    return n * (n + 1) // 2
