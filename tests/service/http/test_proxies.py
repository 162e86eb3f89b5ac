"""A path prefix, and the headers of a trusted proxy."""

import re
from collections.abc import Callable
from html import unescape

import httpx
import pytest

from tests.service.conftest import BROWSER, OWN, Served, assert_problem, job, put_dataset
from tests.service.results.conftest import succeeded
from unitrank_service import __main__
from unitrank_service.app import create_app
from unitrank_store.settings import Settings

PREFIX = "/unitrank"
Serve = Callable[..., tuple[httpx.Client, Served]]
PUBLIC = {"X-Forwarded-Host": "rank.example.org", "X-Forwarded-Proto": "https"}
LINK = re.compile(r"""\b(?:href|src|action|data-events|data-put|data-url)="([^"#]*)""")


@pytest.mark.check
def test_prefix_when_set_then_every_link_of_every_page_is_below_it_and_works(serve: Serve) -> None:
    client, served = serve(root_path=PREFIX)
    id = succeeded(client, served)
    client.post("/v1/jobs", json=job(seed=1))
    client.headers.update(BROWSER | OWN)
    left, links = [f"{PREFIX}/"], set[str]()
    while left:
        answer = client.get(left.pop())
        assert answer.status_code == 200, f"{answer.url}: {answer.text}"
        if answer.headers["content-type"].startswith("text/html") and not answer.url.path.endswith("/report"):
            page_links = {str(answer.url.join(unescape(link)).raw_path, "ascii") for link in LINK.findall(answer.text)}
            left += [
                link
                for link in page_links - links
                if not re.search(r"/(cancel|compare|delete|edit|signout|events)$|/v1/\w+/$|/plots/", link)
            ]
            links |= page_links

    assert [link for link in links if not link.startswith(f"{PREFIX}/")] == []
    assert {f"{PREFIX}/jobs/{id}", f"{PREFIX}/docs", f"{PREFIX}/openapi.json", f"{PREFIX}/v1/models/"} <= links
    assert any(re.search("/plots/", link) for link in links)
    assert any(link.endswith("/events") for link in links)


@pytest.mark.parametrize("path", ["/v1/jobs", f"{PREFIX}/v1/jobs"])
def test_prefix_when_the_proxy_removes_or_keeps_it_then_links_and_locations_have_it(serve: Serve, path: str) -> None:
    client, served = serve(root_path=PREFIX)
    put = client.put(path.replace("jobs", "datasets/data"), content=b"", headers={"Content-Type": "application/octet-stream"})
    id = succeeded(client, served)
    posted = client.post(path, json=job(seed=2))
    other = f"{PREFIX}/v1/jobs/{posted.json()['id']}"

    assert put.status_code == 422
    assert posted.headers["location"] == posted.json()["links"]["self"] == other
    assert client.get(other).json()["links"]["result"] == f"{other}/result"
    assert client.get(path).json()["items"][1]["links"]["self"] == f"{PREFIX}/v1/jobs/{id}"
    assert client.post(f"{path}/{posted.json()['id']}/cancel").headers["location"] == other
    assert client.get(f"{path}/").headers["location"] == f"{served.url}{PREFIX}/v1/jobs"
    assert client.get(PREFIX, headers=BROWSER).status_code == client.get(f"{PREFIX}/healthz").status_code == 200
    assert client.get(f"{PREFIX}/openapi.json").json()["servers"] == [{"url": PREFIX}]
    assert f"{PREFIX}/openapi.json" in assert_problem(client.get(f"{PREFIX}x/v1/jobs"), 404, "not_found")["detail"]
    assert assert_problem(client.get(f"{PREFIX}/v1/models/none"), 404, "model_not_found")
    assert client.delete(f"{PREFIX}/v1/jobs").headers["allow"] == "GET, HEAD, POST"


