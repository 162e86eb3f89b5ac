"""Each child has a folder of its own for temporary files."""

import subprocess
import sys
from pathlib import Path

from unitrank_worker.children.scratch import ScratchFolder, sweep

MAKE = "import sys, pathlib; from unitrank_worker.children.scratch import ScratchFolder; ScratchFolder(pathlib.Path(sys.argv[1]))"

HIDE = """
import os, pathlib, shutil, tempfile
from unitrank_worker.children.scratch import ScratchFolder
if os.getuid() == 0:
    os.setuid(12345)
with tempfile.TemporaryDirectory() as root:
    outside = pathlib.Path(root, "outside")
    outside.mkdir(0o500)
    folder = ScratchFolder(pathlib.Path(root, "children"))
    (folder.path / "a" / "b").mkdir(parents=True)
    (folder.path / "link").symlink_to(outside)
    (folder.path / "a" / "b" / "rows").write_text("rows of a tenant")
    for name in ("a/b", "a"):
        (folder.path / name).chmod(0o300)
    folder.remove()
    print(list(pathlib.Path(root, "children").iterdir()), "kept" if outside.stat().st_mode & 0o777 == 0o500 else "changed")
"""


def test_folder_when_made_then_is_new_and_only_its_user_can_read_it(tmp_path: Path) -> None:
    first, second = (ScratchFolder(tmp_path / "children") for _ in range(2))

    assert first.path != second.path
    assert first.path.stat().st_mode & 0o777 == 0o700
    first.remove()
    second.remove()


def test_folder_when_removed_then_its_files_are_gone(tmp_path: Path) -> None:
    folder = ScratchFolder(tmp_path / "children")
    (folder.path / "incoming-1").write_text("rows of a tenant")
    folder.remove()

    assert list((tmp_path / "children").iterdir()) == []


def test_folder_when_a_child_made_folders_that_nobody_may_list_then_all_are_deleted() -> None:
    # The superuser may list every folder.
    done = subprocess.run([sys.executable, "-c", HIDE], capture_output=True, text=True, check=True)

    assert done.stdout == "[] kept\n"


def test_folder_when_its_process_has_ended_then_the_sweep_deletes_it_and_no_other(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", MAKE, tmp_path], check=True)
    (ended,) = tmp_path.iterdir()
    alive = ScratchFolder(tmp_path)
    sweep(tmp_path)

    assert not ended.exists()
    assert alive.path.exists()
    alive.remove()
