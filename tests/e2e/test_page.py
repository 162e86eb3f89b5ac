"""The page in a browser, at both widths and in light and dark colours.

A job goes from the form to its downloads, with the mouse and with the keyboard.
"""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from torch import nn

from tests.e2e.conftest import ended, save
from tests.service.conftest import Served, job, put_dataset, ready_model, serving
from tests.support.browsing import AXE, WIDTHS, browser, check_page, opened
from unitrank.server.local import Local
from unitrank_store.access.api_keys import KeyStore
from unitrank_store.redis.connection import connect
from unitrank_store.redis.embedded import EmbeddedServer, socket_url
from unitrank_store.settings import Settings

pytestmark = pytest.mark.check

__all__ = ["browser"]

BYTES = {"Content-Type": "application/octet-stream"}
TABS = ["Verdict", "Curves", "Units", "Heatmaps", "Warnings", "Provenance", "Request", "Downloads"]
PICTURE = '<svg xmlns="http://www.w3.org/2000/svg" width="96" height="60"/>'


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small exported network and images for it."""
    folder = tmp_path_factory.mktemp("page")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    save(net, folder / "net.pt2", torch.zeros(2, 1, 8, 8))
    x = np.random.default_rng(0).normal(size=(90, 1, 8, 8)).astype(np.float32)
    np.savez(folder / "data.npz", x=x, y=net(torch.from_numpy(x)).argmax(1).numpy())
    return folder


@pytest.fixture(scope="module")
def url_with_contents(url: str, files: Path) -> str:
    """The URL of the service, which has the network and the images."""
    with httpx.Client(base_url=url, timeout=90) as client:
        client.put("/v1/datasets/images", content=(files / "data.npz").read_bytes(), headers=BYTES).raise_for_status()
        client.put("/v1/models/pictures", content=(files / "net.pt2").read_bytes(), headers=BYTES).raise_for_status()
        model = ended(client, "/v1/models/pictures")
    assert model["status"] == "ready", model
    return url


def run_job(url: str, **changes: Any) -> str:
    """Post a job and wait until it ends; returns its id."""
    methods = ["gradient", {"name": "gradient", "statistic": "mean_abs"}, "conductance"]
    request = {"model": "pictures", "layer": "1", "dataset": "images", "methods": methods, "clusters": {"by": "label"}, **changes}
    with httpx.Client(base_url=url, timeout=90) as client:
        id: str = client.post("/v1/jobs", json=request).raise_for_status().json()["id"]
        while client.get(f"/v1/jobs/{id}?wait=60").json()["finished_at"] is None:
            pass
    return id


def test_job_when_posted_from_the_form_then_its_end_is_displayed_and_its_files_are_downloaded(
    browser: Any, url_with_contents: str
) -> None:
    with opened(browser, url_with_contents) as listed, opened(browser, url_with_contents) as page:
        listed.goto("/?model=pictures")
        listed.evaluate("window.loadedOnce = true")
        page.goto("/")
        page.get_by_role("link", name="New job").click()
        page.get_by_label("Model", exact=True).select_option("pictures")
        page.get_by_role("option", name="1 – ReLU, 4 × 6 × 6").first.wait_for(state="attached")
        page.get_by_label("Dataset").select_option("images")
        page.get_by_text("90 examples", exact=True).wait_for()
        passes = page.locator("#estimate dd").nth(1)
        before = passes.inner_text()
        page.get_by_label("Layer", exact=True).select_option("1")
        page.get_by_role("checkbox", name="Exact ablation, mean", exact=True).check()
        page.wait_for_function("before => document.querySelectorAll('#estimate dd')[1]?.innerText !== before", arg=before)
        assert passes.inner_text().endswith("examples through the model")
        page.get_by_role("button", name="Send the job").click()
        page.wait_for_url("**/jobs/*")
        page.evaluate("window.loadedOnce = true")
        page.locator("h1 .state.succeeded").wait_for()
        # The page was updated without another load.
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


def test_sign_in_when_done_by_keyboard_then_opens_the_page_and_sign_out_closes_it(
    browser: Any, url_with_contents: str, stack: Local
) -> None:
    with connect(socket_url(stack.log.parent / "state")) as connection:
        keys = KeyStore(connection)
        key, secret = keys.create("Ada", ["read"])
        try:
            with opened(browser, url_with_contents) as page:
                page.add_init_script(path=AXE)
                check_page(page, "/models")
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


def test_upload_when_done_by_keyboard_then_both_are_ready_and_listed(browser: Any, url_with_contents: str, files: Path) -> None:
    with opened(browser, url_with_contents) as page:
        for path, file, name in (("/models", "net.pt2", "net"), ("/datasets", "data.npz", "data")):
            page.goto(path)
            page.evaluate("window.loadedOnce = true")
            page.get_by_label("File").set_input_files(files / file)
            assert page.get_by_label("Name", exact=True).input_value() == name
            page.get_by_label("File").focus()
            page.keyboard.press("Tab")
            page.keyboard.type("mine-")
            page.keyboard.press("Tab")
            page.keyboard.press("Enter")
            page.get_by_role("link", name=" is ready.").wait_for()
            uploaded = page.get_by_role("link", name=" is ready.").inner_text().removesuffix(" is ready.")
            page.get_by_role("row").filter(has=page.get_by_role("link", name=uploaded, exact=True)).locator(
                ".state.ready"
            ).wait_for()
            assert page.evaluate("window.loadedOnce") is True
            assert page.locator("#announcement").inner_text() == f"{uploaded} is ready."


def test_form_when_it_gets_a_file_of_scores_then_the_job_ranks_them(browser: Any, url_with_contents: str, tmp_path: Path) -> None:
    importance = np.random.default_rng(0).normal(size=(3, 144))
    np.savez(tmp_path / "my scores.npz", importance=importance, cluster=np.array(["0", "1", "2"]))
    (tmp_path / "broken.npz").write_bytes(b"nothing of the kind")
    with opened(browser, url_with_contents, excused="status of 422") as page:
        page.goto("/new?model=pictures&dataset=images&layer=1")
        page.get_by_text("Your own scores", exact=True).first.click()
        page.get_by_label("File with your own ranking").set_input_files(tmp_path / "broken.npz")
        page.get_by_text("The upload failed: ").first.wait_for()
        page.get_by_label("File with your own ranking").set_input_files(tmp_path / "my scores.npz")
        page.get_by_text("Uploaded as given-my-scores.").first.wait_for()
        assert page.get_by_label("Uploaded file").input_value() == "given-my-scores"
        page.get_by_label("The file was made from").select_option("none")
        page.locator("#as-json", has_text='"given-my-scores"').wait_for(state="attached")
        page.get_by_role("button", name="Send the job").click()
        page.wait_for_url("**/jobs/*")
        page.locator("h1 .state.succeeded").wait_for()
        id = page.url.rsplit("/", 1)[1]
        page.get_by_role("region", name="Leaderboard").get_by_role("rowheader", name="mine").wait_for()
    result = httpx.get(f"{url_with_contents}/v1/jobs/{id}/result", timeout=90).json()
    (mine,) = [ranking for ranking in result["rankings"] if ranking["id"] == "mine"]

    assert mine["clusters"]["1"]["top"][0]["unit"] == int(importance[1].argmax())
    assert "in_sample_unknown" not in {warning["code"] for warning in result["warnings"]}


def test_upload_when_the_file_has_another_format_then_displays_the_reason(
    browser: Any, url_with_contents: str, tmp_path: Path
) -> None:
    wrong = tmp_path / "no archive.v2.pt2"
    wrong.write_bytes(b"nothing of the kind")
    with opened(browser, url_with_contents, excused="status of 422") as page:
        for path, beginning in (("/models", "no-archive.v2 was rejected: "), ("/datasets", "The upload failed: ")):
            page.goto(path)
            page.get_by_label("File").set_input_files(wrong)
            page.get_by_role("button", name="Upload").click()
            page.locator("#put-outcome.wrong").wait_for()
            outcome = page.locator("#put-outcome").inner_text()
            assert outcome.startswith(beginning)
            assert len(outcome) > len(beginning) + 20
            assert page.get_by_role("button", name="Upload").is_enabled()
        page.goto("/models")
        page.get_by_role("row", name="no-archive.v2").locator(".state.rejected").wait_for()


@pytest.mark.parametrize("status", [401, 404, 429])
def test_upload_when_its_status_cannot_be_read_then_is_not_called_rejected(
    browser: Any, bare: Served, files: Path, status: int
) -> None:
    problem = {"title": "Gone", "status": status, "code": "gone", "detail": "the model is not available", "request_id": "r"}
    # There is no worker, so the inspection of the model never ends.
    with opened(browser, bare.url, excused=f"status of {status}") as page:
        routes: list[Any] = []
        page.route("**/v1/models/net@*", lambda route: routes.append(route))
        page.goto("/models")
        page.get_by_label("File").set_input_files(files / "net.pt2")
        with page.expect_request("**/v1/models/net@*"):
            page.get_by_role("button", name="Upload").click()
        page.get_by_label("Name", exact=True).fill("another")
        routes.pop().fulfill(status=status, json=problem)
        page.locator("#put-outcome.wrong").wait_for()

        assert page.locator("#put-outcome").inner_text() == "The status of net is unknown: the model is not available"


def test_upload_when_scripts_are_off_then_only_the_hint_is_visible(browser: Any, url_with_contents: str) -> None:
    context = browser.new_context(base_url=url_with_contents, java_script_enabled=False)
    page = context.new_page()
    page.goto("/models")

    assert not page.get_by_label("File").is_visible()
    assert page.get_by_label("How to upload a model with curl").is_visible()
    context.close()


def test_numbers_when_displayed_and_downloaded_then_equal_those_over_http(browser: Any, url_with_contents: str) -> None:
    """The form posts one job; a program posts an equal job, which is computed again."""
    with opened(browser, url_with_contents) as page:
        page.goto("/new?model=pictures&dataset=images&layer=1")
        page.get_by_role("button", name="Send the job").click()
        page.wait_for_url("**/jobs/*")
        page.locator("h1 .state.succeeded").wait_for()
        id = page.url.rsplit("/", 1)[1]
        page_cells, pair_cells = (cells_of(page, region) for region in ("Leaderboard", "Comparisons"))
        page.goto(f"/jobs/{id}?tab=curves")
        cluster_cells = cells_of(page, "Clusters")
    with httpx.Client(base_url=url_with_contents, timeout=90) as client:
        request = client.get(f"/v1/jobs/{id}").json()["request"]
        again = client.post("/v1/jobs", json=request, headers={"Cache-Control": "no-cache"}).raise_for_status().json()["id"]
        while client.get(f"/v1/jobs/{again}?wait=60").json()["finished_at"] is None:
            pass
        result = client.get(f"/v1/jobs/{again}/result").json()
        downloads = {kind: client.get(f"/jobs/{id}/download/{kind}").content for kind in ("json", "csv", "npz")}
        table = client.get(f"/v1/jobs/{again}/result", headers={"Accept": "text/csv"}).content
        packed = client.get(f"/v1/jobs/{again}/result", headers={"Accept": "application/x-npz"}).content

    assert again != id
    overall = {each["id"]: each["overall"]["p_family"] for each in result["rankings"]}
    assert page_cells == [
        [
            line["ranking"],
            line["verdict"].replace("_", " "),
            {True: "robust", False: "fragile" if line["verdict"] == "better_than_random" else "–"}[line["robust"]],
            f"{overall[line['ranking']]:.4g}",
            f"{line['better_than_random']} of {line['of']}",
            f"{line['area']:.4g}",
            ", ".join(line["ties_with"]) or "–",
            f"{line['mae']:.4g}",
        ]
        for line in result["leaderboard"]
    ]
    assert pair_cells == [
        [
            pair["a"],
            pair["b"],
            *(
                f"{pair[prefix + 'difference']:.4g} [{pair[prefix + 'low']:.4g}, {pair[prefix + 'high']:.4g}]"
                for prefix in ("", "keep_")
            ),
            {"a": pair["a"], "b": pair["b"], None: "neither"}[pair["ahead"]],
        ]
        for pair in result["comparisons"]
    ]
    first = next(each for each in result["rankings"] if each["id"] == result["leaderboard"][0]["ranking"])
    for cells, cluster in zip(cluster_cells, result["clusters"], strict=True):
        test = first["clusters"][cluster["name"]]["ablation"]
        values = [test["p_value"], test["p_family"], test["most"]["area"], test["random"]["area_to_beat"], test["activity_area"]]
        values += [test["keep_area"], (first["specificity"] or {"selectivity": {}})["selectivity"].get(cluster["name"])]
        assert cells[0] == cluster["name"]
        assert cells[4:] == ["–" if value is None else f"{value:.4g}" for value in values]
    assert numbers(json.loads(downloads["json"])) == numbers(result)
    assert downloads["csv"] == table
    page_arrays, http_arrays = (np.load(io.BytesIO(content)) for content in (downloads["npz"], packed))
    assert sorted(page_arrays.files) == sorted(http_arrays.files)
    for name in page_arrays.files:
        np.testing.assert_array_equal(page_arrays[name], http_arrays[name])


def cells_of(page: Any, region: str) -> list[list[str]]:
    """The texts of a table's rows."""
    rows = page.get_by_role("region", name=region).locator("tbody tr").all()
    return [[cell.inner_text() for cell in row.locator("th, td").all()] for row in rows]


