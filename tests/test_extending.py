"""An extension changes only the files that docs/extending.md names.

A test adds one extension of each kind to a copy of the sources, and uses them.
"""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.documentation.additions import ADDITIONS, COUNTS, PROGRAM, Edit
from unitrank_schemas.jobs.clusters import CLUSTER_KINDS
from unitrank_schemas.methods import METHODS

ROOT = Path(__file__).parent.parent
ROOMS = ("api_schemas", "tables", "engine", "store", "worker", "plots", "service", "client")

HOMES: dict[str, tuple[set[str], tuple[str, ...]]] = {
    # Module of the classes → their names, and the files or folders that may import them.
    # `request.py` has the default clusters of a job.
    "unitrank_schemas.jobs.clusters": (
        {kind.__name__ for kind in CLUSTER_KINDS.values()},
        (
            "api_schemas/unitrank_schemas/jobs/clusters.py",
            "api_schemas/unitrank_schemas/jobs/request.py",
            "engine/unitrank_engine/job/clusters/finders.py",
        ),
    ),
    "unitrank_schemas.methods": (
        {method.__name__ for method in METHODS.values()},
        # Given scores have checks of their own, because they must fit the place and the clusters.
        (
            "api_schemas/unitrank_schemas/methods/",
            "api_schemas/unitrank_schemas/checks/given.py",
            "engine/unitrank_engine/methods/",
        ),
    ),
}


def imports(file: Path) -> Iterator[tuple[str, str]]:
    """Module and name of each `from module import name` in a file.

    A name may itself be a module: it is also given as a module, with the name `*`.
    """
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield node.module, alias.name
                yield f"{node.module}.{alias.name}", "*"


@pytest.mark.parametrize("module", sorted(HOMES))
def test_source_when_searched_then_only_few_files_import_the_class_of_a_kind(module: str) -> None:
    names, homes = HOMES[module]
    files = {str(file.relative_to(ROOT)): file for room in ROOMS for file in (ROOT / room).rglob("*.py")}
    naming = {
        path
        for path, file in files.items()
        for source, name in imports(file)
        if (source == module and name in {*names, "*"}) or (source.startswith(f"{module}.") and name in names)
    }

    assert len(files) > 200
    assert {path for path in naming if not path.startswith(homes)} == set()


@pytest.mark.check
def test_copy_when_one_extension_of_each_kind_is_added_then_all_work(tmp_path: Path, redis_url: str) -> None:
    for room in ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    for files in ADDITIONS.values():
        for path, edits in files.items():
            edit(tmp_path / path, edits)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(str(tmp_path / room) for room in ROOMS)}

    command = [sys.executable, "-c", PROGRAM, redis_url, str(tmp_path / "state")]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert {name: len(files) for name, files in ADDITIONS.items()} == COUNTS


def edit(file: Path, edits: list[Edit]) -> None:
    """Make the edits in a file. The first text of each must be in the file exactly once."""
    text = file.read_text() if file.exists() else ""
    for old, new in edits:
        assert text.count(old) == 1, (file, old)
        text = text.replace(old, new)
    file.write_text(text)
