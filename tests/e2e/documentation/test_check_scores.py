"""docs/check-scores.md: its code runs, and it shows the real output of its commands."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from unitrank.cli.main import main

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "check-scores.md").read_text()
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(sh|python|text)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.check


@pytest.fixture(autouse=True)
def examples_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The working folder has the folder `examples`, as a clone has."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "examples"))


def run(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    return capsys.readouterr().out


def without_digits(text: str) -> str:
    """The text without numbers that can differ between machines."""
    return re.sub(r"\d+(\.\d+)?(e-?\d+)?", "#", text)


def test_page_when_its_commands_run_then_it_shows_their_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    three_towers = pytest.importorskip("three_towers")
    commands = [shlex.split(text) for kind, text in BLOCKS if kind == "sh"]
    outputs = [text for kind, text in BLOCKS if kind == "text"]
    monkeypatch.setattr(sys, "argv", commands[0][1:])
    three_towers.main()
    printed = [run(words, monkeypatch, capsys) for words in commands[1:]]

    assert len(printed) == 2
    assert [without_digits(text) for text in printed] == [without_digits(text) for text in outputs[:2]]
    assert "first 32 of 600 examples" in printed[0]


def test_page_when_its_complete_code_runs_then_it_prints_what_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    complete = [text for kind, text in BLOCKS if kind == "python" and "print(" in text]
    for code in complete:
        exec(compile(code, "docs/check-scores.md", "exec"), {})

    assert capsys.readouterr().out == "".join(text for kind, text in BLOCKS if kind == "text" and not text.startswith("scores:"))


def test_page_when_it_shows_a_function_then_the_example_has_its_statements() -> None:
    """The page leaves out annotations and docstrings."""
    example = (ROOT / "examples" / "three_towers.py").read_text()
    lines = [line.strip() for kind, text in BLOCKS if kind == "python" and "def " in text for line in text.splitlines()]

    statements = [line for line in lines if line and not line.startswith(("def ", "outputs = [", "total, count"))]

    assert [line for line in statements if line not in example] == []
