"""The pages about several jobs: the list with its filters and changes, and the comparison."""

import re
from html import unescape

import httpx
import pytest

from tests.service.conftest import Served, SignIn, job, put_dataset, ready_model
from tests.service.results.conftest import succeeded
from tests.service.web.conftest import HOSTILE

SUMMARY = {"best": "gradient", "verdict": "better_than_random", "robust": False, "area": 0.71234, "clusters": 3}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def ids(client: httpx.Client, served: Served) -> list[str]:
    """Three jobs: one has succeeded, one waits, one has a title and tags."""
    ready_model(client, served)
    put_dataset(client)
    posted = [
        client.post("/v1/jobs", json=job(seed=number, metadata=metadata)).json()["id"]
        for number, metadata in enumerate([{}, {}, {"name": "Third & last", "tags": ["a b", "paper"], "notes": "see §3"}])
    ]
    attempt = served.backend.jobs.start(posted[0], "w") or 0
    served.backend.jobs.finish(posted[0], attempt, "succeeded", summary=SUMMARY)
    return posted


def listed(browser: httpx.Client, query: str = "") -> list[str]:
    """The ids of the page's rows."""
    answer = browser.get(f"/?{query}")
    assert answer.status_code == 200, answer.text
    return re.findall(r'<input type="checkbox" name="job" value="(\w+)"', answer.text)


def test_list_when_shown_then_has_titles_tags_notes_verdicts_and_areas(browser: httpx.Client, ids: list[str]) -> None:
    page = browser.get("/").text

    assert "Third &amp; last</a>" in page
    assert unescape(re.findall(r'class="tag" href="([^"]*)"', page)[0]) == "/?metadata.tags=a+b"
    for text in (
        "see §3",
        "Layer conv1 of net</a>",
        '<span class="judged fragile">fragile</span>',
        ">0.7123<",
        "<code>gradient</code>",
    ):
        assert text in page


@pytest.mark.parametrize(
    ("query", "selected"),
    [
        ("text=third", [2]),
        ("metadata.tags=paper", [2]),
        ("verdict=fragile", [0]),
        ("verdict=robust", []),
        ("status=queued&sort=created_at,asc", [1, 2]),
        ("sort=area", [0, 2, 1]),
        ("layer=conv1&dataset=data&model=net", [2, 1, 0]),
        ("verdict=nonsense&status=nonsense&sort=nonsense", [2, 1, 0]),
        ("layer=other", []),
    ],
)
def test_list_when_filtered_then_shows_these_jobs_and_keeps_the_filter(
    browser: httpx.Client, ids: list[str], query: str, selected: list[int]
) -> None:
    assert listed(browser, query) == [ids[number] for number in selected]
    page = browser.get(f"/?{query}").text
    assert ("No jobs match this filter" in page) == (not selected)
    for name, value in re.findall(r"(text|layer|dataset|metadata\.tags)=([^&]*)", query):
        assert f'name="{name}" value="{value}"' in page


def test_list_when_there_are_many_jobs_then_the_next_page_keeps_the_filter(
    browser: httpx.Client, client: httpx.Client, ids: list[str]
) -> None:
    more = [client.post("/v1/jobs", json=job(seed=number)).json()["id"] for number in range(10, 60)]
    page = browser.get("/?layer=conv1&sort=area").text
    link = unescape(re.findall(r'href="(\?[^"]*after=[^"]*)"', page)[0])

    assert "layer=conv1" in link
    assert listed(browser, "layer=conv1&sort=area") + listed(browser, link[1:]) == [ids[0], *reversed(more), ids[2], ids[1]]


def test_jobs_when_ticked_then_are_cancelled_or_deleted_and_the_filter_stays(
    browser: httpx.Client, client: httpx.Client, ids: list[str]
) -> None:
    cancelled = browser.post("/jobs/cancel", content=f"job={ids[1]}&job={ids[0]}&back=layer%3Dconv1", headers=FORM)
    refused = browser.post("/jobs/delete", content=f"job={ids[0]}&job={ids[2]}", headers=FORM)

    assert (cancelled.status_code, cancelled.headers["location"]) == (303, "/?layer=conv1")
    assert [client.get(f"/v1/jobs/{id}").json()["status"] for id in ids] == ["succeeded", "cancelled", "queued"]
    assert refused.status_code == 409
    assert f"1 of the jobs have not ended, such as {ids[2]}" in refused.text
    deleted = browser.post("/jobs/delete", content=f"job={ids[0]}&job={ids[1]}&back=%2F%2Fevil.example", headers=FORM)
    assert (deleted.status_code, deleted.headers["location"]) == (303, "/")
    assert listed(browser) == [ids[2]]
    assert browser.post("/jobs/delete", content="back=", headers=FORM).status_code == 422
    assert browser.post("/jobs/cancel", content="job=nonsense", headers=FORM).status_code == 404


def test_title_when_edited_on_the_page_then_the_job_has_it(browser: httpx.Client, client: httpx.Client, ids: list[str]) -> None:
    answer = browser.post(f"/jobs/{ids[2]}/edit", data={"name": "New", "tags": " x , ,y", "notes": ""})

    assert (answer.status_code, answer.headers["location"]) == (303, f"/jobs/{ids[2]}")
    assert client.get(f"/v1/jobs/{ids[2]}").json()["request"]["metadata"] == {"name": "New", "tags": ["x", "y"]}
    page = browser.get(f"/jobs/{ids[2]}").text
    assert "New</h1>" in page
    assert 'value="x, y"' in page


def test_comparison_when_two_jobs_have_results_then_shows_the_numbers_of_the_api(
    client: httpx.Client, browser: httpx.Client, served: Served
) -> None:
    first = succeeded(client, served)
    second = succeeded(client, served, seed=1, metadata={"name": HOSTILE})
    page = browser.get(f"/compare?job={first}&job={second}&back=layer%3Dconv1").text

    assert 'href="/?layer=conv1"' in page
    assert "<script>" not in page
    assert "<code>seed</code>" in page
    agreed = client.get(f"/v1/compare?job={first}&job={second}").json()["agreement"][0]
    cells = re.findall(r"<code>B: gradient</code></td>((?:<td class=\"number\">[^<]*</td>)*)", page)[0]
    names = ("spearman", "pearson", "cosine", "relative_difference", "top_overlap")
    assert re.findall(r">([^<>]+)<", cells) == [f"{agreed[name]:.4g}" for name in names]


@pytest.mark.parametrize(("query", "status"), [("", 422), ("job=a", 422), ("job=a&job=b", 404)])
def test_comparison_when_the_jobs_are_wrong_then_says_so(browser: httpx.Client, query: str, status: int) -> None:
    answer = browser.get(f"/compare?{query}")

    assert answer.status_code == status
    assert "<h1>" in answer.text


def test_changes_when_the_key_may_only_read_then_are_neither_offered_nor_made(
    signed_in: SignIn, client: httpx.Client, served: Served
) -> None:
    _, secret = served.backend.keys.create("other", ["admin"])
    client.headers["Authorization"] = f"Bearer {secret}"
    ready_model(client, served)
    put_dataset(client)
    id = client.post("/v1/jobs", json=job()).json()["id"]
    browser = signed_in("read")

    for path in ("/", f"/jobs/{id}"):
        page = browser.get(path).text
        assert not re.search(r'(form)?action="[^"]*/(cancel|delete|edit)"', page)
    assert ">other<" in browser.get("/").text
    for path in ("/jobs/cancel", "/jobs/delete", f"/jobs/{id}/edit"):
        assert browser.post(path, content=f"job={id}", headers=FORM).status_code == 403
