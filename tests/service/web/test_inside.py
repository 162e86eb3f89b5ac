"""Pages that look inside: a unit, the examples of a cluster, and the rows of a dataset."""

import re
from collections.abc import Mapping
from html import unescape
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.service.conftest import Served, SignIn, put_dataset, ready_model
from tests.service.conftest import job as request_of
from tests.service.results.conftest import IMPORTANCE, SPREAD, summary
from tests.service.web.conftest import HOSTILE
from unitrank_schemas.result_text import number

IMAGES = np.random.default_rng(0).integers(0, 255, (20, 1, 2, 2)).astype(np.uint8)
LABELS = np.arange(20) % 2
UNITS = np.array([[3, 0], [5, 3]])
ROWS = np.arange(2 * 2 * 4 * 3).reshape(2, 2, 4, 3) % 20
VALUES = np.linspace(-1, 1, ROWS.size, dtype=np.float32).reshape(ROWS.shape)


def done(
    client: httpx.Client, served: Served, dataset: Mapping[str, Any], values: NDArray[np.float32] = VALUES, **request: Any
) -> str:
    """The id of a job on this dataset with a result that has examples of units, with `values`."""
    ready_model(client, served)
    data = put_dataset(client, **dataset)
    answer = client.post("/v1/jobs", json=request_of(**request))
    id: str = answer.raise_for_status().json()["id"]
    attempt = served.backend.jobs.start(id, "cpu-0")
    arrays = {"importance/gradient": IMPORTANCE, "spread/gradient": SPREAD, "rows/a": np.arange(15), "rows/=b": np.array([17])}
    arrays |= {"unit_examples/gradient/units": UNITS, "unit_examples/gradient/rows": ROWS, "unit_examples/gradient/values": values}
    result = summary(id) | {"dataset": {"name": "data", "digest": data["digest"]}}
    manifest = served.backend.results.put(result, arrays)
    assert served.backend.jobs.finish(id, attempt or 0, "succeeded", result=dict(manifest))
    return id


def images(page: str) -> list[str]:
    return [unescape(path) for path in re.findall(r'<img loading="lazy" src="(/v1/datasets[^"]+)"', page)]


def test_unit_when_opened_then_shows_the_numbers_of_the_api_and_its_images(
    client: httpx.Client, browser: httpx.Client, served: Served
) -> None:
    id = done(client, served, {"image": IMAGES, "y": LABELS}, metadata={"classes": ["cat", HOSTILE]})
    api = client.get(f"/v1/jobs/{id}/units/3").json()

    page = browser.get(f"/jobs/{id}/units/3?cluster=%3Db")

    assert page.status_code == 200, page.text
    for entry in api["rankings"][0]["clusters"].values():
        assert f'<td class="number">{number(entry["importance"])}</td>' in page.text
        assert f'<td class="number">{entry["rank"]}</td>' in page.text
    paths = images(page.text)
    assert len(paths) == 4 * 3
    assert all(browser.get(path).headers["content-type"] == "image/png" for path in set(paths))
    for example in api["rankings"][0]["clusters"]["=b"]["score"]["largest"]:
        assert f"<strong>{number(example['value'])}</strong>, row {example['row']}" in page.text
    assert "label 0 (cat)" in page.text
    assert HOSTILE not in page.text
    assert "alert(" in page.text


def test_unit_when_all_examples_have_one_score_then_they_are_one_list(
    client: httpx.Client, browser: httpx.Client, served: Served
) -> None:
    values = VALUES.copy()
    values[:, :, :2] = 0.25
    id = done(client, served, {"image": IMAGES, "y": LABELS}, values)

    page = browser.get(f"/jobs/{id}/units/3").text

    titles = re.findall(r"<h3>([^<]+)</h3>", page)
    assert titles == ["All examples have this score", "Highest activations", "Lowest activations"]


def test_unit_when_the_dataset_was_deleted_then_shows_the_numbers_of_its_rows(
    client: httpx.Client, browser: httpx.Client, served: Served
) -> None:
    rows = {"image": IMAGES, "y": LABELS, "kind": np.array(["a cat", "a dog"] * 10)}
    id = done(client, served, rows, metadata={"classes": "kind"})
    served.backend.datasets.delete("data")

    deleted = browser.get(f"/jobs/{id}/units/3").text

    assert "The dataset was deleted" in deleted
    assert "row 0" in deleted
    assert images(deleted) == []


def test_unit_when_it_has_no_examples_then_says_what_to_request(
    client: httpx.Client, browser: httpx.Client, served: Served
) -> None:
    id = done(client, served, {"image": IMAGES, "y": LABELS})

    page = browser.get(f"/jobs/{id}/units/7").text

    assert "units: channel" in page
    assert "ablation.verify" in page
    assert browser.get(f"/jobs/{id}/units/16").status_code == 404


def test_examples_when_opened_then_shows_the_rows_of_the_cluster_page_by_page(
    client: httpx.Client, browser: httpx.Client, served: Served
) -> None:
    texts = np.array(["a cat", "a dog"] * 10)
    id = done(client, served, {"image": IMAGES, "y": LABELS, "kind": texts}, metadata={"classes": "kind"})

    first, second = (browser.get(f"/jobs/{id}?tab=examples&cluster=a&first={number}").text for number in (0, 12))

    assert [int(re.findall(r"rows/(\d+)\.png", path)[0]) for path in images(first)] == list(range(12))
    assert [int(re.findall(r"rows/(\d+)\.png", path)[0]) for path in images(second)] == [12, 13, 14]
    assert "Examples 13 to 15 of 15" in second
    assert "label 1 (a dog)" in first
    assert "kind: a dog" in first
    maps = [unescape(path) for path in re.findall(r'data-map="([^"]+)"', first)]
    assert browser.get(maps[0].replace("RANKING", "gradient")).json()["panels"][0]["kind"] == "matrix"


@pytest.mark.parametrize("tab", ["examples", "units"])
def test_result_when_it_belongs_to_another_tenant_then_nothing_of_it_is_shown(
    client: httpx.Client, signed_in: SignIn, served: Served, tab: str
) -> None:
    id = done(client, served, {"image": IMAGES, "y": LABELS})
    browser = signed_in("admin", tenant="other")

    for path in (f"/jobs/{id}?tab={tab}", f"/jobs/{id}/units/3", f"/v1/jobs/{id}/units/3"):
        assert browser.get(path).status_code == 404
    for path in ("/v1/datasets/data/rows/0", "/v1/datasets/data/rows/0.png", "/v1/datasets/data/statistics"):
        assert browser.get(path).status_code == 404


def test_dataset_when_opened_then_shows_its_first_rows(client: httpx.Client, browser: httpx.Client) -> None:
    put_dataset(client, x=np.arange(20, dtype=np.float32).reshape(4, 5), y=np.array([1, 0, 1, 0]))
    put_dataset(client, "pictures", image=IMAGES, y=LABELS)

    numbers, pictures = browser.get("/datasets/data").text, browser.get("/datasets/pictures").text

    assert "5, 6, 7, 8, 9" in numbers
    assert "row 1, label 0" in numbers
    assert len(images(pictures)) == 8
    assert 'data-statistics="/v1/datasets/pictures/statistics"' in pictures
