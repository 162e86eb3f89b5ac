"""Signing in with a key on the page, and signing out."""

import httpx
import pytest

from tests.service.conftest import Served, SignIn, assert_problem
from unitrank_store.access.sessions import SessionStore


def test_sign_in_when_no_key_is_stored_then_nothing_is_asked(browser: httpx.Client) -> None:
    assert browser.get("/signin").headers["location"] == "/"
    assert browser.get("/").status_code == 200
    assert "Sign out" not in browser.get("/").text


def test_page_when_a_key_is_needed_then_leads_to_the_sign_in_and_back(browser: httpx.Client, served: Served) -> None:
    _, secret = served.backend.keys.create("Ada", ["read"])
    redirect = browser.get("/models?after=x")
    assert redirect.status_code == 303
    form = browser.get(redirect.headers["location"])
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
