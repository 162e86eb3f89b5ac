"""The form for a job: its choices, its errors, and the job that it makes."""

import re
from html import unescape

import httpx
import numpy as np
import pytest

from tests.service.conftest import Json, Served, assert_problem, put_dataset, put_model, ready_model
from tests.service.web.conftest import choices
from unitrank_service.web.job_form import form


def test_form_when_a_model_and_a_dataset_are_chosen_then_offers_what_they_have(
    client: httpx.Client, browser: httpx.Client, served: Served
) -> None:
    ready_model(client, served)
    put_dataset(client)
    put_dataset(client, "other", image=np.zeros((4, 1, 2, 2)), group=np.arange(4), flat=np.zeros((4, 2)))

    page = browser.get("/new", params={"model": "net", "dataset": "other", "layer": "fc"}).text

    assert choices(page, "layer") == ["input", "conv1", "fc"]
    assert choices(page, "field") == ["group"]
    assert choices(page, "input.image") == ["image"]
    assert 'value="grad_cam:mean"' not in page
    assert 'value="conductance:mean"' in page
    assert "Passes" in page


def test_form_when_sent_then_there_is_the_job_that_it_says(client: httpx.Client, browser: httpx.Client, served: Served) -> None:
    ready_model(client, served)
    put_dataset(client)
    filled = {
        "model": "net",
        "dataset": "data",
        "layer": "conv1",
        "units": "channel",
        "method": ["gradient:mean", "gradient:mean_abs", "conductance:mean"],
        "steps": "10",
        "spacing": "adaptive",
        "by": "kmeans",
        "k": "3",
        "kmeans_layer": "fc",
        "limit": "2",
        "mean": "0.5",
        "class": "1",
        "score": "margin",
        "baseline": "constant",
        "value": "0.25",
        "ablation": "on",
        "random": "19",
        "seed": "7",
    }
    estimated = browser.post("/new", data={**filled, "action": "estimate"})
    assert estimated.status_code == 200
    assert "about " in estimated.text
    assert client.get("/v1/jobs").json()["items"] == []

    answer = browser.post("/new", data={**filled, "action": "send"})

    assert answer.status_code == 303, answer.text
    request = client.get("/v1" + answer.headers["location"]).json()["request"]
    assert [(entry["id"], entry.get("steps"), entry.get("spacing")) for entry in request["methods"]] == [
        ("gradient", None, None),
        ("gradient.mean_abs", None, None),
        ("conductance", 10, "adaptive"),
    ]
    assert request["clusters"] == {"by": "kmeans", "k": 3, "layer": "fc", "limit": 2}
    assert request["target"] == {"class": 1, "score": "margin", "output_is": "logits", "reduce": None, "against": None}
    assert request["baseline"] == {"kind": "constant", "value": 0.25, "hold": [], "inputs": {}}
    assert (request["units"], request["seed"], request["ablation"]["random"], request["fidelity"]) == ("channel", 7, 19, None)
    assert request["preprocess"]["mean"] == 0.5


def test_form_when_the_channels_of_a_side_are_heads_then_offers_them_as_units(
    client: httpx.Client, browser: httpx.Client, served: Served
) -> None:
    fc = {"name": "fc", "kind": "Linear", "shape": [3], "units": 3, "channels": 3, "channel_axis": 0, "cut": True}
    inside = {"input_shape": [8], "input_cut": True, "input_channel_axis": 0, "heads": 4, "heads_at": ["input"]}
    ready_model(client, served, layers=[fc | inside])
    put_dataset(client)
    filled = {"model": "net", "dataset": "data", "layer": "fc", "method": "gradient:mean", "action": "send"}

    assert "heads" not in choices(browser.get("/new", params={"model": "net", "layer": "fc"}).text, "units")
    assert browser.post("/new", data={**filled, "units": "heads"}).status_code == 422

    answer = browser.post("/new", data={**filled, "at": "input", "units": "heads"})

    assert answer.status_code == 303, answer.text
    assert client.get("/v1" + answer.headers["location"]).json()["request"]["units"] == {"axis": 0, "groups": 4}


