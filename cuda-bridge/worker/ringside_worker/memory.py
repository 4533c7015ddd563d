"""How much memory a run may take, and the refusal of a run that doesn't fit."""

from pathlib import Path

import torch

from .errors import Refused

MARGIN = 0.95
"""Share of the free memory that a run may take: allocators round up."""


def free_on(device: torch.device) -> int:
    """
    Free bytes of a device.

    Of a GPU: what its driver and this process's allocator have. Of the host: the smaller of what Linux and its control
    group report.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    found = [_meminfo("MemAvailable")]
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if limit != "max":
            found.append(int(limit) - int(Path("/sys/fs/cgroup/memory.current").read_text()))
    except (OSError, ValueError):
        pass
    return max(0, min(found))


def total_on(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else _meminfo("MemTotal")


def _meminfo(name: str) -> int:
    try:
        line = next(row for row in Path("/proc/meminfo").read_text().splitlines() if row.startswith(name + ":"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        return 1 << 33


def require(need: dict[str, int], have: int, where: str, fits: str) -> None:
    """Raises Refused "does-not-fit" unless the sum of `need` fits."""
    total = sum(need.values())
    if total > have:
        largest = ", ".join(
            f"{name} {readable(size)}" for name, size in sorted(need.items(), key=lambda item: -item[1]) if size > 0
        )
        raise Refused(
            "does-not-fit",
            f"memory on {where}: needs {readable(total)} ({largest}), found {readable(have)} free; {fits}",
            {"need": total, "have": have, "fits": fits},
        )


def largest_that(fits, most: int) -> int:
    """The largest n <= most with `fits(n)`; 0 if there is none. If n fits, so does every smaller number."""
    low, high = 0, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def readable(bytes: float) -> str:
    """As in "3.2 GB"."""
    for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if bytes >= size:
            return f"{bytes / size:.3g} {unit}"
    return f"{bytes:.0f} B"
