"""A browser for tests of pages: it checks each page's requests, errors, width and accessibility."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

AXE = Path(__file__).parent / "axe" / "axe.min.js"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDTHS = {"desktop": 1280, "phone": 360}
TOUCH = "touch"
"""A phone of 390 pixels that is used with a finger."""
PATIENCE = 60_000
"""Milliseconds to wait for an element: enough for a busy machine."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium with an empty profile.

    Without chromium the test is skipped, or fails where CI is set.
    """
    try:
        from playwright.sync_api import sync_playwright

        program = shutil.which("chromium")
        assert program, "there is no program `chromium`"
    except (ImportError, AssertionError) as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no browser to test in: {error}")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield started
        started.close()


@contextmanager
def opened(browser: Any, url: str, width: str = "desktop", excused: str = "") -> Iterator[Any]:
    """A new page. The test fails if it logs an error or warning, or requests another host.

    `excused`: errors and warnings with this text are ignored. `width`: a key of `WIDTHS`, or
    `TOUCH`.
    """
    screen = {"width": WIDTHS.get(width, 390), "height": 900}
    finger = {"has_touch": True, "is_mobile": True} if width == TOUCH else {}
    context = browser.new_context(base_url=url, viewport=screen, reduced_motion="reduce", **finger)
    context.set_default_timeout(PATIENCE)
    wrong: list[str] = []

    def complain(text: str) -> None:
        if not excused or excused not in text:
            wrong.append(text)

    def watch(page: Any) -> None:
        page.on("console", lambda message: message.type in ("error", "warning") and complain(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: request.url.startswith(url) or wrong.append(request.url))

    context.on("page", watch)
    try:
        yield context.new_page()
    finally:
        context.close()
    assert wrong == [], wrong


def check_page(page: Any, path: str) -> None:
    """Open the path; check that it fits the width, and that axe finds no serious violation.

    In dark colours only the contrast is checked: everything else is the same.
    """
    page.emulate_media(color_scheme="light")
    page.goto(path)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
    assert _serious_violations(page, "axe.run()") == [], path
    page.emulate_media(color_scheme="dark")
    assert _serious_violations(page, "axe.run({runOnly: ['color-contrast']})") == [], path


def _serious_violations(page: Any, script: str) -> list[tuple[str, str]]:
    """Rule and first element of each serious or critical violation."""
    violations = page.evaluate(script)["violations"]
    return [(each["id"], each["nodes"][0]["html"]) for each in violations if each["impact"] in ("serious", "critical")]
