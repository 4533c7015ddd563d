"""`pip install cuda-bridge/worker` installs all that the worker needs away from the checkout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

WORKER = Path(__file__).parents[1]


def test_pip_installs_a_worker_that_runs(tmp_path):
    """From a copy, because pip builds inside the sources. Dependencies are those of this Python."""
    source, target = tmp_path / "cuda-bridge", tmp_path / "installed"
    for part in ("worker/ringside_worker", "protocol"):
        shutil.copytree(
            WORKER.parent / part, source / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(WORKER / name, source / "worker" / name)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(target),
        str(source / "worker"),
    ]
    subprocess.run(pip, check=True, timeout=100)
    installed = target / "ringside_worker"
    assert {file.name for file in (WORKER / "ringside_worker").glob("*.py")} == {
        file.name for file in installed.glob("*.py")
    }
    schema = installed / "messages.schema.json"
    assert (
        not schema.is_symlink()
        and schema.read_bytes() == (WORKER.parent / "protocol" / "messages.schema.json").read_bytes()
    )
    shutil.rmtree(source)
    run = [
        sys.executable,
        "-c",
        "import ringside_worker.wire as wire; print(wire.__file__, len(wire.SCHEMA['$defs']) > 20)",
    ]
    found = subprocess.run(
        run,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert found.stdout.split() == [str(installed / "wire.py"), "True"]
