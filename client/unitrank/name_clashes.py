"""Files of the user that Python imports in the place of Unitrank's own packages."""

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
    """A sentence that names the user's file which made the import of a Unitrank package fail; empty if no file did."""
    package = (error.name or "").partition(".")[0]
    file = getattr(sys.modules.get(package), "__file__", None)
    if package not in PACKAGES or file is None or _is_ours(Path(file)):
        return ""
    return f"{file} stands in the place of Unitrank's package {package}: rename that file"


def hiding_files(folder: Path) -> Iterator[Path]:
    """Files of the folder that a script in it would import instead of a Unitrank package."""
    elsewhere = [place for place in sys.path if Path(place).absolute() != folder.absolute()]
    for package in PACKAGES:
        installed = PathFinder.find_spec(package, elsewhere)
        for file in (folder / f"{package}.py", folder / package / "__init__.py"):
            if file.is_file() and installed is not None and installed.origin != str(file.absolute()):
                yield file


def _is_ours(file: Path) -> bool:
    """Whether the file is a package's own: a wheel has all packages in one folder, a clone in folders beside each other."""
    this = Path(__file__).with_name("__init__.py")
    return file.name == this.name and (file.parents[1] == this.parents[1] or file.parents[2:3] == this.parents[2:3])
