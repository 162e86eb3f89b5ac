"""User files that Python imports instead of a Unitrank package of the same name."""

import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

PACKAGES = (
    "unitrank",
    "unitrank_engine",
    "unitrank_plots",
    "unitrank_schemas",
    "unitrank_service",
    "unitrank_store",
    "unitrank_tables",
    "unitrank_worker",
)


def clash_of(error: ImportError) -> str:
    """The error message if a user's file made an import fail; empty for other reasons."""
    package = (error.name or "").partition(".")[0]
    file = getattr(sys.modules.get(package), "__file__", None)
    if package not in PACKAGES or file is None or _is_ours(Path(file)):
        return ""
    return f"{file} hides Unitrank's package {package}, because it has the same name: rename that file"


def hiding_files(folder: Path) -> Iterator[Path]:
    """The files of the folder that a script in it would import instead of a Unitrank package."""
    folders = [entry for entry in sys.path if Path(entry).absolute() != folder.absolute()]
    for package in PACKAGES:
        installed = PathFinder.find_spec(package, folders)
        for file in (folder / f"{package}.py", folder / package / "__init__.py"):
            if file.is_file() and installed is not None and installed.origin != str(file.absolute()):
                yield file


def _is_ours(file: Path) -> bool:
    """Whether the file is the `__init__.py` of a Unitrank package.

    A wheel installs all packages in one folder; a clone has them in sibling folders.
    """
    this = Path(__file__).with_name("__init__.py")
    return file.name == this.name and (file.parents[1] == this.parents[1] or file.parents[2:3] == this.parents[2:3])
