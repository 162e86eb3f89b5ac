"""The linter of the prose: each rule rejects its own example and accepts the better form."""

import subprocess
import sys
from importlib import util
from pathlib import Path
from types import ModuleType

import pytest

PROGRAM = Path(__file__).parents[1] / ".ci" / "prose.py"


def load() -> ModuleType:
    spec = util.spec_from_file_location("prose", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    sys.modules["prose"] = module
    spec.loader.exec_module(module)
    return module


prose = load()


def rules(tmp_path: Path, source: str, name: str = "module.py") -> list[str]:
    """The rules that reject a file of this source, one entry for each finding."""
    path = tmp_path / name
    path.write_text(source)
    return [rule for _, rule, _ in prose.findings(path)]


@pytest.mark.parametrize("rule", prose.SENTENCES)
@pytest.mark.parametrize(
    "source", ['"""{}"""\n', "# {}\nx = 1\n", "x = 1  # {}\n", "raise ValueError('Lorem ipsum dolor. ' + \"{}\")\n"]
)
def test_a_sentence_is_rejected_and_its_better_form_is_accepted(tmp_path, rule, source):
    _, rejected, better = prose.SENTENCES[rule]

    assert rules(tmp_path, source.format(rejected)) == [rule]
    assert rules(tmp_path, source.format(better)) == []


@pytest.mark.parametrize("rule", prose.SENTENCES)
@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("page.md", "# Title\n\nA paragraph. {}\n"),
        ("page.md", "- An item\n- {}\n"),
        ("page.html", "<p>Some <b>text</b></p><p>{}</p>\n"),
        ("script.lua", "-- {}\nreturn 1\n"),
        ("Makefile", "# {}\nall:\n"),
        ("settings.toml", "# {}\n[a]\n"),
        ("page.js", "// {}\n"),
    ],
)
def test_every_kind_of_file_is_read(tmp_path, name, source, rule):
    _, rejected, better = prose.SENTENCES[rule]

    assert rules(tmp_path, source.format(rejected), name) == [rule]
    assert rules(tmp_path, source.format(better), name) == []


@pytest.mark.parametrize(
    "sentence",
    [
        "What does a unit do?",
        "The service reports what was wrong.",
        "The mean is no longer stored.",
        "Its ranking is no better than chance.",
        "The gap is no larger than 1e-6.",
        "There is no job of this name.",
        "Returns None if x is None.",
        "It is so large that the batch is split; so many units that memory ends.",
        "Twice as many rows take three times as long.",
        "Positive and negative units can be told apart.",
        "The sum is divided by itself.",
        "The value lies in [0, 1], and its error lies between both.",
        "Calls `said(whoever)` and ``told``.",
        "Anybody may read it.",
        "Debian has Redis 7. It is installed last.",
    ],
)
def test_plain_sentences_are_accepted(tmp_path, sentence):
    assert rules(tmp_path, f'"""{sentence}"""\n') == []


def test_questions_and_words_are_allowed_in_headings_tables_code_and_doctests(tmp_path):
    page = "# What is new\n\n| What | Why |\n|---|---|\n\n```\nWhoever is no so many\n```\n"
    module = '"""The sum.\n\n>>> told = 1\n\n    Such a listing\n"""\n'

    assert rules(tmp_path, page, "page.md") == []
    assert rules(tmp_path, module) == []


def test_a_sentence_over_two_lines_is_named_by_its_own_line(tmp_path):
    path = tmp_path / "page.md"
    path.write_text("A paragraph of\ntwo lines. What\nis left is one\nof so\nmany.\n")

    assert [(number, rule) for number, rule, _ in prose.findings(path)] == [(2, "opening"), (4, "so many")]


@pytest.mark.parametrize("source", ['"""{}."""\n', "# {}.\n", "def f():\n    # {}.\n    return 1\n"])
def test_a_long_line_of_prose_is_rejected_and_code_is_not(tmp_path, source):
    words = "word " * 30

    assert rules(tmp_path, source.format(words)) == ["length"]
    assert rules(tmp_path, source.format(words[:80])) == []
    assert rules(tmp_path, f"x = {' + '.join(['1'] * 40)}\n") == []


def test_a_long_link_and_a_row_of_a_table_may_be_longer_than_a_line(tmp_path):
    link = f"- [text](https://example.org/{'x' * 100})"

    assert rules(tmp_path, f"{link}\n\n| {'word ' * 30} |\n", "page.md") == []
    assert rules(tmp_path, f"some words {'before ' * 15}{link}\n", "page.md") == ["length"]


@pytest.mark.parametrize(
    "code", ["found = 1", "def f(told): ...", "for known in []: ...", "[made for made in []]", "(said := 1)", "lambda wanted: 1"]
)
def test_a_vague_name_is_rejected(tmp_path, code):
    assert rules(tmp_path, f"{code}\n") == ["name"]


def test_attributes_and_keywords_are_not_names_of_variables(tmp_path):
    assert rules(tmp_path, "record.found = f(known=record.shown)\n") == []


def test_the_program_prints_each_finding_with_a_better_form_and_exits_with_1(tmp_path):
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / "module.py").write_text('"""What it does."""\n\nfound = 1\n')
    command = [sys.executable, PROGRAM]

    every = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    one = subprocess.run([*command, "--only", "name", "module.py"], cwd=tmp_path, capture_output=True, text=True)
    none = subprocess.run([*command, "--only", "length"], cwd=tmp_path, capture_output=True, text=True)

    assert every.returncode == one.returncode == 1
    assert none.returncode == 0
    assert every.stdout.startswith("module.py:1: opening: What it does.")
    assert prose.SENTENCES["opening"].better in every.stdout
    assert one.stdout.startswith("module.py:3: name: found")
    assert none.stdout == ""


def test_the_table_counts_findings_and_docstrings_by_room(tmp_path):
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "module.py").write_text('"""What it does. Four words in two."""\n\nfound = 1\n')

    table = subprocess.run([sys.executable, PROGRAM, "--count"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    rows = {
        cells[1].strip(): [cell.strip() for cell in cells[2:-1]]
        for cells in (line.split("|") for line in table.splitlines() if "|" in line)
    }
    assert rows[""] == ["store", "all"]
    assert rows["opening"] == rows["name"] == rows["docstrings"] == ["1", "1"]
    assert table.endswith("\n3.5 words in a sentence of a docstring\n")
