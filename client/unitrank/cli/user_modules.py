"""Imports a user's Python file or module for the length of a block.

Afterwards Python finds the same modules as before.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

from unitrank.errors import NotPossible
from unitrank.name_clashes import PACKAGES

PRIVATE = "_exported_"


@contextmanager
def imported(source: str) -> Iterator[ModuleType]:
    """Yields the module of `net.py` or of `package.module`. Raises NotPossible.

    Inside the block the module can import the other files of its folder.
    """
    if not source.endswith(".py"):
        with _importable(Path.cwd()):
            yield _import_module(source)
        return
    path = Path(source).absolute()
    if not path.is_file():
        raise NotPossible(f"the file {source} does not exist; give the path of a Python file")
    with _importable(path.parent):
        yield _import_file(path, source)


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Puts the folder first on sys.path. Afterwards restores sys.path, and removes new modules."""
    path, modules = list(sys.path), dict(sys.modules)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = path
        for name, module in list(sys.modules.items()):
            if modules.get(name) is not module and _is_of(folder, name, module):
                _restore(name, modules.get(name))


def _is_of(folder: Path, name: str, module: ModuleType) -> bool:
    """Whether the module is a file of the folder, but not of a virtual environment inside."""
    if name.startswith(PRIVATE):
        return True
    package = name.partition(".")[0]
    files = [module.__file__] if getattr(module, "__file__", None) else list(getattr(module, "__path__", []))
    return any(
        Path(file).is_relative_to(folder) and Path(file).relative_to(folder).parts[0] in (package, f"{package}.py")
        for file in files
        if file
    )


def _restore(name: str, module: ModuleType | None) -> None:
    if module is None:
        del sys.modules[name]
    else:
        sys.modules[name] = module


def _import_module(name: str) -> ModuleType:
    package = name.partition(".")[0]
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise NotPossible(
            f"module {name!r} cannot be imported: {error}; give a module of this folder, or a file such as net.py:name"
        ) from error
    hidden = Path(f"{package}.py").absolute()
    if package in PACKAGES and hidden.is_file():
        raise NotPossible(f"module {name!r} is part of Unitrank and hides {hidden}: rename that file, or write {hidden.name}:name")
    return module


def _import_file(path: Path, source: str) -> ModuleType:
    name = _free_name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        raise NotPossible(f"{source} cannot be imported: {error}") from error
    return module


def _free_name(path: Path) -> str:
    """The module name for a file: its own name, so that other files of its folder can import it.

    A private name is returned if another module already has that name.
    """
    name = path.stem
    spec = PathFinder.find_spec(name, sys.path[1:])
    installed = spec is not None and spec.origin != str(path)
    return PRIVATE + name if installed or name in sys.modules or name in sys.stdlib_module_names else name
