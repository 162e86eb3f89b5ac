"""The form of an earlier job makes an equal request, with every field of that request."""

import json
from html import unescape
from typing import Any

import httpx
import pytest

from tests.service.conftest import Json, Served, put_dataset, put_model, ready_model
from tests.service.web.conftest import fields_of_form

REQUEST: Json = {"model": "net", "dataset": "data", "layer": "conv1", "methods": ["gradient"]}


@pytest.mark.parametrize(
    ("changes", "further"),
    [
        ({}, []),
        ({"clusters": {"by": "members", "members": {"a": [0, 1, 2], "b": [1]}}, "seed": 3}, []),
        ({"clusters": {"by": "kmeans", "k": 2, "layer": "fc"}, "units": "channel"}, []),
        ({"layer": ["conv1", "fc"], "joint": True}, []),
        ({"layer": ["fc"]}, []),
        ({"layer": ["conv*", "fc"]}, []),
        ({"units": "position"}, []),
        ({"units": {"axis": 0, "groups": 2}}, []),
        ({"units": {"axis": -3, "labels": [0, 1, 1, 2]}}, []),
        ({"target": {"class": 1, "against": 2}, "baseline": {"kind": "constant", "value": 0.5}}, []),
        ({"baseline": {"kind": "examples", "count": 4}}, []),
        ({"baseline": {"kind": "constant", "value": [0.5]}}, ["baseline"]),
        ({"target": {"class": "each"}, "fidelity": None, "ablation": {"fill": "mean", "random": 19}}, []),
        ({"methods": [{"name": "gradient", "statistic": "rms"}, {"name": "conductance", "steps": 7}]}, []),
        ({"methods": ["conductance", "gradient"]}, ["methods"]),
        ({"methods": [{"name": "conductance", "rule": "left", "id": "mine"}]}, ["methods"]),
        ({"timeout": 60, "metadata": {"name": "first"}}, ["metadata", "timeout"]),
        ({"baseline": {"kind": "zeros", "inputs": {"image": {"kind": "constant", "value": 1}}}}, ["baseline"]),
        ({"ablation": {"fractions": [0.5]}, "preprocess": {"scale": 0.5, "mean": 1, "std": 2}}, ["ablation"]),
    ],
)
def test_again_when_the_form_is_sent_unchanged_then_the_request_is_the_same(
    client: httpx.Client, browser: httpx.Client, served: Served, changes: Json, further: list[str]
) -> None:
    ready_model(client, served)
    put_dataset(client)
    first = client.post("/v1/jobs", json=REQUEST | changes)
    assert first.status_code == 202, first.text

    page = browser.get("/new", params={"job": first.json()["id"]}).text
    fields = fields_of_form(page)
    sent = browser.post("/new", data={**fields, "action": "send", "fresh": "on"})

    assert sent.status_code == 303, sent.text
    second = client.get("/v1" + sent.headers["location"]).json()
    assert second["id"] != first.json()["id"]
    assert second["request"] == first.json()["request"]
    assert sorted(json.loads(fields["more"][0] or "{}")) == further
    controls = [name for name in further if name not in ("timeout", "metadata")]
    assert ("will take these from the further fields" in page) == bool(controls)
    assert all(f"<code>{name}</code>" in page for name in controls)


def test_again_when_a_change_is_made_then_the_job_has_it(client: httpx.Client, browser: httpx.Client, served: Served) -> None:
    ready_model(client, served)
    put_dataset(client)
    first = client.post("/v1/jobs", json=REQUEST | {"timeout": 60}).json()

    fields = fields_of_form(browser.get("/new", params={"job": first["id"]}).text) | {"seed": "5"}
    sent = browser.post("/new", data={**fields, "action": "send"})

    request = client.get("/v1" + sent.headers["location"]).json()["request"]
    assert request == first["request"] | {"seed": 5}


def test_again_when_the_job_does_not_exist_then_is_404(browser: httpx.Client) -> None:
    assert browser.get("/new", params={"job": "01j8x2m3n4p5q6r7s8t9v0w1x2"}).status_code == 404


def test_again_when_the_id_names_another_key_of_the_store_then_the_key_is_not_read(
    client: httpx.Client, browser: httpx.Client, served: Served
) -> None:
    ready_model(client, served)
    put_dataset(client)
    id = client.post("/v1/jobs", json=REQUEST).json()["id"]

    answer = browser.get("/new", params={"job": f"{id}:events"})

    assert answer.status_code == 404
    assert "a job's id has 26 digits" in unescape(answer.text)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"more": "{"}, "The further fields are not JSON"),
        ({"more": "[1]"}, "The further fields are not a JSON object"),
        ({"more": '{"layer": "fc"}'}, "The field 'layer' has a control of its own"),
        ({"more": '{"timeout": 1e999}'}, "The further fields are not JSON: "),
        ({"more": '{"colour": 1}'}, "colour"),
        ({"by": "members", "members": "cats"}, "line 1 is not NAME: ROWS"),
        ({"by": "members", "members": "cats: 0-99"}, "99"),
    ],
)
def test_form_when_a_text_cannot_be_read_then_says_where(
    client: httpx.Client, browser: httpx.Client, served: Served, changes: dict[str, Any], words: str
) -> None:
    ready_model(client, served)
    put_dataset(client)
    fields = {"model": "net", "dataset": "data", "layer": "conv1", "method": ["gradient:mean"], **changes}

    answer = browser.post("/new", data={**fields, "action": "send"})

    assert answer.status_code == 422
    assert words in unescape(answer.text)
    assert client.get("/v1/jobs").json()["items"] == []


def test_again_when_a_pattern_waited_for_its_model_then_the_pattern_stays(
    client: httpx.Client, browser: httpx.Client, served: Served
) -> None:
    put_dataset(client)
    put_model(client)
    first = client.post("/v1/jobs", json=REQUEST | {"layer": "*c*"}).json()
    ready_model(client, served)

    fields = fields_of_form(browser.get("/new", params={"job": first["id"]}).text)
    sent = browser.post("/new", data={**fields, "action": "send", "fresh": "on"})

    assert fields["more_layers"] == ["*c*"]
    assert client.get("/v1" + sent.headers["location"]).json()["request"]["layer"] == ["conv1", "fc"]
