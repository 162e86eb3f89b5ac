"""The pages for people: who sees what, what a browser may send, and that names are text."""

import json
import re
from collections.abc import Callable, Iterator
from html import unescape
from typing import Any

import httpx
import numpy as np
import pytest

from tests.service.conftest import Json, Served, assert_problem, job, npz, put_dataset, put_model, ready_model
from tests.service.results.test_results import ARRAYS, succeeded, summary
from unitrank_schemas.jobs import JobRequest
from unitrank_service.web import form, snippets
from unitrank_store.access.sessions import SessionStore

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
OWN = {"Sec-Fetch-Site": "same-origin"}
HOSTILE = "<script>alert('1')</script>\"'&"
PAGES = ["/", "/models", "/datasets", "/new"]
TABS = ["verdict", "curves", "units", "heatmaps", "warnings", "provenance", "request", "downloads"]


@pytest.fixture
def browser(served: Served, redis_url: str) -> Iterator[httpx.Client]:
    """Keeps cookies, and says whose page a request comes from."""
    with httpx.Client(base_url=served.url, headers={**BROWSER, **OWN}) as client:
        yield client


SignIn = Callable[..., httpx.Client]


@pytest.fixture
def signed_in(browser: httpx.Client, served: Served) -> SignIn:
    """Signs the browser in with a new key."""

    def sign_in(*scopes: str, tenant: str = "default") -> httpx.Client:
        _, secret = served.backend.keys.create("Ada", scopes or ("admin",), tenant)
        assert browser.post("/signin", data={"key": secret}).status_code == 303
        return browser

    return sign_in


def choices(page: str, name: str) -> list[str]:
    """The values that a select of the page offers."""
    found = re.search(rf'<select[^>]* name="{re.escape(name)}".*?</select>', page, re.DOTALL)
    return [unescape(value) for value in re.findall(r'<option value="([^"]*)"', found[0])] if found else []


@pytest.mark.parametrize("path", PAGES)
def test_page_when_there_is_nothing_then_says_so(browser: httpx.Client, path: str) -> None:
    answer = browser.get(path)

    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert re.search(r"no <?.*?(jobs|models?|datasets?)", answer.text)


@pytest.mark.parametrize("path", PAGES)
def test_page_when_there_are_things_then_shows_them(client: httpx.Client, browser: httpx.Client, served: Served, path: str) -> None:
    ready_model(client, served)
    put_dataset(client)
    client.post("/v1/jobs", json=job())

    answer = browser.get(path)

    assert answer.status_code == 200, answer.text
    assert ("data" if path == "/datasets" else "net") in answer.text


@pytest.mark.parametrize("path", ["/", "/models", "/datasets"])
def test_hint_when_pasted_then_reaches_this_service_with_a_key_where_one_is_needed(
    browser: httpx.Client, signed_in: SignIn, served: Served, path: str
) -> None:
    open_hint = unescape(browser.get(path).text)
    keyed_hint = unescape(signed_in("admin").get(path).text)

    for place in {"/": ["models", "datasets"]}.get(path, [path[1:]]):
        assert f"'Content-Type: application/octet-stream' {served.url}/v1/{place}/mine" in open_hint
        assert f'-H "Authorization: Bearer $UNITRANK_KEY" {served.url}/v1/{place}/mine' in keyed_hint


@pytest.mark.parametrize(
    ("scopes", "may"),
    [(["read"], []), (["read", "write"], ["/datasets"]), (["read", "models"], ["/models"]), (["admin"], ["/models", "/datasets"])],
)
def test_upload_when_the_key_may_not_then_is_not_offered(signed_in: SignIn, scopes: list[str], may: list[str]) -> None:
    browser = signed_in(*scopes)

    for path in ("/models", "/datasets"):
        page = browser.get(path).text
        assert (f'data-put="/v1{path}/"' in page) == (path in may)
        # It is shown by the script that it needs.
        assert path not in may or re.search(r"<form[^>]* data-put=[^>]* hidden>", page)


def test_models_when_one_is_inspected_then_its_state_is_live(client: httpx.Client, browser: httpx.Client, served: Served) -> None:
    ready_model(client, served)
    assert "data-refresh" not in browser.get("/models").text + browser.get("/models/net").text
    put_model(client, "other", b"other")

    assert "data-refresh" in browser.get("/models").text
    assert "data-refresh" in browser.get("/models/other").text


