"""The pictures of the page in README and docs/gallery.md: the demo's job in a browser.

`make picture` writes them to docs/pictures.
"""

import os
import re
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

DOCS = Path(__file__).parents[3] / "docs"
PATHS = {
    "verdict": "/jobs/{job}",
    "curves": "/jobs/{job}?tab=curves",
    "units": "/jobs/{job}?tab=units",
    "unit": "/jobs/{job}/units/{unit}",
    "model": "/models/{model}",
    "form": "/new?job={job}",
    "jobs": "/",
}
"""Picture → the page that it shows."""
DRAWN = "[...document.images].every(image => image.complete && image.naturalWidth > 0)"


def test_page_of_the_demo_when_opened_then_is_that_of_the_pictures(
    browser: Any, url: str, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(os.environ.get("UNITRANK_PICTURES", tmp_path))
    if folder == tmp_path:
        # tests/client/server/test_demo.py runs the whole demo.
        monkeypatch.setattr(demo, "METHODS", ["conductance"])
    demo.make(tmp_path, seed=0)
    result = demo.rank(client, tmp_path, 0, tmp_path, Console(quiet=True))
    names = {"job": result.job, "unit": result.rankings[0].clusters["3"].top[0].unit, "model": result.model.name}
    texts = {}
    with opened(browser, url) as page:
        page.emulate_media(color_scheme="light")
        for picture, path in PATHS.items():
            page.goto(path.format(**names))
            page.wait_for_load_state("networkidle")
            page.wait_for_function(DRAWN)
            texts[picture] = page.inner_text("main")
            page.screenshot(path=folder / f"{picture}.png")

    assert "Can I rely on this list" in texts["verdict"]
    assert "conductance" in texts["jobs"]
    for picture in PATHS:
        assert imread(folder / f"{picture}.png").shape == imread(DOCS / "pictures" / f"{picture}.png").shape


def test_gallery_when_read_then_shows_every_picture() -> None:
    pictures = re.findall(r"\]\(pictures/(\w+)\.png\)", (DOCS / "gallery.md").read_text())

    assert pictures == list(PATHS)
