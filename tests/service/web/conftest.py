"""Fixtures for the tests of the page."""

import re
from html import unescape

TABS = ["verdict", "curves", "units", "heatmaps", "warnings", "provenance", "request", "downloads"]


HOSTILE = "<script>alert('1')</script>\"'&"


def choices(page: str, name: str) -> list[str]:
    """The values that a select of the page offers."""
    field = re.search(rf'<select[^>]* name="{re.escape(name)}".*?</select>', page, re.DOTALL)
    return [unescape(value) for value in re.findall(r'<option value="([^"]*)"', field[0])] if field else []