def test_pages_when_answered_then_allow_no_script_but_their_own(browser: httpx.Client) -> None:
    answer = browser.get("/")

    assert answer.headers["content-security-policy"].startswith("default-src 'self'; ")
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert re.findall(r"<script[^>]*>", answer.text) == re.findall(r'<script src="/static/[^"]+" defer>', answer.text)
    assert not re.search(r"<style|\son\w+=|\sstyle=|=\"https?://", answer.text)


def test_assets_when_named_with_their_version_then_are_kept_for_ever(browser: httpx.Client) -> None:
    for address in re.findall(r'(?:href|src)="(/static/[^"]+)"', browser.get("/").text):
        answer = browser.get(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        plain = browser.get(address.partition("?")[0])
        assert plain.headers["cache-control"] == "no-cache"
        assert browser.get(address, headers={"If-None-Match": plain.headers["etag"]}).status_code == 304
    assert browser.get("/static/..%2fpages.py").status_code == 404


def test_jobs_when_there_are_many_then_come_in_pages_and_by_filter(
    client: httpx.Client, browser: httpx.Client, served: Served
) -> None:
    ready_model(client, served)
    put_dataset(client)
    ids = [client.post("/v1/jobs", json=job(seed=seed)).json()["id"] for seed in range(60)]
    client.post(f"/v1/jobs/{ids[7]}/cancel")

    first = browser.get("/").text
    assert [id for id in reversed(ids) if id in first] == list(reversed(ids))[:50]
    rest = browser.get("/" + unescape(re.findall(r'href="(\?[^"]*after=[^"]*)"', first)[0])).text
    assert re.findall(r'href="/jobs/(\w+)"', rest) == list(reversed(ids))[50:]
    assert re.findall(r'href="/jobs/(\w+)"', browser.get("/?status=cancelled").text) == [ids[7]]
    assert "No job is like that" in browser.get("/?model=other").text


@pytest.mark.parametrize("tab", TABS)
def test_job_when_it_has_succeeded_then_every_part_is_there(
    client: httpx.Client, browser: httpx.Client, served: Served, tab: str
) -> None:
    id = succeeded(client, served)

    answer = browser.get(f"/jobs/{id}", params={"tab": tab, "cluster": "=b", "ranking": "gradient", "channel": ""})

    assert answer.status_code == 200, answer.text
    assert f'aria-current="page">{tab.capitalize()}' in answer.text
    pictures = re.findall(r'<a href="(/v1/[^"]+)"><img[^>]* src="([^"]+)"', answer.text)
    assert len(pictures) == answer.text.count("<img") - 1  # the icon
    for whole, picture in pictures:
        assert whole == picture
        assert browser.get(unescape(picture)).status_code == 200, picture


def ended(client: httpx.Client, served: Served, told: Callable[[Json], Json], **changes: Any) -> str:
    """The id of a job with a result that is told in another way."""
    ready_model(client, served)
    put_dataset(client)
    id: str = client.post("/v1/jobs", json=job(**changes)).json()["id"]
    attempt = served.backend.jobs.start(id, "cpu-0")
    manifest = served.backend.results.put(told(summary(id)), ARRAYS)
    served.backend.jobs.finish(id, attempt or 0, "succeeded", result=dict(manifest))
    return id


def test_warning_when_over_all_clusters_and_in_some_then_says_both(
    client: httpx.Client, browser: httpx.Client, served: Served
) -> None:
    warnings = [
        {"code": "verdict_depends_on_fill", "detail": "…", "cluster": cluster, "ranking": "gradient"} for cluster in (None, "a")
    ]
    id = ended(client, served, lambda told: told | {"warnings": warnings})

    assert "</code> over all clusters and in cluster a" in browser.get(f"/jobs/{id}?tab=warnings").text


def test_verdict_when_nothing_was_tested_then_no_picture_says_otherwise(
    client: httpx.Client, browser: httpx.Client, served: Served
) -> None:
    untested = {"ranking": "gradient", "verdict": None, "better_than_random": 0, "of": 2}
    id = ended(client, served, lambda told: told | {"leaderboard": [untested]}, ablation=None)

    page = browser.get(f"/jobs/{id}").text

    assert "not put to the test" in page
    assert "/plots/leaderboard" not in page
    assert_problem(client.get(f"/v1/jobs/{id}/plots/leaderboard.png"), 422, "no_ablation")
    assert "undecided" not in client.get(f"/v1/jobs/{id}/report").text


def test_heatmaps_when_channels_come_last_then_each_of_them_can_be_chosen(
    client: httpx.Client, browser: httpx.Client, served: Served
) -> None:
    last = {"shape": [2, 2, 4], "channel_axis": 2}
    id = ended(client, served, lambda told: told | {"layer": told["layer"] | last})

    page = browser.get(f"/jobs/{id}?tab=heatmaps&channel=3").text

    assert choices(page, "channel") == ["", "0", "1", "2", "3"]
    assert browser.get(unescape(re.findall(r'<img[^>]* src="(/v1/[^"]+)"', page)[0])).status_code == 200


@pytest.mark.parametrize(("kind", "start"), [("json", b"{"), ("csv", b"cluster,"), ("npz", b"PK"), ("safetensors", b"")])
def test_download_when_followed_then_is_a_file(
    client: httpx.Client, browser: httpx.Client, served: Served, kind: str, start: bytes
) -> None:
    id = succeeded(client, served)
    answer = browser.get(f"/jobs/{id}/download/{kind}")

    assert answer.status_code == 200
    assert answer.content.startswith(start)
    assert answer.headers["content-disposition"] == f'attachment; filename="{id}.{kind}"'


def test_job_when_it_failed_then_its_problem_is_in_words(client: httpx.Client, browser: httpx.Client, served: Served) -> None:
    ready_model(client, served)
    put_dataset(client)
    id = client.post("/v1/jobs", json=job()).json()["id"]
    attempt = served.backend.jobs.start(id, "cpu-0")
    problem = {
        "code": "non_finite",
        "title": "Not finite",
        "detail": f"the score is NaN {HOSTILE}",
        "status": 422,
        "retryable": False,
    }
    served.backend.jobs.finish(id, attempt or 0, "failed", problem=problem)

    page = browser.get(f"/jobs/{id}").text

    assert "Not finite" in page
    assert "The score is NaN &lt;script&gt;" in page
    assert "would fail again" in page
    assert "data-events" not in page


def test_job_when_it_is_under_way_then_its_events_are_followed(client: httpx.Client, browser: httpx.Client, served: Served) -> None:
    ready_model(client, served)
    put_dataset(client)
    id = client.post("/v1/jobs", json=job()).json()["id"]
    assert "it is the next" in browser.get(f"/jobs/{id}").text
    attempt = served.backend.jobs.start(id, "cpu-0")
    served.backend.jobs.progress(id, attempt or 0, {"done": 5, "total": 10, "unit": "rows", "stage": "ablation", "eta": None})

    page = browser.get(f"/jobs/{id}").text

    assert f'data-events="/v1/jobs/{id}/events"' in page
    assert "Ablation: 5 of 10 rows" in page
    assert 'value="50"' in page


def test_names_when_hostile_then_are_text(client: httpx.Client, browser: httpx.Client, served: Served) -> None:
    """Fields, layers, clusters and keys may be called anything."""
    strange = {"name": HOSTILE, "kind": HOSTILE, "shape": [4], "units": 4, "channels": 4, "channel_axis": 0, "cut": True}
    ready_model(client, served, layers=[strange])
    put_dataset(client, **{"image": np.zeros((4, 1, 2, 2), np.uint8), HOSTILE.replace("/", ""): np.arange(4)})
    posted = client.post("/v1/jobs", json=job(layer=HOSTILE, metadata={"note": HOSTILE}))
    id = posted.json()["id"]
    attempt = served.backend.jobs.start(id, "cpu-0")
    told = json.loads(json.dumps(summary(id)).replace('"=b"', json.dumps(HOSTILE)))
    arrays = {name.replace("=b", HOSTILE): values for name, values in ARRAYS.items()}
    served.backend.jobs.finish(id, attempt or 0, "succeeded", result=dict(served.backend.results.put(told, arrays)))
    paths = ["/", "/models/net", "/datasets/data", "/new?model=net&dataset=data", f"/?model={HOSTILE}", "/models/%3Cscript%3E"]
    paths += [f"/jobs/{id}?tab={tab}&cluster=%3Cscript%3E" for tab in TABS]

    for path in paths:
        page = browser.get(path).text
        assert "<script>" not in page, path
        assert "alert('1')" not in page, path


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
    assert [(entry["id"], entry.get("steps")) for entry in request["methods"]] == [
        ("gradient", None),
        ("gradient.mean_abs", None),
        ("conductance", 10),
    ]
    assert request["clusters"] == {"by": "kmeans", "k": 3, "layer": "fc", "limit": 2}
    assert request["target"] == {"class": 1, "score": "margin"}
    assert request["baseline"] == {"kind": "constant", "value": 0.25}
    assert (request["units"], request["seed"], request["ablation"]["random"], request["fidelity"]) == ("channel", 7, 19, None)
    assert request["preprocess"]["mean"] == 0.5


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
        ({"layer": ""}, "The choice of no layer", "layer"),
        ({"at": "input"}, "The side 'input'", "at"),
        ({"method": ["activation:mean", "grad_cam:mean"]}, "The method 'Grad-CAM (mean)'", ""),
        ({"by": "field", "field": "group"}, "The field 'group'", "field"),
        ({"labels": "label"}, "The field 'label'", "labels"),
        ({"labels": ""}, "The choice of no field", "labels"),
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
    assert f"{says} is not there any more; check and send again." in unescape(answer.text)
    assert client.get("/v1/jobs").json()["items"] == []
    assert not control or re.search(rf'id="{re.escape(control)}"[^>]* aria-invalid="true"', answer.text)
    assert browser.post("/new", data={**FILLED, "field": "hidden", "action": "send"}).status_code == 303


def test_form_when_nothing_is_left_to_choose_then_says_what_is_gone(browser: httpx.Client) -> None:
    answer = browser.post("/new", data={**FILLED, "action": "send"})

    assert answer.status_code == 422
    assert "The model 'net' is not there any more" in unescape(answer.text)


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


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"methods": [{"name": "conductance", "steps": 7, "statistic": "rms"}, "gradient", "gradient"], "clusters": {"by": "label"}},
        {"ablation": None, "fidelity": {"select": "top"}, "target": {"class": "predicted", "score": "margin"}, "seed": 3},
        {"baseline": {"kind": "constant", "value": 1.5}, "preprocess": {"scale": 2.0}, "metadata": {"a": None}},
    ],
)
def test_request_when_spoken_then_asks_for_the_same(client: httpx.Client, served: Served, changes: Json) -> None:
    ready_model(client, served)
    put_dataset(client)
    first = client.post("/v1/jobs", json=job(**changes)).json()
    said = snippets.short(first["request"])

    assert client.post("/v1/jobs", json=said).json()["id"] == first["id"]
    assert JobRequest.model_validate(said)
    assert "steps" not in json.dumps(snippets.short(first["request"] | {"methods": first["request"]["methods"][-1:]}))


