"""Makes the package and the helpers importable from a checkout, and says at the end what this machine did not let us test."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent)]


def pytest_terminal_summary(terminalreporter):
    for report in terminalreporter.stats.get("skipped", []):
        terminalreporter.write_line(
            f"UNTESTED: {report.nodeid}: {report.longrepr[2].removeprefix('Skipped: ')}", yellow=True
        )
