"""The list of jobs and the comparison in a browser, with jobs that a real worker has run."""

from typing import Any

import httpx
import pytest

from tests.e2e.test_page import cells_of, files, run_job, url_with_contents
from tests.support.browsing import AXE, TOUCH, browser, check_page, opened

pytestmark = pytest.mark.check

__all__ = ["browser", "files", "url_with_contents"]

LABELS = {
    "better_than_random": "better than random",
    "no_better_than_random": "no better than random",
    "worse_than_random": "worse than random",
    "undecided": "undecided",
}


@pytest.fixture(scope="module")
def jobs(url_with_contents: str) -> list[str]:
    """Two jobs on the same tests with different methods, and one with other examples."""
    methods = (["gradient"], ["conductance", {"name": "gradient", "statistic": "mean_abs"}])
    named = [
        run_job(url_with_contents, methods=each, metadata={"name": f"Side {number}", "tags": ["sides"]})
        for number, each in enumerate(methods)
    ]
    return [*named, run_job(url_with_contents, seed=5, methods=["gradient"], metadata={"tags": ["sides"]})]


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def test_list_when_filtered_then_shows_the_numbers_of_the_api_and_of_the_results(
    browser: Any, url_with_contents: str, jobs: list[str]
) -> None:
    with httpx.Client(base_url=url_with_contents, timeout=90) as client:
        items = client.get("/v1/jobs?metadata.tags=sides&sort=area").json()["items"]
        leaders = {id: client.get(f"/v1/jobs/{id}/result").json()["leaderboard"][0] for id in jobs}
    with opened(browser, url_with_contents) as page:
        page.goto("/")
        page.get_by_label("Tag").fill("sides")
        page.get_by_label("Order").select_option("area")
        page.get_by_role("button", name="Show").click()
        page.wait_for_url("**metadata.tags=sides*")
        rows = cells_of(page, "Jobs")

    assert {each["id"] for each in items} == set(jobs)
    for cells, item in zip(rows, items, strict=True):
        summary, leader = item["summary"], leaders[item["id"]]
        assert {name: summary[name] for name in ("verdict", "robust", "area")} == {
            name: leader[name] for name in ("verdict", "robust", "area")
        }
        better = summary["verdict"] == "better_than_random"
        verdict = ("✓ robust" if summary["robust"] else "~ fragile") if better else LABELS[summary["verdict"]]
        assert (cells[6], cells[7].removeprefix("✓ ").removeprefix("~ ")) == (
            summary["best"],
            verdict.removeprefix("✓ ").removeprefix("~ "),
        )
        assert cells[8] == number(summary["area"])


def test_comparison_when_two_jobs_are_ticked_then_shows_the_numbers_of_the_api(
    browser: Any, url_with_contents: str, jobs: list[str]
) -> None:
    with opened(browser, url_with_contents) as page:
        page.goto("/?metadata.tags=sides&sort=created_at,asc")
        for name in ("Side 0", "Side 1"):
            page.get_by_role("checkbox", name=f"Select {name}").check()
        with httpx.Client(base_url=url_with_contents, timeout=90) as client:
            client.patch(f"/v1/jobs/{jobs[2]}", json={"metadata": {"notes": "changed"}}).raise_for_status()
        # The page updates this part while jobs run: the ticks stay.
        page.evaluate("fetchPage(location.href).then((fetched) => replace('jobs', fetched))")
        page.get_by_text("changed").wait_for()
        page.get_by_role("button", name="Compare the selected").click()
        page.get_by_role("heading", level=1, name="Compare 2 jobs").wait_for()
        rows = {name: cells_of(page, name) for name in ("Comparisons", "Agreement", "Differences of the requests")}
        page.get_by_text("The values of the curves").click()
        curves = [cells_of(page, f"Values of job {letter}") for letter in "AB"]
    comparison = httpx.get(f"{url_with_contents}/v1/compare", params={"job": jobs[:2]}, timeout=90).json()

    assert len(comparison["comparisons"]) == 2
    for cells, pair in zip(rows["Comparisons"], comparison["comparisons"], strict=True):
        intervals = [
            f"{number(pair[f'{prefix}difference'])} [{number(pair[f'{prefix}low'])}, {number(pair[f'{prefix}high'])}]"
            for prefix in ("", "keep_")
        ]
        assert cells[:4] == [f"A: {pair['a']}", f"B: {pair['b']}", *intervals]
    for cells, pair in zip(rows["Agreement"], comparison["agreement"], strict=True):
        names = ("spearman", "pearson", "cosine", "relative_difference", "top_overlap")
        assert cells[2:] == [number(pair[name]) for name in names]
    assert [cells[0] for cells in rows["Differences of the requests"]] == [each["field"] for each in comparison["differences"]]
    assert [[left for _, left in curve] for curve in curves] == [
        [number(left) for left in job["curve"]["left"]] for job in comparison["jobs"]
    ]


def test_comparison_when_opened_on_a_phone_then_its_curves_are_high_and_no_label_is_cut(
    browser: Any, url_with_contents: str, jobs: list[str]
) -> None:
    with opened(browser, url_with_contents, TOUCH) as page:
        page.goto(f"/compare?{'&'.join(f'job={id}' for id in jobs)}")
        plot = page.locator(".curves svg")
        frame, labels = plot.bounding_box(), [label.bounding_box() for label in plot.locator("text").all()]

    assert frame["height"] >= 220
    # Some of these curves fall below 0.
    assert len(labels) > 9
    for label in labels:
        assert frame["x"] <= label["x"]
        assert label["x"] + label["width"] <= frame["x"] + frame["width"]
        assert label["height"] >= 11


@pytest.mark.slow
def test_list_when_scripts_are_off_then_jobs_are_compared_and_titles_are_edited(
    browser: Any, url_with_contents: str, jobs: list[str]
) -> None:
    context = browser.new_context(base_url=url_with_contents, java_script_enabled=False)
    page = context.new_page()
    page.goto("/?metadata.tags=sides")
    for box in page.get_by_role("checkbox").all():
        box.check()
    page.get_by_role("button", name="Compare the selected").click()

    assert page.get_by_role("heading", level=1).inner_text() == "Compare 3 jobs"
    page.goto(f"/jobs/{jobs[2]}")
    page.get_by_text("Edit title, tags and notes").click()
    page.get_by_label("Title").fill("Edited")
    page.get_by_role("button", name="Save").click()
    assert page.get_by_role("heading", level=1).inner_text().endswith("Edited")
    context.close()


@pytest.mark.parametrize("width", [pytest.param("desktop", marks=pytest.mark.slow), "phone"])
def test_pages_when_opened_then_fit_and_are_accessible(browser: Any, url_with_contents: str, jobs: list[str], width: str) -> None:
    with opened(browser, url_with_contents, width) as page:
        page.add_init_script(path=AXE)
        query = "&".join(f"job={id}" for id in jobs)
        for path in ("/?metadata.tags=sides", "/?text=nothing", f"/compare?{query}"):
            check_page(page, path)
