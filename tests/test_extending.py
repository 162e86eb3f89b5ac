"""Adding to the project touches few files: no file names a method or a kind of clusters but the files that are its own."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from unitrank_schemas.clusters import CLUSTER_KINDS
from unitrank_schemas.methods import METHODS

ROOT = Path(__file__).parent.parent
ROOMS = ("api_schemas", "tables", "engine", "store", "worker", "plots", "service", "client")

HOMES: dict[str, tuple[set[str], tuple[str, ...]]] = {
    # module of the classes → their names, and the files or folders that may import them; `jobs.py` has a job's default
    "unitrank_schemas.clusters": (
        {kind.__name__ for kind in CLUSTER_KINDS.values()},
        (
            "api_schemas/unitrank_schemas/clusters.py",
            "api_schemas/unitrank_schemas/jobs.py",
            "engine/unitrank_engine/job/clusters/finders.py",
        ),
    ),
    "unitrank_schemas.methods": (
        {method.__name__ for method in METHODS.values()},
        ("api_schemas/unitrank_schemas/methods/", "engine/unitrank_engine/methods/"),
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
    files = {str(file.relative_to(ROOT)): file for room in ROOMS for file in (ROOT / room).rglob("*.py")}
    naming = {
        path
        for path, file in files.items()
        for source, name in imports(file)
        if (source == module and name in {*names, "*"}) or (source.startswith(f"{module}.") and name in names)
    }

    assert len(files) > 200
    assert {path for path in naming if not path.startswith(homes)} == set()
