"""One worker for the tests that leave it as they found it."""

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]
from harness import Worker


@pytest.fixture(scope="session")
def worker():
    with Worker(
        "--limit",
        "frame-bytes=65536",
        "--limit",
        "window=131072",
        "--limit",
        "tensor-bytes=4194304",
        "--limit",
        "queue=4",
        "--limit",
        "connections=4",
    ) as started:
        yield started
        assert started.process.poll() is None, started.log()
        assert "Traceback" not in started.log(), started.log()


@pytest.fixture
def client(worker):
    """A connection, after which the worker must still answer another."""
    with worker.client() as connected:
        yield connected
    with worker.client() as other:
        assert other.health()["state"] in ("ready", "running")
