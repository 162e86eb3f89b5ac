"""Importing a user's Python file or module for a while: afterwards Python finds the same modules as before."""

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
def imported(place: str) -> Iterator[ModuleType]:
    """The module of `net.py` or of `package.module`; inside the block it can import what lies beside it.

    Raises NotPossible.
    """
    if not place.endswith(".py"):
        with _importable(Path.cwd()):
            yield _module_named(place)
        return
    path = Path(place).absolute()
    if not path.is_file():
        raise NotPossible(f"there is no file {place}")
    with _importable(path.parent):
        yield _module_in(path, place)


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Puts the folder first on Python's path; afterwards restores the path and forgets the folder's modules."""
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
    """Whether the module was imported from the folder itself, not from an environment that lies in the folder."""
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


def _module_named(name: str) -> ModuleType:
    package = name.partition(".")[0]
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise NotPossible(f"module {name!r} cannot be imported: {error}") from error
    hidden = Path(f"{package}.py").absolute()
    if package in PACKAGES and hidden.is_file():
        raise NotPossible(f"module {name!r} is Unitrank's own, which hides {hidden}: rename that file, or write {hidden.name}:name")
    return module


def _module_in(path: Path, place: str) -> ModuleType:
    name = _free_name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        raise NotPossible(f"{place} cannot be imported: {error}") from error
    return module


def _free_name(path: Path) -> str:
    """The file's own name, so that modules beside it can import it; a private name if an installed module has that name."""
    name = path.stem
    spec = PathFinder.find_spec(name, sys.path[1:])
    installed = spec is not None and spec.origin != str(path)
    return PRIVATE + name if installed or name in sys.modules or name in sys.stdlib_module_names else name
