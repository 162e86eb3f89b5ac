"""The labels of the plots in a browser: no canvas cuts a text, at both widths."""

from typing import Any

import pytest

from tests.e2e.test_page import files, run_job, url_with_contents
from tests.support.browsing import TOUCH, browser, opened

pytestmark = pytest.mark.check

__all__ = ["browser", "files", "url_with_contents"]

RECORD = """
window.drawnTexts = [];
const fillText = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
  const size = this.measureText(text), ends = [x - size.actualBoundingBoxLeft, x + size.actualBoundingBoxRight];
  const sides = [y - size.actualBoundingBoxAscent, y + size.actualBoundingBoxDescent];
  const corners = ends.flatMap((left) => sides.map((top) => this.getTransform().transformPoint({ x: left, y: top })));
  const inside = corners.every((at) => at.x >= -1 && at.y >= -1 && at.x <= this.canvas.width + 1 && at.y <= this.canvas.height + 1);
  window.drawnTexts.push([text, inside]);
  return fillText.apply(this, arguments);
};
"""
"""Records each text that a canvas draws, and whether the canvas holds the whole text."""


@pytest.fixture(scope="module")
def job(url_with_contents: str) -> str:
    """The id of a job with long names of rankings and clusters."""
    methods = ["integrated_gradients", "gradient_x_activation", {"name": "conductance", "statistic": "mean_abs"}]
    members = {"the first of the groups": list(range(45)), "the last of the groups": list(range(45, 90))}
    return run_job(url_with_contents, methods=methods, clusters={"by": "members", "members": members})


@pytest.mark.parametrize("width", ["desktop", TOUCH])
@pytest.mark.parametrize("tab", ["verdict", "curves", "units"])
def test_labels_when_they_are_long_then_no_canvas_cuts_them(
    browser: Any, url_with_contents: str, job: str, tab: str, width: str
) -> None:
    with opened(browser, url_with_contents, width) as page:
        page.add_init_script(RECORD)
        page.goto(f"/jobs/{job}?tab={tab}")
        for figure in page.locator("figure[data-plot]").all():
            figure.scroll_into_view_if_needed()
            page.wait_for_function("figure => figure.hasAttribute('data-drawn')", arg=figure.element_handle())
        page.evaluate("() => new Promise((ready) => requestAnimationFrame(() => requestAnimationFrame(ready)))")
        texts = page.evaluate("window.drawnTexts")

    assert texts
    assert [text for text, inside in texts if not inside] == []