def test_python_when_spoken_then_is_what_python_reads(client: httpx.Client) -> None:
    request = job(metadata={"it's": '"quoted"\n'})
    program = snippets.as_python(request, "http://127.0.0.1:8000", key=True)
    scope: dict[str, Any] = {}
    exec(compile(program.partition("\nwith ")[0], "spoken", "exec"), scope)

    assert scope["request"] == request
    compile(program, "spoken", "exec")


def test_sign_in_when_no_key_is_stored_then_nothing_is_asked(browser: httpx.Client) -> None:
    assert browser.get("/signin").headers["location"] == "/"
    assert browser.get("/").status_code == 200
    assert "Sign out" not in browser.get("/").text


def test_page_when_a_key_is_needed_then_leads_to_the_sign_in_and_back(browser: httpx.Client, served: Served) -> None:
    _, secret = served.backend.keys.create("Ada", ["read"])
    asked = browser.get("/models?after=x")
    assert asked.status_code == 303
    form = browser.get(asked.headers["location"])
    assert form.status_code == 200
    assert 'name="next" value="/models?after=x"' in form.text

    answer = browser.post("/signin", data={"key": secret, "next": "/models?after=x"})

    assert answer.headers["location"] == "/models?after=x"
    assert browser.get("/models").status_code == 200
    assert_problem(httpx.get(f"{served.url}/models"), 401, "unauthorized")


