"""Reading durations and keys, and printing tables."""

import pytest

from unitrank.cli.output import open_client, parse_seconds, parse_value, print_table
from unitrank.errors import NotPossible


@pytest.mark.parametrize(("words", "seconds"), [(None, None), ("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200)])
def test_duration_when_written_with_a_unit_then_is_seconds(words: str | None, seconds: float | None) -> None:
    assert parse_seconds(words) == seconds


@pytest.mark.parametrize("words", ["soon", "-1", "5d", ""])
def test_duration_when_it_is_invalid_then_the_error_shows_how_to_write_one(words: str) -> None:
    with pytest.raises(NotPossible, match="write 90, 90s, 20m or 2h"):
        parse_seconds(words)


def test_key_when_it_is_in_the_environment_then_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNITRANK_KEY", "secret")
    with open_client("http://127.0.0.1:1") as client:
        assert client._http.headers["Authorization"] == "Bearer secret"


def test_table_when_a_cell_holds_brackets_then_they_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", ""), [("a[red]b", "x" * 150)])

    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split() for line in err.splitlines()] == [["name"], ["a[red]b", "x" * 150]]


@pytest.mark.parametrize(("text", "value"), [("7", 7), ("gradient", "gradient"), ('{"name": "random"}', {"name": "random"})])
def test_value_when_it_is_json_then_is_parsed_and_else_is_the_text(text: str, value: object) -> None:
    assert parse_value(text) == value


@pytest.mark.parametrize("text", ["{bad", '["gradient"', "{name: random}"])
def test_value_when_it_is_broken_json_then_the_error_shows_the_text(text: str) -> None:
    with pytest.raises(NotPossible, match="is not valid JSON"):
        parse_value(text)
