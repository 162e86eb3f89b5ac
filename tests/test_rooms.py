"""Imports between rooms.

A new interpreter imports all modules of a room and lists the packages that it has loaded.
"""

import subprocess
import sys

import pytest

PYDANTIC = {"pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"}
OURS = {
    "unitrank_schemas",
    "unitrank_tables",
    "unitrank_engine",
    "unitrank_store",
    "unitrank_worker",
    "unitrank_plots",
    "unitrank_service",
    "unitrank",
}
WEB = {"fastapi", "starlette", "uvicorn"}
STORE = {"redis", "rq"}

# Room → the rooms that it may import, and the packages that none of its modules may load.
ROOMS: dict[str, tuple[set[str], set[str]]] = {
    "unitrank_schemas": (set(), {"torch", "numpy", "httpx", *WEB, *STORE}),
    "unitrank_tables": (set(), {"torch", "httpx", "pydantic", *WEB, *STORE}),
    "unitrank_engine": ({"unitrank_schemas", "unitrank_tables"}, {"transformers", "huggingface_hub", "rq", *WEB}),
    "unitrank_store": ({"unitrank_schemas", "unitrank_tables"}, {"torch", *WEB}),
    "unitrank_worker": (
        {"unitrank_schemas", "unitrank_tables", "unitrank_store", "unitrank_engine"},
        {"transformers", "huggingface_hub", *WEB},
    ),
    "unitrank_plots": ({"unitrank_schemas"}, {"torch", *WEB, *STORE}),
    "unitrank_service": (
        {"unitrank_schemas", "unitrank_tables", "unitrank_store", "unitrank_plots"},
        {"torch", "scipy", "matplotlib"},
    ),
}

ROOM = """
import importlib, pkgutil, sys
room = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
MODULE = """
import importlib, sys
importlib.import_module(sys.argv[1])
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


SLOW_ROOMS = ("unitrank_engine", "unitrank_worker")
"""Rooms that import torch, which takes seconds."""


@pytest.mark.parametrize(
    "room", [pytest.param(room, marks=pytest.mark.check if room in SLOW_ROOMS else ()) for room in sorted(ROOMS)]
)
def test_room_when_imported_whole_then_loads_no_forbidden_package(room: str) -> None:
    allowed, forbidden = ROOMS[room]
    loaded = _loaded(ROOM, room)

    assert loaded & OURS <= {room, *allowed}
    assert loaded & forbidden == set()


def test_schemas_when_imported_whole_then_load_pydantic_and_the_standard_library_only() -> None:
    foreign = {
        name for name in _loaded(ROOM, "unitrank_schemas") if name not in sys.stdlib_module_names and not name.startswith("_")
    }

    assert foreign - PYDANTIC == {"unitrank_schemas"}


@pytest.mark.parametrize("module", ["unitrank", "unitrank.cli.main", "unitrank.client.sync", "unitrank.mcp.server"])
def test_command_line_when_imported_then_loads_no_other_room_but_the_schemas(module: str) -> None:
    loaded = _loaded(MODULE, module)

    assert loaded & OURS <= {"unitrank", "unitrank_schemas"}
    assert loaded & {"torch", "numpy", "redis", "rq", "fastapi", "sklearn"} == set()


@pytest.mark.parametrize(
    "module",
    [
        "unitrank_worker.__main__",
        "unitrank_worker.process.rq_worker",
        "unitrank_worker.children.handle",
        "unitrank_worker.distributed.driver",
        "unitrank_worker.distributed.on_ray.actor",
    ],
)
def test_worker_parent_when_imported_then_loads_neither_torch_nor_the_engine(module: str) -> None:
    assert _loaded(MODULE, module) & {"torch", "unitrank_engine", "ray"} == set()


def test_worker_child_when_imported_then_loads_no_client_of_the_store() -> None:
    """torch imports redis if redis is installed; therefore torch must not be loaded either."""
    assert _loaded(MODULE, "unitrank_worker.process.child") & {"torch", "redis", "rq"} == set()


@pytest.mark.parametrize("module", ["unitrank_service.__main__", "unitrank_service.app"])
def test_service_when_imported_then_loads_neither_worker_nor_torch(module: str) -> None:
    assert _loaded(MODULE, module) & {"unitrank_worker", "unitrank_engine", "torch"} == set()


def _loaded(program: str, name: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", program, name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())
