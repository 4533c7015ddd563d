"""Makes the package and the helpers importable from a checkout. At the end lists the tests that could not run here."""

import re
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent)]


def pytest_addoption(parser):
    parser.addoption("--grep", help="run only tests whose id matches this regular expression")


def pytest_collection_modifyitems(config, items):
    pattern = config.getoption("--grep")
    if pattern is None:
        return
    kept = [item for item in items if re.search(pattern, item.nodeid)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def pytest_terminal_summary(terminalreporter):
    for report in terminalreporter.stats.get("skipped", []):
        terminalreporter.write_line(
            f"UNTESTED: {report.nodeid}: {report.longrepr[2].removeprefix('Skipped: ')}", yellow=True
        )


@pytest.fixture(scope="module")
def engine():
    """One process on the CPU, with simulated ranks."""
    from ringside_worker.engine import Engine

    return Engine.start(device="cpu")