def numbers(result: dict[str, Any]) -> dict[str, Any]:
    """The summary without the job's id, its cost and the seconds of the rankings."""
    rankings = [each | {"seconds": 0} for each in result["rankings"]]
    return {name: value for name, value in result.items() if name not in ("job", "cost")} | {"rankings": rankings}


@pytest.mark.parametrize("width", WIDTHS)
def test_pages_when_opened_then_fit_and_are_accessible(browser: Any, url_with_contents: str, width: str) -> None:
    done, failed = run_job(url_with_contents), run_job(url_with_contents, timeout=0.001, seed=1)
    paths = ["/", "/models", "/models/pictures", "/datasets/images", "/new?model=pictures&dataset=images&layer=1"]
    paths += [f"/jobs/{failed}", "/jobs/none", f"/v1/jobs/{done}/report", *(f"/jobs/{done}?tab={tab.lower()}" for tab in TABS)]
    with opened(browser, url_with_contents, width, excused="status of 404") as page:
        page.add_init_script(path=AXE)
        # The contents of the plots are not checked here.
        page.route("**/plots/*", lambda route: route.fulfill(content_type="image/svg+xml", body=PICTURE))
        for path in paths:
            check_page(page, path)


@pytest.fixture
def bare(server: EmbeddedServer, tmp_path: Path) -> Iterator[Served]:
    """A service with an empty store and no worker: the test itself changes the state of jobs."""
    with EmbeddedServer(tmp_path / "store") as store, serving(Settings(redis_url=store.url, state=tmp_path / "state")) as served:
        yield served


