"""The form for a job with several layers: from a link, with lines of names and patterns."""

from html import unescape

import httpx
import pytest

from tests.service.conftest import Json, Served, put_dataset, ready_model
from tests.service.web.conftest import choices, fields_of_form

FORM = {"model": "net", "dataset": "data", "method": "gradient:mean", "labels": "y", "by": "all", "class": "label"}


@pytest.fixture
def ready(client: httpx.Client, served: Served) -> None:
    """The model and the dataset are ready."""
    ready_model(client, served)
    put_dataset(client)


@pytest.mark.parametrize(
    ("fields", "requested"),
    [
        ({"layer": "conv1"}, "conv1"),
        ({"layer": "conv1", "more_layers": "fc", "joint": "on"}, ["conv1", "fc"]),
        ({"layer": "", "more_layers": " *c* \r\n\r\n", "joint": "on"}, ["conv1", "fc"]),
        ({"layer": "", "more_layers": "fc"}, ["fc"]),
    ],
)
def test_form_when_layers_are_named_then_the_job_has_them(
    client: httpx.Client, browser: httpx.Client, ready: None, fields: Json, requested: str | list[str]
) -> None:
    answer = browser.post("/new", data={**FORM, **fields, "action": "send"})

    assert answer.status_code == 303, answer.text
    request = client.get("/v1" + answer.headers["location"]).json()["request"]
    assert (request["layer"], request["joint"]) == (requested, "joint" in fields)


def test_form_when_layers_are_named_then_the_estimate_and_the_code_follow(browser: httpx.Client, ready: None) -> None:
    one, two = (
        unescape(browser.post("/new", data={**FORM, "layer": "conv1", "more_layers": more, "action": "estimate"}).text)
        for more in ("", "fc")
    )

    assert "Passes" in one
    assert "Passes" in two
    assert '"layer": "conv1"' in one
    assert '"layer": [\n    "conv1",\n    "fc"\n  ]' in two
    assert "'layer': ['conv1', 'fc']" in two
    assert 'result["layers"].items()' in two
    assert 'result["layers"].items()' not in one
    assert choices(two, "layer") == ["", "input", "conv1", "fc"]


@pytest.mark.parametrize(
    ("fields", "control", "text"),
    [
        ({"layer": "conv1", "more_layers": "fc9"}, "more_layers", "layer 'fc9' not found"),
        ({"layer": "conv1", "more_layers": "conv1"}, "more_layers", "name every layer once"),
        ({"layer": "conv1", "joint": "on"}, "joint", "got one layer"),
        ({"layer": "gone", "more_layers": "fc"}, "layer", "the layer 'gone' is not available any more"),
    ],
)
def test_form_when_layers_are_wrong_then_says_where_and_keeps_them(
    browser: httpx.Client, ready: None, fields: Json, control: str, text: str
) -> None:
    answer = browser.post("/new", data={**FORM, **fields, "action": "send"})

    page = unescape(answer.text)
    assert answer.status_code == 422
    assert text.lower() in page.lower()
    assert f'href="#{control}"' in page
    assert fields_of_form(page)["more_layers"] == [fields.get("more_layers", "")]


def test_form_when_a_link_names_several_layers_then_they_are_filled_in(browser: httpx.Client, ready: None) -> None:
    model = browser.get("/models/net").text
    page = browser.get("/new?model=net&layer=conv1&layer=fc").text

    fields = fields_of_form(page)
    assert (fields["layer"], fields["more_layers"]) == (["conv1"], ["fc"])
    assert [f'name="layer" value="{name}"' in model for name in ("input", "conv1", "fc")] == [True] * 3