def test_cookie_when_set_then_is_for_this_site_alone_and_holds_no_key(browser: httpx.Client, served: Served) -> None:
    _, secret = served.backend.keys.create("Ada", ["read"])
    cookie = browser.post("/signin", data={"key": secret}).headers["set-cookie"]

    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert secret.split("_")[1] not in cookie
    stored = [name.decode() for name in served.backend.connection.keys("*session*")]
    assert len(stored) == 1
    assert cookie.split(";")[0].partition("=")[2] not in stored[0]
    assert 0 < served.backend.connection.ttl(stored[0]) <= 12 * 3600
    proxied = browser.post("/signin", data={"key": secret}, headers={"X-Forwarded-Proto": "https"})
    assert "Secure" in proxied.headers["set-cookie"]


@pytest.mark.parametrize(
    "elsewhere", ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "/a\r\nX: y"]
)
def test_sign_in_when_it_should_lead_elsewhere_then_leads_to_the_first_page(
    browser: httpx.Client, served: Served, elsewhere: str
) -> None:
    _, secret = served.backend.keys.create("Ada", ["read"])

    assert browser.post("/signin", data={"key": secret, "next": elsewhere}).headers["location"] == "/"


def test_sign_in_when_the_key_is_wrong_then_says_so_and_opens_nothing(browser: httpx.Client, served: Served) -> None:
    served.backend.keys.create("Ada", ["read"])
    answer = browser.post("/signin", data={"key": "unitrank_x_y"})

    assert answer.status_code == 401
    assert "the key is wrong or was revoked" in answer.text
    assert "<title>Error: Sign in" in answer.text
    assert "set-cookie" not in answer.headers
    assert browser.get("/").status_code == 303


