"""Groups of rows as lines of text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unitrank_service.web.job_form.member_lines import MOST_ROWS, BadLines, lines_of, members_of


def test_lines_when_they_have_ranges_and_rows_then_each_row_is_named() -> None:
    assert members_of("cats: 0-3, 7\n\n a: b : 2 ") == {"cats": [0, 1, 2, 3, 7], "a: b": [2]}


@given(
    st.dictionaries(
        st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1), st.lists(st.integers(0, 10**6)), max_size=5
    )
)
def test_lines_when_they_are_written_and_read_then_the_groups_are_the_same(members: dict[str, list[int]]) -> None:
    assert members_of(lines_of(members)) == members


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cats", "line 1 is not NAME: ROWS"),
        (": 1", "line 1 is not NAME: ROWS"),
        ("a: 1\na: 2", "line 2 has the name 'a' again"),
        ("a: 1, x", "line 1 has 'x'; give row numbers"),
        ("a: -1", "line 1 has '-1'"),
        (f"a: 0-{MOST_ROWS}", "line 1 names too many rows"),
        ("a: 0-999999999999999", "line 1 names too many rows"),
        (f"a: 0-{MOST_ROWS - 1}\nb: 1", "line 2 names too many rows"),
    ],
)
def test_lines_when_one_cannot_be_read_then_the_error_names_the_line(text: str, words: str) -> None:
    with pytest.raises(BadLines, match=words):
        members_of(text)
