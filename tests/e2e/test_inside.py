"""Plots, units, examples and datasets in a browser: numbers, keys, colours, accessibility."""

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from torch import nn

from tests.e2e.conftest import ended, save
from tests.support.browsing import AXE, TOUCH, WIDTHS, browser, check_page, opened

pytestmark = pytest.mark.check

__all__ = ["browser"]

BYTES = {"Content-Type": "application/octet-stream"}
COUNT = 60


@pytest.fixture(scope="module")
def job(url: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The id of a job on small images, with classes that have names."""
    folder: Path = tmp_path_factory.mktemp("inside")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    save(net, folder / "net.pt2", torch.zeros(2, 1, 8, 8))
    x = np.random.default_rng(0).uniform(size=(COUNT, 1, 8, 8)).astype(np.float32)
    np.savez(folder / "data.npz", x=x, y=np.arange(COUNT) % 3)
    request: dict[str, Any] = {
        "model": "inside",
        "layer": "1",
        "dataset": "inside",
        "methods": ["gradient_x_activation", "activation"],
    }
    request |= {"clusters": {"by": "label"}, "keep_examples": 2, "metadata": {"classes": ["cat", "dog", "owl"]}}
    request |= {"ablation": {"random": 19, "verify": {"top": 3, "sample": 5}}}
    with httpx.Client(base_url=url, timeout=90) as client:
        for path, file in (("datasets", "data.npz"), ("models", "net.pt2")):
            client.put(f"/v1/{path}/inside", content=(folder / file).read_bytes(), headers=BYTES).raise_for_status()
        assert ended(client, "/v1/models/inside")["status"] == "ready"
        id: str = client.post("/v1/jobs", json=request).raise_for_status().json()["id"]
        while client.get(f"/v1/jobs/{id}?wait=60").json()["finished_at"] is None:
            pass
    return id


def drawn(page: Any, count: int) -> None:
    """Wait until all plots are drawn."""
    for number in range(count):
        page.locator("figure.plot").nth(number).scroll_into_view_if_needed()
    page.wait_for_function("count => document.querySelectorAll('figure[data-drawn]').length === count", arg=count)


def rows_of(panel: Any) -> list[list[str]]:
    """The table behind a panel."""
    panel.get_by_text("Table of the values").click()
    panel.locator("tbody tr").first.wait_for()
    return [[cell.inner_text() for cell in row.locator("th, td").all()] for row in panel.locator("tbody tr").all()]


def short(value: float | None) -> str:
    return "–" if value is None else f"{float(f'{value:.4g}'):g}"


def test_curves_when_displayed_then_their_table_and_keys_give_the_numbers_of_the_api(browser: Any, url: str, job: str) -> None:
    values = httpx.get(f"{url}/v1/jobs/{job}/plots/ablation.json?cluster=1", timeout=90).json()
    result = httpx.get(f"{url}/v1/jobs/{job}/result?cluster=1", timeout=90).json()
    with opened(browser, url) as page:
        page.goto(f"/jobs/{job}?tab=curves&cluster=1")
        drawn(page, 2)
        panel = page.locator(".panel").first
        cells = rows_of(panel)
        plot = panel.locator(".canvas")
        plot.focus()
        for _ in range(2):
            page.keyboard.press("ArrowRight")
        readout = panel.locator(".readout").inner_text()
        toggle = panel.get_by_role("button", name="activation", exact=True)
        toggle.press("Enter")
        assert toggle.get_attribute("aria-pressed") == "false"
        plot.focus()
        page.keyboard.press("+")
        page.keyboard.press("0")

    lines = values["panels"][0]["series"]
    for at, row in enumerate(cells):
        assert [float(text) for text in row[1 : 1 + len(lines)]] == [float(short(line["values"][at])) for line in lines]
    assert f"gradient_x_activation {short(lines[0]['values'][2])}" in readout
    by_id = {ranking["id"]: ranking["clusters"]["1"]["ablation"] for ranking in result["rankings"]}
    for line in lines:
        np.testing.assert_allclose(line["values"][1:], by_id[line["name"]][line["order"]]["score"], rtol=1e-5)


def test_matrix_when_the_pointer_is_on_a_cell_then_its_value_is_that_of_the_api(browser: Any, url: str, job: str) -> None:
    ranking = httpx.get(f"{url}/v1/jobs/{job}/result", timeout=90).json()["rankings"][0]
    matrix = ranking["specificity"]["matrix"]
    with opened(browser, url) as page:
        page.goto(f"/jobs/{job}?tab=curves&ranking={ranking['id']}")
        drawn(page, 2)
        panel = page.locator("figure.plot").nth(1).locator(".panel")
        box = panel.locator(".u-over").bounding_box()
        page.mouse.move(box["x"] + box["width"] * 5 / 6, box["y"] + box["height"] * 1 / 6)
        panel.locator(".readout", has_text="order of cluster 0 (cat)").wait_for()
        readout = panel.locator(".readout").inner_text()
        cells = rows_of(panel)

    assert readout.endswith(f"area {short(matrix[0][2])}")
    assert [row[1:] for row in cells] == [[short(value) for value in line] for line in matrix]


def test_plot_when_its_buttons_are_tapped_then_it_zooms_moves_and_shows_all_again(browser: Any, url: str, job: str) -> None:

    with opened(browser, url, TOUCH) as page:
        page.goto(f"/jobs/{job}?tab=heatmaps&cluster=1")
        drawn(page, 1)
        panel = page.locator(".panel").first
        group = panel.get_by_role("group", name="Zoom of")
        box, over = group.get_by_role("button").first.bounding_box(), panel.locator(".u-over").bounding_box()
        middle = (over["x"] + over["width"] / 2 + 2, over["y"] + over["height"] / 2 + 2)

        def at_middle() -> str:
            page.touchscreen.tap(*middle)
            return str(panel.locator(".readout").inner_text())

        def tap(*names: str) -> None:
            for name in names:
                group.get_by_role("button", name=name, exact=True).tap()

        whole = at_middle()
        tap("Zoom in", "Zoom in", "Move left", "Move up")
        moved = at_middle()
        tap("Move right", "Move right", "Move right", "Move right", "Move down")
        right = at_middle()
        tap("Zoom out", "Show all")
        again = at_middle()
        group.get_by_role("button", name="Zoom in", exact=True).press("Enter")

    assert min(box["width"], box["height"]) >= 40
    assert len({whole, moved, right}) == 3
    assert again == whole


def test_plots_when_classes_have_names_then_show_them_and_the_report_has_them(browser: Any, url: str, job: str) -> None:
    with opened(browser, url) as page:
        page.goto(f"/jobs/{job}?tab=curves")
        drawn(page, 2)
        columns = [row[0] for row in rows_of(page.locator("figure.plot").nth(1).locator(".panel"))]
        page.goto(f"/jobs/{job}?tab=warnings")
        warnings = page.locator("main").inner_text()
        page.goto(f"/v1/jobs/{job}/report")
        report = page.get_by_role("region", name="Clusters").inner_text()
        page.goto("/new?model=inside&dataset=inside&layer=1")
        page.get_by_text("Target, baseline and test").click()
        page.get_by_label("Further fields of the request").fill('{"metadata": {"classes": ["cat", "dog", "owl"]}}')
        page.get_by_label("Class", exact=True).fill("owl")
        page.locator("#request-code summary").click()
        page.locator("#as-json", has_text='"class": 2').wait_for()

    assert columns == ["0 (cat)", "1 (dog)", "2 (owl)"]
    assert "in cluster 0:" not in warnings
    assert all(name in report for name in columns)


def test_unit_when_opened_from_the_table_then_shows_the_numbers_of_the_api(browser: Any, url: str, job: str) -> None:
    with opened(browser, url) as page:
        page.goto(f"/jobs/{job}?tab=units&cluster=1")
        page.get_by_role("region", name="The most important units").get_by_role("link").first.click()
        page.get_by_role("heading", level=1, name="Unit ").wait_for()
        address = page.url
        number = int(address.partition("?")[0].rsplit("/", 1)[1])
        page.get_by_label("Cluster").select_option("1")
        page.get_by_role("button", name="Show").click()
        page.wait_for_url("**cluster=1**")
        cells = [
            [cell.inner_text() for cell in row.locator("th, td").all()]
            for row in page.get_by_role("region", name="Importance of the unit").locator("tbody tr").all()
        ]
        rows = page.get_by_role("region", name="Highest scores").locator("figcaption").all_inner_texts()
    unit = httpx.get(f"{url}/v1/jobs/{job}/units/{number}", timeout=90).json()

    assert address.endswith("cluster=1")
    entries = [(ranking["id"], name, value) for ranking in unit["rankings"] for name, value in ranking["clusters"].items()]
    names = ["0 (cat)", "1 (dog)", "2 (owl)"]
    for row, (id, name, value) in zip(cells, entries, strict=True):
        assert row[:3] == [id, names[int(name)], f"{value['importance']:.4g}"]
        assert row[4] == str(value["rank"])
        assert row[5] == ("–" if value["effect"] is None else f"{value['effect']['value']:.4g}")
    first = next(ranking for ranking in unit["rankings"])["clusters"]["1"]["score"]["largest"]
    assert rows == [f"{each['value']:.4g}, row {each['row']}, label {names[each['row'] % 3]}" for each in first]


def test_gallery_when_a_colour_is_chosen_then_the_scores_are_drawn_in_it(browser: Any, url: str, job: str) -> None:
    pixels = """canvas => { const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        return [canvas.width, canvas.height, Math.max(...[...data].filter((_, at) => at % 4 === 1))]; }"""
    with opened(browser, url, excused="willReadFrequently") as page:
        page.goto(f"/jobs/{job}?tab=examples&cluster=2")
        canvas = page.locator("canvas[data-painted]").first
        canvas.wait_for()
        assert page.locator("canvas[data-map]").count() == 12
        page.locator("img[alt='Row 2, label 2 (owl)']").wait_for()
        page.get_by_label("Colour of gradient_x_activation").fill("#000000")
        page.get_by_label("Below zero").fill("#00ff00")
        page.wait_for_function(
            f"() => ({pixels})(document.querySelector('canvas[data-painted]'))[2] > 200 || "
            f"({pixels})(document.querySelector('canvas[data-painted]'))[2] === 0"
        )
        size = canvas.evaluate(pixels)[:2]
        page.get_by_role("link", name="Later examples").click()
        page.get_by_text("Examples 13 to 20 of 20").wait_for()
    values = httpx.get(
        f"{url}/v1/jobs/{job}/plots/heatmap.json?cluster=2&ranking=gradient_x_activation&example=0", timeout=90
    ).json()["panels"][0]["values"]

    assert size == [len(values[0]), len(values)]


def test_dataset_when_opened_then_its_plots_have_the_numbers_of_the_api(browser: Any, url: str, job: str) -> None:
    fields = httpx.get(f"{url}/v1/datasets/inside/statistics", timeout=90).json()["fields"]
    with opened(browser, url) as page:
        page.goto("/datasets/inside")
        assert page.locator(".gallery img").count() == 8
        drawn(page, 1)
        panels = {panel.locator("h3").inner_text(): rows_of(panel) for panel in page.locator(".panel").all()}

    assert panels["y"] == [[str(each["value"]), str(each["rows"])] for each in fields["y"]["values"]]
    assert [int(row[1]) for row in panels["x"]] == fields["x"]["histogram"]["counts"]


@pytest.mark.parametrize("width", WIDTHS)
def test_pages_when_opened_then_fit_and_are_accessible(browser: Any, url: str, job: str, width: str) -> None:
    paths = [f"/jobs/{job}/units/3", f"/jobs/{job}/units/143", "/datasets/inside", "/models/inside"]
    paths += [f"/jobs/{job}?tab={tab}" for tab in ("curves", "units", "heatmaps", "examples")]
    with opened(browser, url, width) as page:
        page.add_init_script(path=AXE)
        for path in paths:
            check_page(page, path)


def test_plots_when_colours_become_dark_then_are_drawn_again(browser: Any, url: str, job: str) -> None:
    ink = """canvas => {
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        return JSON.stringify([...data.slice(0, 40000)]);
    }"""
    with opened(browser, url, excused="willReadFrequently") as page:
        page.emulate_media(color_scheme="light")
        page.goto(f"/jobs/{job}?tab=curves")
        drawn(page, 2)
        light = page.locator(".u-wrap canvas").first.evaluate(ink)
        page.emulate_media(color_scheme="dark")
        page.wait_for_function(f"light => ({ink})(document.querySelector('.u-wrap canvas')) !== light", arg=light)
        dark = json.loads(page.locator(".u-wrap canvas").first.evaluate(ink))

    assert any(dark)