def running(served: Served) -> str:
    """Post a job and start it; returns its id."""
    with httpx.Client(base_url=served.url) as client:
        ready_model(client, served)
        put_dataset(client)
        id: str = client.post("/v1/jobs", json=job()).raise_for_status().json()["id"]
    attempt = served.backend.jobs.start(id, "cpu-0")
    served.backend.jobs.progress(id, attempt or 0, {"done": 5, "total": 10, "unit": "rows", "stage": "ablation", "eta": 3.0})
    return id


@pytest.mark.parametrize("width", WIDTHS)
def test_pages_when_empty_or_of_a_running_job_then_fit_and_are_accessible(browser: Any, bare: Served, width: str) -> None:
    with opened(browser, bare.url, width, excused="status of 422") as page:
        page.add_init_script(path=AXE)
        for path in ("/", "/models", "/datasets", "/new"):
            check_page(page, path)
        check_page(page, f"/jobs/{running(bare)}")
        page.get_by_text("Ablation: 5 of 10 rows").wait_for()
        check_page(page, "/")
        page.goto("/new")
        page.get_by_label("Steps of a path").fill("none")
        page.get_by_role("button", name="Send the job").click()
        page.get_by_role("alert").wait_for()
        assert page.title().startswith("Error: ")
        assert page.evaluate("document.activeElement.role") == "alert"
        assert page.evaluate("axe.run().then(results => results.violations.length)") == 0
        page.get_by_label("Steps of a path").fill("30")
        page.get_by_role("alert").wait_for(state="detached")
        assert page.get_by_label("Steps of a path").get_attribute("aria-invalid") is None


