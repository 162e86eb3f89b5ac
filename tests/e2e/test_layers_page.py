"""The page of a job with several layers in a browser, with a job that a real worker has run."""

from typing import Any

import httpx
import pytest

from tests.e2e.test_page import cells_of, files, run_job, url_with_contents
from tests.support.browsing import AXE, TOUCH, browser, check_page, opened

pytestmark = pytest.mark.check

__all__ = ["browser", "files", "url_with_contents"]

LAYERS = ["0", "1", "2"]
TABS = ["verdict", "curves", "units", "heatmaps", "examples", "warnings", "provenance", "request", "downloads"]


@pytest.fixture(scope="module")
def layered(url_with_contents: str) -> str:
    """The id of a job with three layers, and the units of all of them together."""
    return run_job(url_with_contents, layer=LAYERS, joint=True, metadata={"name": "Three layers"})


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def test_overview_when_displayed_then_has_the_numbers_of_the_api(browser: Any, url_with_contents: str, layered: str) -> None:
    with httpx.Client(base_url=url_with_contents, timeout=90) as client:
        result = client.get(f"/v1/jobs/{layered}/result").json()
        clusters = [each["name"] for each in result["clusters"]]
        area, selectivity, share = client.get(f"/v1/jobs/{layered}/plots/layers.json?cluster={clusters[1]}").json()["panels"]
    with opened(browser, url_with_contents) as page:
        page.goto(f"/jobs/{layered}")
        overall = cells_of(page, "Layers")
        page.get_by_label("Cluster", exact=True).select_option(clusters[1])
        page.get_by_role("button", name="Show", exact=True).click()
        page.wait_for_url(f"**cluster={clusters[1]}*")
        page.locator("figure[data-drawn]").wait_for()
        of_cluster = cells_of(page, "Layers")

    parts = result["layers"] | {"joint": result["joint"]}
    assert [cells[0] for cells in overall] == [*LAYERS, "all layers together"]
    for cells, part in zip(overall, parts.values(), strict=True):
        ranking = next(each for each in part["rankings"] if each["id"] == cells[1])
        values = list(ranking["specificity"]["selectivity"].values())
        assert cells[4:6] == [number(ranking["overall"]["area"]), number(sum(values) / len(values))]
    for place, cells in enumerate(of_cluster[:3]):
        assert cells[4:6] == [number(area["values"][place]), number(selectivity["values"][place])]
        if share["values"][place] is None:
            assert cells[6] == "–"
        else:
            assert cells[6].endswith(f"({100 * share['values'][place]:.3g}\u00a0%)")


def test_layer_when_chosen_then_its_leaderboard_is_displayed(browser: Any, url_with_contents: str, layered: str) -> None:
    with httpx.Client(base_url=url_with_contents, timeout=90) as client:
        leaders = {name: client.get(f"/v1/jobs/{layered}/result?layer={name}").json()["leaderboard"] for name in [*LAYERS, "joint"]}
    with opened(browser, url_with_contents) as page:
        page.goto(f"/jobs/{layered}")
        page.get_by_role("region", name="Layers").get_by_role("link", name="1", exact=True).click()
        page.wait_for_url("**layer=1*")
        for name, expected in leaders.items():
            page.get_by_label("Layer", exact=True).select_option(name)
            page.get_by_role("button", name="Show the layer").click()
            page.wait_for_url(f"**layer={name}*")
            rows = cells_of(page, "Leaderboard")
            assert [cells[0] for cells in rows] == [each["ranking"] for each in expected]
            assert [cells[5] for cells in rows] == [number(each["area"]) for each in expected]
        page.get_by_role("navigation", name="Parts of the result").get_by_role("link", name="Units").click()
        first = page.get_by_role("region", name="The most important units").locator("tbody a").first
        assert " · " in first.inner_text()
        first.click()
        page.get_by_role("link", name="in its layer").click()
        page.get_by_role("heading", name="Which examples move this unit").wait_for()