def test_form_when_baselines_are_drawn_then_the_job_has_their_number_and_field(
    client: httpx.Client, browser: httpx.Client, served: Served
) -> None:
    ready_model(client, served)
    put_dataset(client, "marked", image=np.zeros((10, 1, 2, 2), np.uint8), y=np.arange(10) % 3, dark=np.arange(10) < 5)
    filled = {"model": "net", "dataset": "marked", "layer": "conv1", "method": ["gradient:mean"], "baseline": "examples"}

    page = browser.get("/new", params={"model": "net", "dataset": "marked", "layer": "conv1"}).text
    answers = [browser.post("/new", data={**filled, **more, "action": "send"}) for more in ({"count": "4", "where": "dark"}, {})]
    refused = browser.post("/new", data={**filled, "count": "6", "where": "dark", "action": "send"})

    assert choices(page, "where") == ["", "dark"]
    drawn = [client.get("/v1" + answer.headers["location"]).json()["request"]["baseline"] for answer in answers[:1]]
    assert drawn == [{"kind": "examples", "count": 4, "where": "dark", "hold": [], "inputs": {}}]
    assert answers[1].status_code == refused.status_code == 422
    assert "6 rows cannot be drawn where field &#39;dark&#39; is true, because it is true in 5" in refused.text


def test_form_when_it_names_given_scores_then_the_job_has_their_entry(
    client: httpx.Client, browser: httpx.Client, served: Served
) -> None:
    ready_model(client, served)
    put_dataset(client, image=np.zeros((10, 1, 2, 2), np.uint8), made=np.arange(10) < 3)
    put_dataset(client, "given-mine", importance=np.arange(3.0)[None], cluster=np.array(["all"]))
    filled = {"model": "net", "dataset": "data", "layer": "fc", "by": "all", "given": "given-mine", "given_name": "mine"}

    page = browser.get("/new", params={"model": "net", "dataset": "data", "layer": "fc"}).text
    assert choices(page, "given") == ["", "data", "given-mine"]
    assert choices(page, "made_on") == ["", "none", "made"]
    # The method needs scores, so it is not a box to tick.
    assert 'value="given:mean"' not in page
    answer = browser.post("/new", data={**filled, "made_on": "made", "action": "send"})

    assert answer.status_code == 303, answer.text
    (entry,) = client.get("/v1" + answer.headers["location"]).json()["request"]["methods"]
    assert (entry["id"], entry["scores"], entry["made_on"]) == ("mine", "given-mine", "made")


@pytest.mark.parametrize(
    ("chosen", "control", "code"),
    [
        ({"given": "gone"}, "given", "/methods/0/scores"),
        ({"given": "given-mine"}, "given", "/methods/0/scores"),
        ({"given": "given-mine", "given_name": "my scores"}, "given_name", "/methods/0/id"),
    ],
)
def test_form_when_given_scores_do_not_fit_then_says_where(
    client: httpx.Client, browser: httpx.Client, served: Served, chosen: Json, control: str, code: str
) -> None:
    ready_model(client, served)
    put_dataset(client)
    put_dataset(client, "given-mine", importance=np.zeros((1, 5)), cluster=np.array(["all"]))

    answer = browser.post("/new", data={"model": "net", "dataset": "data", "layer": "fc", "by": "all", **chosen, "action": "send"})

    assert answer.status_code == 422
    assert f'<a href="#{control}"><code>{code}' in answer.text


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"method": []}, "/methods"),
        ({"seed": "seven"}, "/seed"),
        ({"class": "9"}, "/target/class"),
        ({"mean": "1,2,3,4"}, "/preprocess/mean"),
        ({"by": "kmeans", "k": "99"}, "/clusters/k"),
        ({"limit": "9" * 5000}, "/clusters/limit"),
    ],
)
def test_form_when_something_is_wrong_then_says_where_and_keeps_what_was_filled_in(
    client: httpx.Client, browser: httpx.Client, served: Served, wrong: Json, says: str
) -> None:
    ready_model(client, served)
    put_dataset(client)
    filled = {"model": "net", "dataset": "data", "layer": "fc", "method": ["activation:rms"], "keep_examples": "3", **wrong}

    answer = browser.post("/new", data={**filled, "action": "send"})

    assert answer.status_code == 422, answer.text
    assert re.search(rf'<a href="#[\w.]+"><code>{says}', answer.text)
    assert re.search(r'name="keep_examples" value="3"', answer.text)