def test_form_when_the_answer_to_an_earlier_input_arrives_late_then_the_later_input_stays(browser: Any, bare: Served) -> None:
    with httpx.Client(base_url=bare.url) as client:
        ready_model(client, bare)
        put_dataset(client)
    with opened(browser, bare.url) as page:
        held: list[Any] = []
        page.goto("/new?model=net&dataset=data&layer=conv1")
        page.route("**/new", lambda route: route.continue_() if held else held.append(route))
        with page.expect_request("**/new"):
            page.get_by_label("Layer", exact=True).select_option("fc")
        box = page.locator("input[name=method]:not(:checked)").first
        id = box.get_attribute("id")
        box.check()
        held[0].continue_()
        page.locator("#as-json", has_text='"fc"').wait_for(state="attached")

        assert page.locator(f"#{id}").is_checked()


@pytest.mark.parametrize("failing", ["**/events", "**/jobs/*"])
def test_job_when_its_events_or_its_page_fail_once_then_its_end_is_still_displayed(
    browser: Any, bare: Served, failing: str
) -> None:
    id = running(bare)
    with opened(browser, bare.url, excused="Failed to load resource") as page:
        if failing == "**/events":
            page.route(failing, lambda route: route.fulfill(status=502))
        page.goto(f"/jobs/{id}")
        page.locator("h1 .state.running").wait_for()
        if failing == "**/jobs/*":
            page.route(failing, lambda route: route.abort(), times=1)
        served = bare.backend.jobs
        problem = {"code": "non_finite", "title": "Not finite", "detail": "NaN", "status": 422, "retryable": False}
        served.finish(id, served.get(id).attempt, "failed", problem=problem)

        page.locator("h1 .state.failed").wait_for(timeout=15_000)
