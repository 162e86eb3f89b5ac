"""The page of a job with several layers: the overview, and each layer as a job of its own."""

import re
from html import unescape
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.service.conftest import Served
from tests.service.results import layered
from tests.service.results.conftest import succeeded
from tests.service.web.conftest import TABS, choices
from unitrank_schemas.results import LayeredResult
from unitrank_service.routes import pages


@pytest.fixture
def done(client: httpx.Client, served: Served) -> str:
    """The id of a job with two layers that has succeeded."""
    return layered.succeeded(client, served)


def links(page: str) -> list[str]:
    """The addresses that the page names."""
    addresses = re.findall(r'(?:href|src|data-plot)="(/[^"#]+)"', page)
    return [unescape(address) for address in addresses if not address.startswith("/static")]


@pytest.mark.parametrize("layer", ["", "conv1", "fc", "joint", "unknown"])
@pytest.mark.parametrize("tab", ["", *TABS])
def test_page_of_layers_when_opened_then_each_of_its_links_works(browser: httpx.Client, done: str, tab: str, layer: str) -> None:
    answer = browser.get(f"/jobs/{done}", params={"tab": tab, "layer": layer, "cluster": "=b"})

    assert answer.status_code == 200, answer.text
    expected = layer if layer in ("conv1", "fc", "joint") else "conv1"
    for link in links(answer.text):
        query = parse_qs(urlsplit(link).query)
        assert browser.get(link).status_code == 200, link
        if "/plots/" in link and "/plots/layers" not in link:
            assert query["layer"] == [expected], link
        if "/units/" in link or ("tab=" in link.partition("?")[2] and tab in TABS):
            assert query["layer"] == [expected], link


def test_overview_when_opened_then_its_table_has_the_numbers_of_the_result(browser: httpx.Client, done: str) -> None:
    page = browser.get(f"/jobs/{done}").text

    rows = re.findall(r"<tr><th scope=\"row\".*?</tr>", page, re.DOTALL)
    texts = [[unescape(re.sub(r"<[^>]+>", "", cell)) for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)] for row in rows]
    assert texts == [
        ["conv1", "gradient", "better than random", "fragile", "0.6", "0.25", "3 of 16 (18.8\u00a0%)"],
        ["fc", "gradient", "better than random", "robust", "0.9", "0.375", "2 of 3 (66.7\u00a0%)"],
        ["all layers together", "gradient", "better than random", "robust", "0.8", "0.3335", "3 of 19 (15.8\u00a0%)"],
    ]
    # The fixture's lists were tested on the examples that made them.
    assert "Where in the network do few units decide the score?" in page
    assert "Not shown" in page


def test_overview_when_a_cluster_is_chosen_then_it_is_about_this_cluster(browser: httpx.Client, done: str) -> None:
    page = browser.get(f"/jobs/{done}", params={"cluster": "=b", "ranking": "activation"}).text

    assert "decide the score of cluster =b?" in unescape(page)
    assert "<h3>Layer by layer: cluster =b</h3>" in page
    assert '<td class="number">0.133</td>' in page
    assert choices(page, "ranking") == ["", "gradient", "activation"]


def test_page_of_a_layer_when_opened_then_is_the_page_of_its_result(browser: httpx.Client, done: str) -> None:
    page = unescape(browser.get(f"/jobs/{done}?tab=units&layer=joint&cluster=a").text)
    top = LayeredResult.model_validate(layered.summary(done)).of_layer("joint").rankings[0].clusters["a"].top

    assert choices(page, "layer") == ["conv1", "fc", "joint"]
    for unit in top:
        assert f"/jobs/{done}/units/{unit.unit}?ranking=gradient&cluster=a&layer=joint" in page
    assert "There is no heatmap" not in page
    assert "have no heatmap. Choose one of the layers." in browser.get(f"/jobs/{done}?tab=heatmaps&layer=joint").text


@pytest.mark.parametrize("tab", ["", "verdict", "units"])
def test_page_of_layers_when_its_result_is_large_then_another_process_parses_it(
    browser: httpx.Client, done: str, monkeypatch: pytest.MonkeyPatch, tab: str
) -> None:
    small = browser.get(f"/jobs/{done}?tab={tab}&layer=fc").text
    monkeypatch.setattr(pages, "SMALL_BYTES", 10)

    assert browser.get(f"/jobs/{done}?tab={tab}&layer=fc").text == small


def test_unit_of_joint_when_opened_then_links_to_the_unit_in_its_layer(browser: httpx.Client, done: str) -> None:
    page = unescape(browser.get(f"/jobs/{done}/units/17?layer=joint").text)

    assert "fc · head 1" in page
    assert f"/jobs/{done}/units/1?layer=fc&ranking=gradient" in page
    assert browser.get(f"/jobs/{done}/units/17?layer=fc").status_code == 404


@pytest.mark.parametrize("layer", ["", "fc", "joint"])
def test_report_of_layers_when_read_then_begins_with_all_layers(client: httpx.Client, done: str, layer: str) -> None:
    report = client.get(f"/v1/jobs/{done}/report", params={"layer": layer} if layer else {}).raise_for_status().text

    assert "Where in the network do few units decide the score?" in report
    assert ("All layers together: which" if layer == "joint" else f"Layer <code>{layer or 'conv1'}</code>: which") in report
    assert '<td class="number">3 of 19 (15.8\u00a0%)</td>' in report
    assert "<script" not in report
    assert not re.findall(r'(?:src|href)="(?!data:)', report)


def test_report_of_one_layer_when_read_then_has_no_overview(client: httpx.Client, served: Served) -> None:
    report = client.get(f"/v1/jobs/{succeeded(client, served)}/report").raise_for_status().text

    assert "Layer by layer" not in report
