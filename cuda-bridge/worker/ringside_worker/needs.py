"""
What the worker needs of this Python, checked before anything is imported from it.

This file runs on any Python 3, so that an old one gets a message and no syntax error.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

OLDEST = (3, 11)
#: As in pyproject.toml.
PACKAGES = ("torch", "numpy", "websockets", "jsonschema")


def complaint() -> str | None:
    """What is wrong with this Python, and what to do; None if nothing is."""
    if sys.version_info < OLDEST:
        found, oldest = (".".join(map(str, version[:2])) for version in (sys.version_info, OLDEST))
        return f"found Python {found} ({sys.executable}), expected {oldest} or newer; start the worker with a newer one"
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if not missing:
        return None
    project = Path(__file__).resolve().parents[1]
    wanted = str(project) if (project / "pyproject.toml").exists() else " ".join(missing)
    return (
        f"{sys.executable} has no {', '.join(missing)}; run `{sys.executable} -m pip install {wanted}`, "
        "best in a virtual environment (cuda-bridge/README.md)"
    )


def require() -> None:
    """Ends the process with status 2 if this Python lacks something."""
    said = complaint()
    if said is not None:
        print(f"ringside worker: {said}", file=sys.stderr)
        sys.exit(2)
