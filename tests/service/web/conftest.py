"""Fixtures for the tests of the page."""

import re
from html import unescape
from html.parser import HTMLParser

TABS = ["verdict", "curves", "units", "heatmaps", "examples", "warnings", "provenance", "request", "downloads"]


HOSTILE = "<script>alert('1')</script>\"'&"


def choices(page: str, name: str) -> list[str]:
    """The values that a select of the page offers."""
    field = re.search(rf'<select[^>]* name="{re.escape(name)}".*?</select>', page, re.DOTALL)
    return [unescape(value) for value in re.findall(r'<option value="([^"]*)"', field[0])] if field else []


def fields_of_form(page: str) -> dict[str, list[str]]:
    """The fields that a browser sends for the page's form for a job."""
    reader = _FormReader()
    reader.feed(page)
    return reader.fields


class _FormReader(HTMLParser):
    """Collects the values of the controls in the form `job-form`."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, list[str]] = {}
        self._inside = False
        self._select, self._text = "", ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        its = dict(attributes)
        if tag == "form":
            self._inside = its.get("id") == "job-form"
        if not self._inside:
            return
        name, value = its.get("name") or "", its.get("value") or ""
        if tag == "select":
            self._select = name
        elif tag == "option" and ("selected" in its or self._select not in self.fields):
            self.fields[self._select] = [value]
        elif tag == "textarea":
            self._text, self.fields[name] = name, [""]
        elif tag == "input" and name and (its.get("type") != "checkbox" or "checked" in its):
            self.fields.setdefault(name, []).append(value)

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self._text = ""

    def handle_data(self, data: str) -> None:
        if self._text:
            self.fields[self._text][0] += data
