"""How many open files the server needs, and the system's limit on them."""

import resource

from .errors import CannotStart
from .limits import Limits
from .pending import LEAVING

#: Descriptors of the server besides sockets and tensors: files, pipes, the event loop's own.
OWN = 64
#: We never ask for more: some programs go through every descriptor that they are allowed.
MOST_FILES = 1 << 16


def files_needed(limits: Limits, processes: int) -> int:
    """The most descriptors that the server has open at once: sockets, and tensors of calls and results in flight."""
    return OWN + 2 * processes + limits.pending + LEAVING + limits.connections * 4 + 3 * (limits.queue + 2)


def raise_files(need: int) -> None:
    """Raises this process's limit as far as the system allows. Raises CannotStart if that is too low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    if soft != resource.RLIM_INFINITY and soft < need:
        raise CannotStart(
            f"open files: found at most {soft} allowed, expected {need}: raise the limit (ulimit -n {need}), "
            "or lower --limit connections, pending or queue"
        )
