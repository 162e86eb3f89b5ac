"""Installs the example's architecture without pip: its module, metadata and entry point."""

import shutil
import tomllib
from pathlib import Path

EXAMPLE = Path(__file__).parents[3] / "examples" / "architecture"


def install(folder: Path) -> Path:
    """Install it into `folder` and return that folder. The caller puts it on Python's path."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())
    name, version = project["project"]["name"], project["project"]["version"]
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    groups = project["project"]["entry-points"]
    lines = [line for group, points in groups.items() for line in [f"[{group}]", *(f"{key} = {at}" for key, at in points.items())]]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for module in project["tool"]["setuptools"]["py-modules"]:
        shutil.copy(EXAMPLE / f"{module}.py", folder)
    return folder