def test_prefix_when_signing_in_then_redirects_and_cookie_have_it(serve: Serve) -> None:
    client, served = serve(root_path=PREFIX)
    _, secret = served.backend.keys.create("Ada", ["admin"])
    client.headers.update(BROWSER | OWN)
    redirect = client.get("/models?after=x").headers["location"]
    form = client.get(redirect)
    answer = client.post(f"{PREFIX}/signin", data={"key": secret, "next": "/models?after=x"})
    cookie = answer.headers["set-cookie"]

    assert redirect == f"{PREFIX}/signin?next=%2Fmodels%3Fafter%3Dx"
    assert f'action="{PREFIX}/signin"' in form.text
    assert answer.headers["location"] == f"{PREFIX}/models?after=x"
    assert f"Path={PREFIX}" in cookie.split("; ")
    assert client.get(f"{PREFIX}/models").status_code == 200
    left = client.post(f"{PREFIX}/signout")
    assert f"Path={PREFIX}" in left.headers["set-cookie"].split("; ")
    assert client.get(f"{PREFIX}/models").headers["location"].startswith(f"{PREFIX}/signin")


def test_forwarded_prefix_when_the_proxy_is_trusted_then_counts(client: httpx.Client) -> None:
    for sent, prefix in {"/a/b": "/a/b", "/a/": "/a", "/evil, /a": "/a", "": "", "/": ""}.items():
        answer = client.get(
            "/models", headers=BROWSER | PUBLIC | {"X-Forwarded-Prefix": sent, "X-Forwarded-Host": "localhost:8443"}
        )
        assert f'href="{prefix}/datasets"' in answer.text
        assert f"https://localhost:8443{prefix}/v1/models/mine" in unescape(answer.text)
    assert client.get("/a/v1/models", headers={"X-Forwarded-Prefix": "/a"}).status_code == 200


def test_forwarded_headers_when_the_client_is_not_trusted_then_are_ignored(serve: Serve) -> None:
    client, served = serve(trusted_proxies="10.0.0.0/8")
    answer = client.get("/models", headers=BROWSER | PUBLIC | {"X-Forwarded-Prefix": "//evil"})

    assert 'href="/datasets"' in answer.text
    assert f"{served.url}/v1/models/mine" in unescape(answer.text)


def test_forwarded_prefix_when_the_operator_set_one_then_is_ignored(serve: Serve) -> None:
    client, _ = serve(root_path=PREFIX)

    assert f'href="{PREFIX}/datasets"' in client.get("/models", headers=BROWSER | {"X-Forwarded-Prefix": "/other"}).text


@pytest.mark.parametrize("prefix", ["//evil.example", "evil", "/a/../b", "/a b", "/a?x", "/jobs", "/v1/x", "/a\\b", "/%2e"])
def test_forwarded_prefix_when_malformed_then_is_a_problem(client: httpx.Client, prefix: str) -> None:
    problem = assert_problem(client.get("/healthz", headers={"X-Forwarded-Prefix": prefix}), 400, "prefix_invalid")

    assert repr(prefix) in problem["detail"]
    assert problem["detail"].endswith("/unitrank")


def test_forwarded_host_when_not_allowed_then_is_a_problem_like_the_host(serve: Serve) -> None:
    client, _ = serve(hosts="rank.example.org")
    page = client.get("/models", headers=BROWSER | PUBLIC)

    assert "https://rank.example.org/v1/models/mine" in unescape(page.text)
    assert_problem(client.get("/healthz", headers={"X-Forwarded-Host": "evil.example"}), 400, "host_not_allowed")
    # The page of another site whose name leads to this machine can send the header too.
    rebound = {"Host": "evil.example", "X-Forwarded-Host": "rank.example.org"}
    assert_problem(client.get("/healthz", headers=rebound), 400, "host_not_allowed")


def test_form_when_sent_through_the_proxy_then_its_origin_is_the_forwarded_host(serve: Serve) -> None:
    client, _ = serve(hosts="rank.example.org", root_path=PREFIX)
    put_dataset(client)
    headers = BROWSER | PUBLIC | {"Origin": "https://rank.example.org", "Content-Type": "application/x-www-form-urlencoded"}

    assert client.post("/new", content=b"action=estimate", headers=headers).status_code == 200
    assert client.post("/new", content=b"action=estimate", headers=headers | {"Origin": "https://evil.example"}).status_code == 403


@pytest.mark.parametrize("prefix", ["/jobs", "/v1", "/docs/unitrank", "/openapi.json", "/static"])
def test_prefix_when_it_begins_like_a_path_of_the_service_then_the_start_is_refused(
    prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNITRANK_ROOT_PATH", prefix)

    with pytest.raises(ValueError, match=f"the prefix '{prefix}' begins with a path of the service"):
        create_app(Settings())
    assert __main__.main(["--port", "0"]) == 2