FILLED = {"model": "net", "dataset": "data", "layer": "fc", "method": ["activation:mean"], "at": "output", "labels": "y"}


@pytest.mark.parametrize(
    ("chosen", "says", "control"),
    [
        ({"model": "gone"}, "The model 'gone'", "model"),
        ({"model": "unready"}, "The model 'unready'", "model"),
        ({"dataset": "gone"}, "The dataset 'gone'", "dataset"),
        ({"layer": "fc2"}, "The layer 'fc2'", "layer"),
        ({"layer": ""}, "An empty layer", "layer"),
        ({"at": "input"}, "The side 'input'", "at"),
        ({"method": ["activation:mean", "grad_cam:mean"]}, "The method 'Grad-CAM (mean)'", ""),
        ({"by": "field", "field": "group"}, "The field 'group'", "field"),
        ({"labels": "label"}, "The field 'label'", "labels"),
        ({"labels": ""}, "An empty field", "labels"),
        ({"output": "second"}, "The output 'second'", ""),
        ({"input.image": "picture"}, "The field 'picture'", "input.image"),
        ({"baseline": "field", "baseline_field": "x0"}, "The field 'x0'", "baseline_field"),
    ],
)
def test_form_when_what_was_chosen_is_gone_then_nothing_else_is_sent(
    client: httpx.Client, browser: httpx.Client, served: Served, chosen: Json, says: str, control: str
) -> None:
    ready_model(client, served)
    put_model(client, "unready", b"other")
    put_dataset(client)

    answer = browser.post("/new", data={**FILLED, **chosen, "action": "send"})

    assert answer.status_code == 422
    assert f"{says} is not available any more; check the form and send it again." in unescape(answer.text)
    assert client.get("/v1/jobs").json()["items"] == []
    assert not control or re.search(rf'id="{re.escape(control)}"[^>]* aria-invalid="true"', answer.text)
    assert browser.post("/new", data={**FILLED, "field": "hidden", "action": "send"}).status_code == 303


def test_form_when_nothing_is_left_to_choose_then_says_what_is_gone(browser: httpx.Client) -> None:
    answer = browser.post("/new", data={**FILLED, "action": "send"})

    assert answer.status_code == 422
    assert "The model 'net' is not available any more" in unescape(answer.text)


def test_form_when_refused_then_the_error_comes_first_and_the_rest_is_kept(
    client: httpx.Client, browser: httpx.Client, served: Served
) -> None:
    ready_model(client, served)
    put_dataset(client)

    page = browser.post("/new", data={**FILLED, "seed": "seven", "steps": "0", "fresh": "on", "action": "send"}).text

    assert "<title>Error: New job" in page
    assert page.index('role="alert" tabindex="-1" autofocus') < page.index("<form id=")
    assert re.search(r'id="seed"[^>]* aria-invalid="true" aria-describedby="wrong-\d', page)
    assert re.search(r'name="fresh" value="on" checked', page)
    assert "aria-invalid" not in browser.post("/new", data={**FILLED, "action": "estimate"}).text


@pytest.mark.parametrize(
    ("pointer", "id"),
    [
        ("/layer", "layer"),
        ("/methods/1/steps", "steps"),
        ("/methods/1/spacing", "spacing"),
        ("/methods", "methods"),
        ("/methods/0/statistic", "methods"),
        ("/clusters/layer", "kmeans_layer"),
        ("/clusters/k", "k"),
        ("/inputs/a~1b", "input.a/b"),
        ("/preprocess/mean/2", "mean"),
        ("/baseline/field", "baseline_field"),
        ("", ""),
    ],
)
def test_control_when_a_place_of_the_request_is_wrong_then_is_the_one_that_fills_it(pointer: str, id: str) -> None:
    assert form.control(pointer) == id


def test_form_when_it_is_no_form_then_is_415(browser: httpx.Client) -> None:
    assert browser.post("/new", json={}).status_code == 415
    assert_problem(browser.post("/new", json={}, headers={"Accept": "*/*"}), 415, "unsupported_media_type")