@pytest.mark.parametrize("layer", [*LAYERS, "joint"])
def test_tabs_of_a_layer_when_opened_then_have_the_numbers_of_the_api(
    browser: Any, url_with_contents: str, layered: str, layer: str
) -> None:
    with httpx.Client(base_url=url_with_contents, timeout=90) as client:
        result = client.get(f"/v1/jobs/{layered}/result?layer={layer}").json()
    best = result["leaderboard"][0]["ranking"]
    (ranking,) = [each for each in result["rankings"] if each["id"] == best]
    cluster = result["clusters"][1]["name"]
    with opened(browser, url_with_contents) as page:
        page.goto(f"/jobs/{layered}?tab=units&layer={layer}&ranking={best}&cluster={cluster}")
        units = cells_of(page, "The most important units")
        page.goto(f"/jobs/{layered}?tab=curves&layer={layer}&ranking={best}")
        studies = cells_of(page, "Clusters")
        top = ranking["clusters"][cluster]["top"][0]["unit"]
        page.goto(f"/jobs/{layered}/units/{top}?layer={layer}")
        of_unit = cells_of(page, "Importance of the unit")
        unit = httpx.get(f"{url_with_contents}/v1/jobs/{layered}/units/{top}?layer={layer}", timeout=90).json()

    expected = ranking["clusters"][cluster]["top"]
    assert [cells[3] for cells in units] == [number(each["importance"]) for each in expected]
    assert [cells[4] for cells in units] == [
        f"{number(each['importance_low'])} to {number(each['importance_high'])}" for each in expected
    ]
    tests = [ranking["clusters"][each["name"]]["ablation"] for each in result["clusters"]]
    assert [cells[6] for cells in studies] == [number(each["most"]["area"]) for each in tests]
    assert [cells[7] for cells in studies] == [number(each["random"]["area_to_beat"]) for each in tests]
    assert [cells[2] for cells in of_unit] == [
        number(entry["importance"]) for each in unit["rankings"] for entry in each["clusters"].values()
    ]


def test_form_when_layers_are_added_then_the_job_has_them(browser: Any, url_with_contents: str, layered: str) -> None:
    with opened(browser, url_with_contents) as page:
        page.goto("/models/pictures")
        for name in ("1", "2"):
            page.get_by_role("checkbox", name=f"Select {name}", exact=True).check()
        page.get_by_role("button", name="New job on the ticked layers").click()
        page.wait_for_url("**/new?*")
        page.get_by_label("Dataset").select_option("images")
        page.get_by_text("90 examples", exact=True).wait_for()
        passes = page.locator("#estimate dd").nth(1)
        before = passes.inner_text()
        page.get_by_label("Further layers").fill("0\n2")
        page.wait_for_function("before => document.querySelectorAll('#estimate dd')[1]?.innerText !== before", arg=before)
        page.get_by_label("Also rank the units of all layers together").check()
        page.wait_for_function("""() => document.getElementById('as-json').textContent.includes('"joint": true')""")
        page.get_by_role("button", name="Send the job").click()
        page.wait_for_url("**/jobs/*")
        page.locator("h1 .state.succeeded").wait_for()
        id = page.url.rpartition("/")[2].partition("?")[0]
        page.get_by_role("link", name="Again with changes").click()
        again = page.get_by_label("Further layers").input_value()
    request = httpx.get(f"{url_with_contents}/v1/jobs/{id}", timeout=90).json()["request"]

    assert (request["layer"], request["joint"]) == (["1", "0", "2"], True)
    assert again.split() == ["0", "2"]


@pytest.mark.parametrize("width", ["desktop", TOUCH])
def test_pages_when_opened_then_fit_and_are_accessible(browser: Any, url_with_contents: str, layered: str, width: str) -> None:
    with opened(browser, url_with_contents, width) as page:
        page.add_init_script(path=AXE)
        check_page(page, f"/jobs/{layered}")
        for tab in TABS:
            check_page(page, f"/jobs/{layered}?tab={tab}&layer=joint")
        for path in (f"/new?job={layered}", "/models/pictures", f"/jobs/{layered}/units/3?layer=joint", "/?layer=1"):
            check_page(page, path)


def test_report_when_opened_then_fits_and_is_accessible(browser: Any, url_with_contents: str, layered: str) -> None:
    with opened(browser, url_with_contents, TOUCH) as page:
        page.goto(f"/v1/jobs/{layered}/report?layer=joint")
        page.get_by_role("heading", level=1, name="Where in the network do few units decide the score?").wait_for()

        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_report_when_wide_then_no_column_of_the_leaderboard_is_cut(browser: Any, url_with_contents: str, layered: str) -> None:
    with opened(browser, url_with_contents) as page:
        page.goto(f"/v1/jobs/{layered}/report")
        table = page.get_by_role("region", name="Rankings").element_handle()

        assert page.evaluate("table => table.scrollWidth <= table.clientWidth", table)
