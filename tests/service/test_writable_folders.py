"""The service's temporary files and caches, without a home and with a read-only root."""

import os
import tempfile
from pathlib import Path

import pytest

from unitrank_service.writable_folders import CACHES, use_writable_folders


@pytest.fixture(autouse=True)
def unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    for name in CACHES:
        # Also a variable that was not set is restored.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def no_folder() -> str:
    raise FileNotFoundError("no usable temporary directory found")


def test_service_when_home_is_missing_then_caches_are_in_the_state_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setenv("XDG_CACHE_HOME", "/set/by/the/operator")

    use_writable_folders(tmp_path)

    assert os.environ["MPLCONFIGDIR"] == str(tmp_path / "caches")
    assert os.environ["XDG_CACHE_HOME"] == "/set/by/the/operator"
    assert (tmp_path / "caches").stat().st_mode & 0o777 == 0o700


def test_service_when_no_temporary_folder_is_writable_then_it_is_in_the_state_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "gettempdir", no_folder)
        use_writable_folders(tmp_path)

    assert tempfile.gettempdir() == str(tmp_path / "tmp")


def test_service_when_its_folders_are_writable_then_nothing_changes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    use_writable_folders(tmp_path / "state")

    assert not (tmp_path / "state").exists()
    assert "MPLCONFIGDIR" not in os.environ


def test_service_when_the_state_folder_is_not_writable_either_then_it_still_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", "/nonexistent")
    (tmp_path / "file").write_text("")

    use_writable_folders(tmp_path / "file")

    assert "MPLCONFIGDIR" not in os.environ
