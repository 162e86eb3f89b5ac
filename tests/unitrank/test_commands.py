"""What the words of a command line stand for."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from unitrank.commands.jobs import _request
from unitrank.commands.speaking import document, opened, seconds_of, show
from unitrank.errors import NotPossible

NONE: dict[str, str | None] = {"model": None, "layer": None, "dataset": None}


@pytest.mark.parametrize(("words", "seconds"), [(None, None), ("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200)])
def test_duration_when_written_with_a_unit_then_is_seconds(words: str | None, seconds: float | None) -> None:
    assert seconds_of(words) == seconds


@pytest.mark.parametrize("words", ["soon", "-1", "5d", ""])
def test_duration_when_it_is_none_then_says_how_to_write_one(words: str) -> None:
    with pytest.raises(NotPossible, match="write 90, 90s, 20m or 2h"):
        seconds_of(words)


@pytest.mark.parametrize(
    ("clusters", "expected"),
    [
        ("label", {"by": "label"}),
        ("field:group", {"by": "field", "field": "group"}),
        ('{"by": "members", "members": {"a": [0]}}', {"by": "members", "members": {"a": [0]}}),
    ],
)
def test_request_when_flags_stand_beside_a_file_then_the_flags_count(tmp_path: Path, clusters: str, expected: Any) -> None:
    (tmp_path / "job.yaml").write_text("model: a\nlayer: '1'\nmethods: [activation]\nseed: 1\n")
    methods = ["gradient", '{"name": "conductance", "steps": 9}']
    others = ["seed=7", 'target={"class": 1}', "units=channel"]
    request = _request(tmp_path / "job.yaml", NONE | {"model": "b"}, methods, clusters, others)

    assert request == {
        "model": "b",
        "layer": "1",
        "methods": ["gradient", {"name": "conductance", "steps": 9}],
        "clusters": expected,
        "seed": 7,
        "target": {"class": 1},
        "units": "channel",
    }


def test_request_when_there_is_none_then_says_what_to_give(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("- a\n")
    (tmp_path / "wrong.yaml").write_text("a: [\n")
    for words, wrong in {
        "there is no request": lambda: _request(None, NONE, None, None, []),
        "--set 'seed' says no field": lambda: _request(None, NONE, None, None, ["seed"]),
        "holds a list": lambda: document(tmp_path / "list.yaml"),
        "neither JSON nor YAML": lambda: document(tmp_path / "wrong.yaml"),
        "cannot be read": lambda: document(tmp_path / "none.json"),
    }.items():
        with pytest.raises(NotPossible, match=words):
            wrong()


def test_key_when_it_is_in_the_environment_then_is_sent_and_no_option_takes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNITRANK_KEY", "secret")
    with opened("http://127.0.0.1:1") as client:
        assert client._http.headers["Authorization"] == "Bearer secret"
    words = [sys.executable, "-m", "unitrank", "submit", "--help"]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "UNITRANK_KEY" in shown
    assert "--key" not in shown


def test_table_when_a_cell_holds_brackets_then_they_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    show(("name", ""), [("a[red]b", "x" * 150)])

    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split() for line in err.splitlines()] == [["name"], ["a[red]b", "x" * 150]]


def test_completion_when_a_shell_asks_then_there_is_one() -> None:
    environment = os.environ | {"_UNITRANK_COMPLETE": "complete_bash", "COMP_WORDS": "unitrank put-", "COMP_CWORD": "1"}
    program = "import sys; sys.argv[0] = 'unitrank'; from unitrank.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)

    assert done.stdout.split() == ["put-model", "put-dataset"]
