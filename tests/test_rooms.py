"""Who may import whom: each room is imported whole, in an interpreter of its own."""

import subprocess
import sys

import pytest

PYDANTIC = {"pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"}
OURS = {"api_schemas", "store", "service", "worker", "unitrank", "plots"}

# What a room must never load, whatever of it is imported.
FORBIDDEN = {
    "api_schemas": {"store", "service", "worker", "unitrank", "torch", "numpy", "redis", "rq", "fastapi", "httpx"},
    "store": {"service", "worker", "unitrank", "torch", "fastapi", "starlette"},
    "service": {"worker", "unitrank", "torch", "scipy", "matplotlib"},
    "plots": {"store", "service", "worker", "unitrank", "torch", "fastapi", "redis"},
    "worker": {"service", "unitrank", "fastapi", "starlette", "transformers", "huggingface_hub"},
}

ROOM = """
import importlib, pkgutil, sys
room = importlib.import_module(sys.argv[1])
for found in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
MODULE = """
import importlib, sys
importlib.import_module(sys.argv[1])
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.mark.parametrize("room", sorted(FORBIDDEN))
def test_room_when_imported_whole_then_loads_nothing_that_it_must_not(room: str) -> None:
    loaded = _loaded(ROOM, room)

    assert loaded & FORBIDDEN[room] == set()


def test_schemas_when_imported_whole_then_load_pydantic_and_the_standard_library_only() -> None:
    foreign = {name for name in _loaded(ROOM, "api_schemas") if name not in sys.stdlib_module_names and not name.startswith("_")}

    assert foreign - PYDANTIC == {"api_schemas"}


@pytest.mark.parametrize("module", ["unitrank", "unitrank.__main__", "unitrank.client"])
def test_command_line_when_imported_then_loads_no_other_room_but_the_schemas(module: str) -> None:
    loaded = _loaded(MODULE, module)

    assert loaded & OURS <= {"unitrank", "api_schemas"}
    assert loaded & {"torch", "numpy", "redis", "rq", "fastapi", "sklearn"} == set()


@pytest.mark.parametrize("module", ["worker.__main__", "worker.process.warm", "worker.process.handle"])
def test_worker_parent_when_imported_then_loads_no_torch(module: str) -> None:
    assert "torch" not in _loaded(MODULE, module)


@pytest.mark.parametrize("module", ["service.__main__", "service.app"])
def test_service_when_it_would_start_then_has_loaded_neither_worker_nor_torch(module: str) -> None:
    assert _loaded(MODULE, module) & {"worker", "torch"} == set()


def _loaded(program: str, name: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", program, name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())
