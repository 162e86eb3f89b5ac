"""The names of classes on pages, in reports and in plots, and where they come from."""

import re
from html import unescape
from typing import Any

import httpx
import numpy as np
import pytest

from tests.plots.test_class_names import NAMES, Labelled, arrays, labelled, numbers_alone, result
from tests.service.conftest import Served, assert_problem, put_dataset, ready_model
from tests.service.conftest import job as request_of
from tests.service.web.conftest import HOSTILE
from unitrank_service.contents.class_names import names_of

__all__ = ["arrays", "labelled", "result"]

LABELS = np.arange(20) % 2
IMAGES = np.zeros((20, 1, 2, 2), np.float32)
SUMMARY = {"best": "conductance@1", "verdict": "better_than_random", "robust": True, "area": 0.5, "clusters": 2}


@pytest.fixture
def done(client: httpx.Client, served: Served, labelled: Labelled) -> Any:
    """Makes a job that explains two classes, and returns its id."""

    def make(fields: dict[str, Any] | None = None, **request: Any) -> str:
        ready_model(client, served)
        data = put_dataset(client, **{"image": IMAGES, "y": LABELS, **(fields or {})})
        body = request_of(clusters={"by": "label"}, labels="y", **request)
        id: str = client.post("/v1/jobs", json=body, headers={"Cache-Control": "no-cache"}).raise_for_status().json()["id"]
        attempt = served.backend.jobs.start(id, "cpu-0")
        content = labelled[0].model_dump(mode="json") | {"job": id, "dataset": {"name": "data", "digest": data["digest"]}}
        for ranking in content["rankings"]:
            for cluster in ranking["clusters"].values():
                cluster["ablation"]["random"] = {"score": {"mean": [5.0] * 3, "low": [4.0] * 3, "high": [6.0] * 3}}
        rows = {f"rows/{number}": np.flatnonzero(number == LABELS) for number in (0, 1)}
        manifest = served.backend.results.put(content, labelled[1] | rows)
        assert served.backend.jobs.finish(id, attempt or 0, "succeeded", result=dict(manifest), summary=SUMMARY)
        return id

    return make


@pytest.mark.parametrize(
    ("fields", "metadata"),
    [
        ({}, {"classes": ["cat", "dog"]}),
        ({}, {"classes": NAMES}),
        ({"kind": np.array(["cat", "dog"] * 10)}, {"classes": "kind"}),
        ({"y_name": np.array(["cat", "dog"] * 10)}, {}),
        ({"class": np.array(["cat", "dog"] * 10)}, {}),
    ],
    ids=["list", "object", "field", "field of a ClassLabel", "field of a folder of images"],
)
def test_names_when_metadata_or_the_dataset_have_them_then_the_api_returns_them(
    client: httpx.Client, done: Any, fields: dict[str, Any], metadata: dict[str, Any]
) -> None:
    id = done(fields, metadata=metadata)

    assert client.get(f"/v1/jobs/{id}/classes").json() == {"classes": NAMES}


@pytest.mark.parametrize(
    ("fields", "metadata"),
    [
        ({}, {}),
        ({}, {"classes": "gone"}),
        ({}, {"classes": 3}),
        ({}, {"classes": "image"}),
        ({"class": np.array([f"row {row}" for row in range(20)])}, {}),
    ],
    ids=["none", "field that is missing", "number", "field without texts", "texts of rows"],
)
def test_names_when_there_are_none_then_numbers_are_shown(
    client: httpx.Client, browser: httpx.Client, done: Any, fields: dict[str, Any], metadata: dict[str, Any]
) -> None:
    id = done(fields, metadata=metadata)

    assert client.get(f"/v1/jobs/{id}/classes").json() == {"classes": {}}
    assert "conductance@0</code>" in browser.get(f"/jobs/{id}").text


def test_names_when_the_job_is_unknown_then_there_is_a_problem(client: httpx.Client) -> None:
    assert_problem(client.get(f"/v1/jobs/{'0' * 26}/classes"), 404, "job_not_found")


@pytest.mark.check
def test_pages_when_classes_have_names_then_no_class_is_a_bare_number(
    client: httpx.Client, browser: httpx.Client, done: Any
) -> None:
    id = done(metadata={"classes": ["cat", "dog"]})

    for path in [
        *(f"/jobs/{id}?tab={tab}" for tab in ("verdict", "curves", "units", "heatmaps", "warnings")),
        f"/v1/jobs/{id}/report",
    ]:
        page = unescape(browser.get(path).raise_for_status().text).partition("<h2>Provenance")[0]
        # The links of the page keep the ids.
        texts = re.sub(r'value="[^"]*"', "", page)
        assert numbers_alone(texts) == [], path
        assert "(cat)" in texts or "(dog)" in texts, path
    assert client.get(f"/v1/jobs/{id}/plots/leaderboard.json").json()["panels"][0]["labels"][0] == "conductance@0 (cat)"
    assert "ablation.png?ranking=conductance%400" in browser.get(f"/jobs/{id}").text
    assert "in cluster 1 (dog)" in browser.get(f"/jobs/{id}?tab=warnings").text


