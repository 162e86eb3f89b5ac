"""A browser to look at pages with: what it may not do, and what axe thinks of them."""

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
# A busy machine: how long a sight may take to come (ms).
PATIENCE = 60_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium with a profile of its own; skipped without it, which is a failure where CI is set."""
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
    """A page that must not complain, but of what is `excused`, nor ask another host for anything."""
    context = browser.new_context(base_url=url, viewport={"width": WIDTHS[width], "height": 900}, reduced_motion="reduce")
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
    assert wrong == []


def looked_at(page: Any, path: str) -> None:
    """The page there fits, and axe finds nothing grave; in dark colours, which differ in nothing but contrast, too."""
    page.emulate_media(color_scheme="light")
    page.goto(path)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
    assert _grave(page, "axe.run()") == [], path
    page.emulate_media(color_scheme="dark")
    assert _grave(page, "axe.run({runOnly: ['color-contrast']})") == [], path


def _grave(page: Any, look: str) -> list[tuple[str, str]]:
    """What axe thinks grave: the rule and the first element."""
    violations = page.evaluate(look)["violations"]
    return [(each["id"], each["nodes"][0]["html"]) for each in violations if each["impact"] in ("serious", "critical")]