def test_session_when_signed_out_or_revoked_then_opens_nothing(signed_in: SignIn, served: Served) -> None:
    browser = signed_in("read")
    word = browser.cookies["unitrank_session"]
    assert browser.get("/v1/jobs").status_code == 200
    assert browser.post("/signout").headers["location"] == "/signin"
    assert "unitrank_session" not in browser.cookies
    assert SessionStore(served.backend.connection, served.backend.keys).key(word) is None
    signed_in("read")

    served.backend.keys.create("other", ["read"])
    for key in served.backend.keys.list():
        if key.name == "Ada":
            served.backend.keys.revoke(key.id)

    assert browser.get("/").status_code == 303
    assert_problem(browser.get("/v1/jobs"), 401, "unauthorized")


FOREIGN: list[dict[str, str]] = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
]


@pytest.mark.parametrize("headers", [*FOREIGN, {}])
@pytest.mark.parametrize("path", ["/v1/jobs/{id}/cancel", "/jobs/{id}/cancel", "/jobs/{id}/delete", "/new", "/signin", "/signout"])
def test_change_when_a_page_of_another_site_asks_with_the_cookie_then_is_refused(
    signed_in: SignIn, client: httpx.Client, served: Served, headers: dict[str, str], path: str
) -> None:
    browser = signed_in("admin")
    id = "0" * 26

    del browser.headers["sec-fetch-site"]
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = browser.post(path.format(id=id), content=b"key=x", headers={**form, **headers, "Accept": "*/*"})

    assert_problem(answer, 403, "cross_site")


@pytest.mark.parametrize("headers", FOREIGN)
def test_change_when_a_page_of_another_site_asks_without_keys_then_is_refused_too(
    client: httpx.Client, served: Served, headers: dict[str, str]
) -> None:
    ready_model(client, served)
    put_dataset(client)
    id = client.post("/v1/jobs", json=job()).json()["id"]

    assert_problem(client.post(f"/v1/jobs/{id}/cancel", headers=headers), 403, "cross_site")
    assert client.get(f"/v1/jobs/{id}", headers=headers).status_code == 200
    assert client.post(f"/v1/jobs/{id}/cancel").status_code == 202