@pytest.mark.check
def test_names_when_edited_after_the_job_then_plots_and_pages_have_the_new_ones(
    client: httpx.Client, browser: httpx.Client, done: Any
) -> None:
    id = done(metadata={"classes": ["cat", "dog"]})
    path = f"/v1/jobs/{id}/plots/leaderboard.json"
    before = client.get(path)

    client.patch(f"/v1/jobs/{id}", json={"metadata": {"classes": [HOSTILE, "wolf"]}}).raise_for_status()
    after = client.get(path, headers={"If-None-Match": before.headers["etag"]})

    assert after.status_code == 200
    assert f"conductance@0 ({HOSTILE})" in after.text.encode().decode("unicode_escape")
    for page in (f"/jobs/{id}", f"/v1/jobs/{id}/report"):
        assert HOSTILE not in browser.get(page).text
        assert "conductance@0 (" in browser.get(page).text


def test_list_when_a_job_has_a_list_of_names_then_its_best_ranking_has_the_name(browser: httpx.Client, done: Any) -> None:
    for classes in (["cat", "dog"], "kind"):
        done({"kind": np.array(["cat", "dog"] * 10)}, metadata={"classes": classes})

    page = browser.get("/").text

    assert page.count("<code>conductance@1 (dog)</code>") == page.count("<code>conductance@1</code>") == 1


def test_comparison_when_classes_have_names_then_every_table_has_them(browser: httpx.Client, done: Any) -> None:
    ids = [done(metadata={"classes": classes}) for classes in (["cat", "dog"], ["Katze", "Hund"])]

    page = browser.get("/compare", params={"job": ids}).raise_for_status().text

    assert "<code>conductance@0 (cat)</code>" in page
    assert "<code>conductance@0 (Katze)</code>" in page
    assert "A: conductance@0 (cat)" in page
    assert "B: conductance@0 (Katze)" in page


@pytest.mark.parametrize(("typed", "number"), [("dog", "1"), ("1", "1")])
def test_form_when_a_class_is_named_then_the_request_has_its_number(
    client: httpx.Client, browser: httpx.Client, served: Served, typed: str, number: str
) -> None:
    ready_model(client, served)
    put_dataset(client, image=IMAGES, y=LABELS, y_name=np.array(["cat", "dog"] * 10))
    filled = {"model": "net", "dataset": "data", "layer": "conv1", "method": ["gradient:mean"], "labels": "y", "class": typed}

    page = browser.post("/new", data=filled).text

    assert "0 cat, 1 dog" in page
    assert '<option value="1" label="dog">' in page
    assert f'<input id="class" name="class" value="{typed}" list="class-names"' in page
    assert f"&#34;class&#34;: {number}" in page


@pytest.mark.parametrize(
    ("names", "typed", "sent"),
    [
        (["1", "0"], "1", "1"),
        (["predicted", "dog"], "predicted", "&#34;predicted&#34;"),
        (["crane"] * 2, "crane", "&#34;crane&#34;"),
    ],
    ids=["a number", "a word of the API", "the name of two classes"],
)
def test_form_when_a_text_is_not_the_name_of_one_class_then_it_stays(
    client: httpx.Client, browser: httpx.Client, served: Served, names: list[str], typed: str, sent: str
) -> None:
    ready_model(client, served)
    put_dataset(client, image=IMAGES, y=LABELS, y_name=np.array(names * 10))
    filled = {"model": "net", "dataset": "data", "layer": "conv1", "method": ["gradient:mean"], "labels": "y", "class": typed}

    page = browser.post("/new", data=filled).text

    assert f"&#34;class&#34;: {sent}" in page


class Fields:
    """A table in memory."""

    def __init__(self, **fields: np.ndarray) -> None:
        self.fields = {
            name: {"dtype": "str" if values.dtype.kind == "U" else "int64", "shape": [None, *values.shape[1:]]}
            for name, values in fields.items()
        }
        self._values = fields

    def read(self, field: str, rows: slice) -> np.ndarray:
        return self._values[field][rows]


@pytest.mark.parametrize(
    "labels", [LABELS.reshape(20, 1), LABELS.reshape(10, 2), np.arange(20_001)], ids=["column", "two axes", "too many"]
)
def test_names_when_the_labels_are_no_classes_then_there_are_none(labels: np.ndarray) -> None:
    table: Any = Fields(y=labels, kind=np.array(["cat"] * len(labels)))

    with pytest.raises(KeyError):
        names_of(table, "y", "kind")


def test_names_when_the_first_field_has_several_for_a_class_then_the_next_field_is_tried(client: httpx.Client, done: Any) -> None:
    id = done({"y_name": np.array([f"row {row}" for row in range(20)]), "class": np.array(["cat", "dog"] * 10)})

    assert client.get(f"/v1/jobs/{id}/classes").json() == {"classes": NAMES}


def test_names_when_they_are_long_then_are_cut() -> None:
    table: Any = Fields(y=LABELS, kind=np.array(["c" * 300, "d"] * 10))

    assert names_of(table, "y", "kind") == {"0": "c" * 200, "1": "d"}
