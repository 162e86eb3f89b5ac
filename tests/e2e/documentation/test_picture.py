"""The picture of the page in README: the demo's job in a browser.

`make picture` writes it to docs/page.png.
"""

import os
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread
from rich.console import Console

from tests.support.browsing import browser, opened
from unitrank.client.sync import Client
from unitrank.server import demo

pytestmark = pytest.mark.check

__all__ = ["browser"]

COMMITTED = Path(__file__).parents[3] / "docs" / "page.png"


def test_page_of_the_demo_when_opened_then_has_the_verdict_of_the_picture_in_readme(
    browser: Any, url: str, client: Client, tmp_path: Path
) -> None:
    target = Path(os.environ.get("UNITRANK_PICTURE", tmp_path / "page.png"))
    demo.make(tmp_path, seed=0)
    result = demo.rank(client, tmp_path, 0, tmp_path, Console(quiet=True))
    with opened(browser, url) as page:
        page.emulate_media(color_scheme="light")
        page.goto(f"/jobs/{result.job}")
        page.get_by_role("heading", level=2, name="Verdict").wait_for(state="attached")
        page.wait_for_function("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        text = page.inner_text("main")
        page.screenshot(path=target)

    assert "better than random" in text
    assert "conductance" in text
    assert imread(target).shape == imread(COMMITTED).shape