def test_change_when_our_own_page_or_a_key_asks_then_is_made(signed_in: SignIn, client: httpx.Client, served: Served) -> None:
    browser = signed_in("admin")
    del browser.headers["sec-fetch-site"]
    _, secret = served.backend.keys.create("program", ["admin"])
    nobody = "/v1/jobs/" + "0" * 26 + "/cancel"

    assert_problem(browser.post(nobody, headers=OWN), 404, "job_not_found")
    assert_problem(browser.post(nobody, headers={"Origin": served.url}), 404, "job_not_found")
    assert_problem(client.post(nobody, headers={"Authorization": f"Bearer {secret}", **FOREIGN[0]}), 404, "job_not_found")


def test_upload_when_signed_in_then_is_taken_from_our_own_page_alone(signed_in: SignIn) -> None:
    browser = signed_in("read", "write")
    body, bytes = npz(x=np.arange(4)), {"Content-Type": "application/octet-stream"}

    assert browser.put("/v1/datasets/mine", content=body, headers=bytes).status_code == 201
    assert_problem(browser.put("/v1/models/mine", content=body, headers=bytes), 403, "forbidden")
    for foreign in FOREIGN[:2]:
        assert_problem(browser.put("/v1/datasets/theirs", content=body, headers=bytes | foreign), 403, "cross_site")


def test_pages_when_of_another_tenant_then_show_nothing_of_it(signed_in: SignIn, served: Served) -> None:
    _, secret = served.backend.keys.create("theirs", ["admin"], "theirs")
    with httpx.Client(base_url=served.url, headers={"Authorization": f"Bearer {secret}"}) as theirs:
        ready_model(theirs, served, "secret-net")
        put_dataset(theirs, "secret-data")
        id = theirs.post("/v1/jobs", json=job(model="secret-net", dataset="secret-data")).json()["id"]
    browser = signed_in("read", "write", tenant="ours")

    for path in PAGES:
        assert "secret" not in browser.get(path).text
    assert "secret" not in browser.get("/new?model=secret-net&dataset=secret-data").text
    for path in (f"/jobs/{id}", "/models/secret-net", "/datasets/secret-data", f"/jobs/{id}/download/json"):
        assert browser.get(path).status_code == 404
    assert browser.post(f"/jobs/{id}/cancel").status_code == 404
    assert "(ours)" in browser.get("/").text


def test_pages_when_the_key_may_only_read_then_offer_no_more(signed_in: SignIn, client: httpx.Client, served: Served) -> None:
    _, secret = served.backend.keys.create("other", ["admin"])
    client.headers["Authorization"] = f"Bearer {secret}"
    ready_model(client, served)
    put_dataset(client)
    id = client.post("/v1/jobs", json=job()).json()["id"]
    browser = signed_in("read")

    for path in ("/", "/models/net", "/datasets/data", f"/jobs/{id}"):
        page = browser.get(path).text
        assert "/new" not in page
        assert f"/jobs/{id}/cancel" not in page
    for refused in (browser.get("/new"), browser.post(f"/jobs/{id}/cancel")):
        assert refused.status_code == 403
        assert "lacks the scope &#39;write&#39;" in refused.text
        assert "Sign out" in refused.text


def test_job_when_cancelled_and_deleted_on_the_page_then_is_gone(
    client: httpx.Client, browser: httpx.Client, served: Served
) -> None:
    ready_model(client, served)
    put_dataset(client)
    id = client.post("/v1/jobs", json=job()).json()["id"]
    assert browser.post(f"/jobs/{id}/delete").status_code == 409
    assert browser.post(f"/jobs/{id}/cancel").headers["location"] == f"/jobs/{id}"
    assert "The job was cancelled" in browser.get(f"/jobs/{id}").text

    assert browser.post(f"/jobs/{id}/delete").headers["location"] == "/"
    assert browser.get(f"/jobs/{id}").status_code == 404


@pytest.mark.parametrize("path", ["/jobs/none", "/models/none", "/datasets/none", "/static/none"])
def test_page_when_there_is_none_then_browsers_get_words_and_programs_a_problem(browser: httpx.Client, path: str) -> None:
    page = browser.get(path)

    assert page.status_code == 404
    assert "<h1>Not found</h1>" in page.text
    assert httpx.get(browser.base_url.join(path)).headers["content-type"] == "application/problem+json"
