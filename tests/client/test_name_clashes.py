"""If Python imports a user's file instead of a Unitrank package, the error names the file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from unitrank.cli.doctor import of_folder

ROOT = Path(__file__).parents[2]
RANK = """
import unitrank
try:
    unitrank.rank(None, "1", [[0.0]], methods=["gradient"])
except unitrank.NotPossible as error:
    print(error)
"""


def _output_of(folder: Path, program: str) -> str:
    (folder / "script.py").write_text(program)
    done = subprocess.run([sys.executable, "script.py"], cwd=folder, env=os.environ, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize(("name", "program"), [("unitrank_schemas", "import unitrank"), ("unitrank_engine", RANK)])
@pytest.mark.parametrize("place", ["{name}.py", "{name}/__init__.py"])
def test_script_when_a_file_beside_it_has_the_name_of_a_package_then_the_error_names_that_file(
    name: str, program: str, place: str, tmp_path: Path
) -> None:
    file = tmp_path / place.format(name=name)
    file.parent.mkdir(exist_ok=True)
    file.write_text("")

    assert f"{file} hides Unitrank's package {name}, because it has the same name: rename that file" in _output_of(
        tmp_path, program
    )


def test_doctor_when_a_folder_has_files_with_names_of_packages_then_it_names_them(tmp_path: Path) -> None:
    (tmp_path / "unitrank").mkdir()
    for name in ("unitrank.py", "unitrank/__init__.py", "unitrank_store.py", "unitrank_of_mine.py", "worker.py"):
        (tmp_path / name).write_text("")

    assert [finding.subject for finding in of_folder(tmp_path)] == ["unitrank.py", "unitrank/__init__.py", "unitrank_store.py"]


@pytest.mark.parametrize("folder", ["client", "store"])
def test_doctor_when_a_folder_holds_the_packages_themselves_then_finds_nothing(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / folder)])

    assert list(of_folder(ROOT / folder)) == []
