"""A machine that cannot confine a child, or not completely."""

import subprocess
import sys
from pathlib import Path

import pytest

from unitrank_worker.confinement import files, system_calls
from unitrank_worker.confinement.confinement import Confinement
from unitrank_worker.confinement.errors import NotConfined

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are parts of Linux")
LANDLOCK = "landlock_create_ruleset"


def on_older_kernel(confinement: str, scratch: Path, *calls: str) -> subprocess.CompletedProcess[str]:
    """The output of a child's start on a kernel without these system calls."""
    command = [sys.executable, "-m", "tests.worker.confinement.older_kernel", confinement, str(scratch), *calls]
    return subprocess.run(command, capture_output=True, text=True, check=True)


@LINUX
@pytest.mark.usefixtures("confinable")
def test_child_when_the_kernel_lacks_landlock_then_starts_and_says_so(tmp_path: Path) -> None:
    output = on_older_kernel("try", tmp_path, LANDLOCK).stdout

    assert output.startswith("ready: Landlock cannot be used: ")
    assert "seccomp" not in output


@LINUX
@pytest.mark.check
@pytest.mark.usefixtures("confinable")
def test_child_when_the_kernel_lacks_seccomp_then_starts_and_says_so(tmp_path: Path) -> None:
    assert on_older_kernel("try", tmp_path, "seccomp").stdout.startswith("ready: seccomp cannot be used: ")


@LINUX
@pytest.mark.check
@pytest.mark.usefixtures("confinable")
@pytest.mark.parametrize("call", [LANDLOCK, "seccomp"])
def test_child_when_confinement_is_required_and_missing_then_does_not_start(tmp_path: Path, call: str) -> None:
    done = on_older_kernel("require", tmp_path, call)

    assert done.stdout == "not started: the child ended while it started\n"
    assert "child not confined" in done.stderr
    assert "UNITRANK_CONFINEMENT=require" in done.stderr


def test_confinement_when_a_library_is_missing_then_names_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for library in ("landlock", "pyseccomp"):
        monkeypatch.setitem(sys.modules, library, None)

    with pytest.raises(NotConfined, match=r"Landlock cannot be used: .*landlock"):
        files.restrict(tmp_path, [], on_gpu=False)
    with pytest.raises(NotConfined, match=r"seccomp cannot be used: .*pyseccomp"):
        system_calls.SystemCallFilter()


def test_confinement_when_off_then_limits_nothing_and_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    confinement = Confinement("off")
    confinement.limit_files(tmp_path, "cpu")
    confinement.limit_calls()

    assert confinement.lacks == "UNITRANK_CONFINEMENT is off"


@LINUX
def test_files_when_another_thread_runs_then_are_not_limited(tmp_path: Path) -> None:
    script = (
        "import sys, threading; from pathlib import Path; from unitrank_worker.confinement.confinement import Confinement\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "confinement = Confinement('try'); confinement.limit_files(Path(sys.argv[1]), 'cpu'); print(confinement.lacks)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)

    assert done.stdout == "Landlock was not applied, because the process has 2 threads; it must have one\n"


@LINUX
@pytest.mark.usefixtures("confinable")
@pytest.mark.parametrize(
    ("added", "readable", "cause"),
    [
        ("sys.path.append(sys.argv[1])", "()", "a folder of Python's packages; choose another UNITRANK_STATE"),
        (
            "from unitrank_worker.confinement import files; files.READABLE['/'] += ' ' + sys.argv[1][1:]",
            "()",
            "a folder of the system; choose another UNITRANK_STATE",
        ),
        ("pass", "[sys.argv[1]]", "a folder in UNITRANK_READABLE_FOLDERS; name only folders without the state"),
    ],
)
def test_files_when_the_state_folder_is_inside_a_readable_folder_then_says_so(
    tmp_path: Path, added: str, readable: str, cause: str
) -> None:
    script = (
        "import sys; from pathlib import Path; from unitrank_worker.confinement.confinement import Confinement\n"
        f"{added}; confinement = Confinement('try')\n"
        f"confinement.limit_files(Path(sys.argv[1], 'state'), 'cpu', {readable}); print(confinement.lacks)"
    )
    (tmp_path / "state").mkdir()
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)

    assert done.stdout == f"the child can read the data of all tenants, because they are inside {tmp_path}, {cause}\n"


@LINUX
@pytest.mark.usefixtures("confinable")
def test_files_when_a_package_is_a_link_then_it_can_be_imported(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from unitrank_worker.confinement.confinement import Confinement\n"
        "sys.path.append(sys.argv[1]); Confinement('require').limit_files(Path(sys.argv[2]), 'cpu')\n"
        "import linked; print(linked.NAME)"
    )
    packages, cache, scratch = tmp_path / "site-packages", tmp_path / "cache" / "linked", tmp_path / "scratch"
    for folder in (packages, cache, scratch):
        folder.mkdir(parents=True)
    (cache / "__init__.py").write_text("NAME = 'a package'")
    (packages / "linked").symlink_to(cache)
    command = [sys.executable, "-c", script, str(packages), str(scratch)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout == "a package\n"
