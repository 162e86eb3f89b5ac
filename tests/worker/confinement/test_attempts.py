"""A confined child refuses what a model could try, and still computes."""

import errno
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.confinement.attempts import attempts
from tests.worker.confinement.children import child, result_of
from unitrank_schemas.base import Json

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are parts of Linux")

ANYTHING: Json = {"blob": "", "state": "", "socket": "", "parent": 0, "sent": 0, "scratch": ""}
# EXDEV: Landlock refuses a link between folders with the error of a link between file systems.
REFUSALS = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EXDEV}


@pytest.fixture(scope="module")
def summary(confinable: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Json]:
    """The summary of a job that makes all attempts."""
    folder = tmp_path_factory.mktemp("confined")
    state, scratch = folder / "state", folder / "scratch"
    for path in (state, scratch):
        path.mkdir()
    (state / "blob").write_text("of another tenant")
    (folder / "table").write_text("of this tenant")
    # The path of a socket is short.
    address = os.path.relpath(state / "socket", Path.cwd())
    with socket.socket(socket.AF_UNIX) as store, child(scratch, "tests.worker.confinement.attempts:Attempting") as confined:
        store.bind(address)
        target = {"blob": state / "blob", "state": state, "socket": address, "parent": os.getpid()}
        metadata = {name: value if isinstance(value, int) else str(value) for name, value in target.items()}
        yield result_of(confined, {"metadata": metadata}, folder / "table").summary
    assert (state / "blob").read_text() == "of another tenant"
    assert sorted(path.name for path in state.iterdir()) == ["blob", "socket"]


@pytest.mark.parametrize("name", sorted(attempts(ANYTHING)))
def test_child_when_it_tries_what_it_must_not_then_each_thread_is_refused(summary: Json, name: str) -> None:
    assert set(summary["refused"][name]) <= REFUSALS


def test_child_when_confined_then_computes_starts_threads_and_uses_its_scratch_folder(summary: Json) -> None:
    works = summary["works"]
    folder = works.pop("temporary")

    assert works == {
        "sent": "of this tenant",
        "scratch": "text",
        "thread": 0,
        "product": 27_000_000.0,
        "processors": True,
        "own process": True,
        "home": folder,
    }
    assert Path(folder).parent.name == "scratch"
