"""The pages: lists of jobs, models and datasets, limited to the rights of the key."""

import json
import re
from html import unescape

import httpx
import numpy as np
import pytest

from tests.service.conftest import Served, SignIn, job, put_dataset, put_model, ready_model
from tests.service.results.conftest import ARRAYS, summary
from tests.service.web.conftest import HOSTILE, TABS
from unitrank_service.web.pages import with_code

PAGES = ["/", "/models", "/datasets", "/new"]


@pytest.mark.parametrize("path", PAGES)
def test_page_when_there_is_nothing_then_says_so(browser: httpx.Client, path: str) -> None:
    answer = browser.get(path)

    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert re.search(r"(?i:no) <?.*?(jobs|models?|datasets?)", answer.text)


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
    assert "No jobs match this filter" in browser.get("/?model=other").text


def test_names_when_hostile_then_are_text(client: httpx.Client, browser: httpx.Client, served: Served) -> None:
    """Fields, layers, clusters and keys may be called anything."""
    strange = {"name": HOSTILE, "kind": HOSTILE, "shape": [4], "units": 4, "channels": 4, "channel_axis": 0, "cut": True}
    ready_model(client, served, layers=[strange])
    put_dataset(client, **{"image": np.zeros((4, 1, 2, 2), np.uint8), HOSTILE.replace("/", ""): np.arange(4)})
    posted = client.post("/v1/jobs", json=job(layer=HOSTILE, metadata={"note": HOSTILE}))
    id = posted.json()["id"]
    attempt = served.backend.jobs.start(id, "cpu-0")
    changed = json.loads(json.dumps(summary(id)).replace('"=b"', json.dumps(HOSTILE)))
    arrays = {name.replace("=b", HOSTILE): values for name, values in ARRAYS.items()}
    served.backend.jobs.finish(id, attempt or 0, "succeeded", result=dict(served.backend.results.put(changed, arrays)))
    paths = ["/", "/models/net", "/datasets/data", "/new?model=net&dataset=data", f"/?model={HOSTILE}", "/models/%3Cscript%3E"]
    paths += [f"/jobs/{id}?tab={tab}&cluster=%3Cscript%3E" for tab in TABS]

    for path in paths:
        page = browser.get(path).text
        assert "<script>" not in page, path
        assert "alert('1')" not in page, path


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


@pytest.mark.parametrize("path", ["/jobs/none", "/models/none", "/datasets/none", "/static/none"])
def test_page_when_there_is_none_then_browsers_get_words_and_programs_a_problem(browser: httpx.Client, path: str) -> None:
    page = browser.get(path)

    assert page.status_code == 404
    assert "<h1>Not found</h1>" in page.text
    assert httpx.get(browser.base_url.join(path)).headers["content-type"] == "application/problem+json"


def test_text_when_it_has_backticks_then_code_is_marked_and_markup_is_text() -> None:
    assert str(with_code("use `a<b` & <i>")) == "use <code>a&lt;b</code> &amp; &lt;i&gt;"
