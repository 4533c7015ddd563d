"""Starts workers with several processes, as torchrun does, and ends them in bounded time."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def environment(**more: str) -> dict:
    path = os.pathsep.join([str(HERE.parent), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", **more}


def start(world: int, name: str, **options) -> list[subprocess.Popen]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world)}
    command = [sys.executable, str(HERE / "rank.py"), name, json.dumps(options)]
    return [
        subprocess.Popen(
            command,
            env=environment(RANK=str(r), LOCAL_RANK=str(r), **where),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for r in range(world)
    ]


def result(processes: list[subprocess.Popen], timeout: float = 90):
    """What rank 0's bodies returned. Every process has to end."""
    try:
        out, err = processes[0].communicate(timeout=timeout)
        line = next((row for row in out.splitlines() if row.startswith("RESULT ")), None)
        assert line is not None, f"rank 0 gave no result:\n{out}\n{err}"
        deadline = time.monotonic() + 45
        for p in processes[1:]:
            p.wait(timeout=max(1, deadline - time.monotonic()))
        return json.loads(line.removeprefix("RESULT "))
    finally:
        for p in processes:
            if p.poll() is None:
                p.kill()
            p.communicate()


def run(world: int, name: str, **options):
    """What one body returned."""
    return result(start(world, name, **options))[name]
