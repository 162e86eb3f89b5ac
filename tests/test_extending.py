"""Adding to the project touches few files: nothing outside a kind's own files names the kind."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from unitrank_schemas.clusters import CLUSTER_KINDS

ROOT = Path(__file__).parent.parent
ROOMS = ("api_schemas", "tables", "engine", "store", "worker", "plots", "service", "client")

HOMES = {
    # module of the classes → the classes, and the files that may name them: their own, and the one with a job's default
    "unitrank_schemas.clusters": (
        {kind.__name__ for kind in CLUSTER_KINDS.values()},
        {
            "api_schemas/unitrank_schemas/clusters.py",
            "engine/unitrank_engine/job/clusters/finders.py",
            "api_schemas/unitrank_schemas/jobs.py",
        },
    ),
}


def imports(file: Path) -> Iterator[tuple[str, str]]:
    """The module and the name of each `from module import name` in a file; `*` where the name may itself be a module."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield node.module, alias.name
                yield f"{node.module}.{alias.name}", "*"


@pytest.mark.parametrize("module", sorted(HOMES))
def test_source_when_searched_then_names_a_kind_in_its_own_files_only(module: str) -> None:
    names, homes = HOMES[module]
    files = [file for room in ROOMS for file in (ROOT / room).rglob("*.py")]
    naming = {
        str(file.relative_to(ROOT))
        for file in files
        for source, name in imports(file)
        if source == module and name in {*names, "*"}
    }

    assert len(files) > 200
    assert naming <= homes
