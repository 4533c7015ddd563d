"""The worker's modules: no circle of imports, and only the arrows of the picture in ringside_worker/__init__.py."""

import ast
import graphlib
import re
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "ringside_worker"
MODULES = {file.stem for file in FOLDER.glob("*.py")} - {"__init__"}


def imported(code: str) -> set[str]:
    """Modules of the package that this code imports, also in functions and for types only."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            source = ".".join(filter(None, ["ringside_worker" if node.level else "", node.module]))
            names |= {source, *(f"{source}.{alias.name}" for alias in node.names)}
    return MODULES & {name.split(".")[1] for name in names if name.startswith("ringside_worker.")}


ARROWS = {module: imported((FOLDER / f"{module}.py").read_text()) for module in MODULES}


def test_every_way_to_import_is_seen():
    lines = ["from . import run", "from .job import Job", "import ringside_worker.wire", "import queue, json"]
    lines += ["from ringside_worker.pipe import Pipe", "if TYPE_CHECKING:", "    from .team import Team"]
    lines += ["def late():", "    from .engine import Engine"]
    assert imported("\n".join(lines)) == {"run", "job", "wire", "pipe", "team", "engine"}


def test_no_circle():
    graphlib.TopologicalSorter(ARROWS).prepare()  # CycleError names the circle


def test_the_arrows_are_those_of_the_picture():
    picture = ast.get_docstring(ast.parse((FOLDER / "__init__.py").read_text()))
    rows = re.findall(r"^    (\w+)(?: -> (.+))?\n        (.+)$", picture, re.MULTILINE)
    part_of = {module: part for part, _, modules in rows for module in modules.split(", ")}
    assert part_of.keys() == MODULES
    drawn = {(part, other) for part, others, _ in rows for other in others.split(", ") if other}
    found = {(part_of[module], part_of[other]) for module in MODULES for other in ARROWS[module]}
    found = {(part, other) for part, other in found if part != other}
    assert found - drawn == set(), "imports without an arrow"
    assert drawn - found == set(), "arrows without an import"
