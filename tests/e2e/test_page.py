"""The page in a browser: a job from the form to its downloads, by mouse and by keyboard, at both widths and in both colours."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from torch import nn

from store.connection import connect
from store.embedded import socket_url
from store.keys import Keys
from tests.e2e.conftest import save
from unitrank.local import Local

AXE = Path(__file__).parent / "axe" / "axe.min.js"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
BYTES = {"Content-Type": "application/octet-stream"}
TABS = ["Verdict", "Curves", "Units", "Heatmaps", "Warnings", "Provenance", "Request", "Downloads"]
PICTURE = '<svg xmlns="http://www.w3.org/2000/svg" width="96" height="60"/>'
WIDTHS = {"desktop": 1280, "phone": 360}
# A busy machine: how long a sight may take to come (ms).
PATIENCE = 60_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium with a profile of its own; skipped without it, which is a failure where CI is set."""
    try:
        from playwright.sync_api import sync_playwright

        program = shutil.which("chromium")
        assert program, "there is no program `chromium`"
    except (ImportError, AssertionError) as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no browser to test in: {error}")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield started
        started.close()


@contextmanager
def opened(browser: Any, url: str, width: str = "desktop") -> Iterator[Any]:
    """A page that must not complain, nor ask another host for anything."""
    context = browser.new_context(base_url=url, viewport={"width": WIDTHS[width], "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE)
    wrong: list[str] = []

    def watch(page: Any) -> None:
        page.on("console", lambda message: message.type in ("error", "warning") and wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: request.url.startswith(url) or wrong.append(request.url))

    context.on("page", watch)
    try:
        yield context.new_page()
    finally:
        context.close()
    assert wrong == []


@pytest.fixture(scope="module")
def furnished(url: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The service with a small network on images."""
    folder = tmp_path_factory.mktemp("page")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    save(net, folder / "net.pt2", torch.zeros(2, 1, 8, 8))
    x = np.random.default_rng(0).normal(size=(90, 1, 8, 8)).astype(np.float32)
    np.savez(folder / "data.npz", x=x, y=net(torch.from_numpy(x)).argmax(1).numpy())
    with httpx.Client(base_url=url, timeout=90) as client:
        client.put("/v1/datasets/images", content=(folder / "data.npz").read_bytes(), headers=BYTES).raise_for_status()
        client.put("/v1/models/pictures", content=(folder / "net.pt2").read_bytes(), headers=BYTES).raise_for_status()
        while (model := client.get("/v1/models/pictures").json())["status"] == "inspecting":
            time.sleep(0.05)
    assert model["status"] == "ready", model
    return url


def sent(url: str, **changes: Any) -> str:
    """The id of a job that has ended."""
    methods = ["gradient", {"name": "gradient", "statistic": "mean_abs"}, "conductance"]
    request = {"model": "pictures", "layer": "1", "dataset": "images", "methods": methods, "clusters": {"by": "label"}, **changes}
    with httpx.Client(base_url=url, timeout=90) as client:
        id: str = client.post("/v1/jobs", json=request).raise_for_status().json()["id"]
        while client.get(f"/v1/jobs/{id}?wait=60").json()["finished_at"] is None:
            pass
    return id


def test_job_when_sent_from_the_form_then_is_seen_to_its_end_and_downloaded(browser: Any, furnished: str) -> None:
    with opened(browser, furnished) as listed, opened(browser, furnished) as page:
        listed.goto("/?model=pictures")
        listed.evaluate("window.loadedOnce = true")
        page.goto("/")
        page.get_by_role("link", name="New job").click()
        page.get_by_label("Model", exact=True).select_option("pictures")
        page.get_by_role("option", name="1 – ReLU, 4 × 6 × 6").first.wait_for(state="attached")
        page.get_by_label("Dataset").select_option("images")
        page.get_by_text("90 examples", exact=True).wait_for()
        passes = page.locator("#told dd").nth(1)
        before = passes.inner_text()
        page.get_by_label("Layer", exact=True).select_option("1")
        page.get_by_role("checkbox", name="Exact ablation, mean", exact=True).check()
        page.wait_for_function("before => document.querySelectorAll('#told dd')[1]?.innerText !== before", arg=before)
        assert passes.inner_text().endswith("examples through the model")
        page.get_by_role("button", name="Send the job").click()
        page.wait_for_url("**/jobs/*")
        page.evaluate("window.loadedOnce = true")
        page.locator("h1 .state.succeeded").wait_for()
        # What was seen came by itself, not with another load of the page.
        assert page.evaluate("window.loadedOnce") is True
        listed.locator("tbody .state.succeeded").first.wait_for()
        assert listed.evaluate("window.loadedOnce") is True

        for tab in TABS:
            page.get_by_role("navigation", name="Parts of the result").get_by_role("link", name=tab).click()
            page.get_by_role("heading", level=2, name=tab).wait_for(state="attached")
            for image in page.locator("figure img").all():
                image.scroll_into_view_if_needed()
                page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=image.element_handle())
        for kind in ("JSON", "CSV", "npz", "safetensors"):
            with page.expect_download() as download:
                page.get_by_role("link", name=kind).click()
            content = download.value.path().read_bytes()
            assert content
            assert kind != "JSON" or len(json.loads(content)["leaderboard"]) == 4


def test_sign_in_when_done_by_keyboard_then_opens_the_page_and_out_again(browser: Any, furnished: str, stack: Local) -> None:
    with connect(socket_url(stack.log.parent / "state")) as connection:
        keys = Keys(connection)
        key, secret = keys.create("Ada", ["read"])
        try:
            with opened(browser, furnished) as page:
                page.goto("/models")
                page.get_by_label("Key").wait_for()
                page.keyboard.type(secret)
                page.keyboard.press("Enter")
                page.get_by_role("heading", level=1, name="Models").wait_for()
                cookies = page.context.cookies()
                assert [(each["httpOnly"], each["sameSite"]) for each in cookies] == [(True, "Strict")]
                assert page.get_by_role("link", name="New job").count() == 0
                page.keyboard.press("Tab")
                page.keyboard.press("Enter")
                assert page.evaluate("document.activeElement.id") == "content"
                page.get_by_role("button", name="Sign out").press("Enter")
                page.get_by_role("heading", level=1, name="Sign in").wait_for()
                assert page.context.cookies() == []
        finally:
            keys.revoke(key.id)


@pytest.mark.parametrize("width", WIDTHS)
def test_pages_when_looked_at_then_fit_and_are_accessible(browser: Any, furnished: str, width: str) -> None:
    """In light and dark colours, which differ in nothing but contrast."""
    done, failed = sent(furnished), sent(furnished, timeout=0.001, seed=1)
    paths = ["/", "/models", "/models/pictures", "/datasets/images", "/new?model=pictures&dataset=images&layer=1"]
    paths += [f"/jobs/{failed}", *(f"/jobs/{done}?tab={tab.lower()}" for tab in TABS)]
    with opened(browser, furnished, width) as page:
        page.add_init_script(path=AXE)
        # What is in the pictures is not looked at here.
        page.route("**/plots/*", lambda route: route.fulfill(content_type="image/svg+xml", body=PICTURE))
        for path in paths:
            page.emulate_media(color_scheme="light")
            page.goto(path)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
            assert found(page, "axe.run()") == [], path
            page.emulate_media(color_scheme="dark")
            assert found(page, "axe.run({runOnly: ['color-contrast']})") == [], path


def found(page: Any, look: str) -> list[tuple[str, str]]:
    """What axe thinks grave: the rule and the first element."""
    violations = page.evaluate(look)["violations"]
    return [(each["id"], each["nodes"][0]["html"]) for each in violations if each["impact"] in ("serious", "critical")]
