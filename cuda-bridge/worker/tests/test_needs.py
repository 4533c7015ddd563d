"""`python -m ringside_worker` in this folder: it runs if all is installed, and says what to install if not."""

import os
import subprocess
import sys
from pathlib import Path

import tomllib
from ringside_worker import needs

WORKER = Path(__file__).parents[1]


def start(*python):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *python, "-m", "ringside_worker", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=WORKER,
        env=environment,
        check=False,
    )


def test_it_runs_from_its_folder_if_all_is_installed():
    assert needs.complaint() is None
    done = start()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: python -m ringside_worker")


def test_it_says_what_to_install():
    # -S leaves site-packages out: what a fresh machine has.
    done = start("-S")
    assert done.returncode == 2
    assert done.stdout == ""
    assert f"has no {', '.join(needs.PACKAGES)}; run `" in done.stderr
    assert f" -m pip install {WORKER}`" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_old_python_is_named(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))
    assert needs.complaint().startswith("found Python 3.9 (")


def test_it_checks_what_pyproject_names():
    project = tomllib.loads((WORKER / "pyproject.toml").read_text())["project"]
    assert [name.split(">")[0] for name in project["dependencies"]] == list(needs.PACKAGES)
    assert project["requires-python"] == ">=" + ".".join(map(str, needs.OLDEST))
