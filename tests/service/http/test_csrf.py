"""The service rejects a change that a page of another site requests."""

import httpx
import numpy as np
import pytest

from tests.service.conftest import OWN, Served, SignIn, assert_problem, job, npz, put_dataset, ready_model

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
