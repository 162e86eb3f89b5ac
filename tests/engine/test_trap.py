"""The trap of docs/the-trap.md: averaged slopes cancel, which the verdict shows."""

from pathlib import Path
from typing import Any

import pytest
from examples import trap

pytestmark = pytest.mark.check


@pytest.fixture(scope="module")
def mixed() -> dict[str, Any]:
    return trap.rank(by="all")


def cluster_entry(summary: dict[str, Any], ranking: str, cluster: str = "all") -> dict[str, Any]:
    (chosen,) = [each for each in summary["rankings"] if each["id"] == ranking]
    return chosen["clusters"][cluster]


def warned(summary: dict[str, Any]) -> set[str]:
    return {warning["ranking"] for warning in summary["warnings"] if warning["code"] == "signed_cancellation"}


def test_signed_mean_of_the_gradient_is_called_no_better_than_random_and_warned_of(mixed: dict[str, Any]) -> None:
    assert mixed["clusters"][0]["accuracy"] > 0.95
    assert cluster_entry(mixed, "gradient")["cancellation"] > 0.6
    assert cluster_entry(mixed, "gradient")["ablation"]["verdict"] == "no_better_than_random"
    assert "gradient" in warned(mixed)


@pytest.mark.parametrize("ranking", ["gradient.mean_abs", "gradient.rms", "gradient_x_delta", "conductance"])
def test_other_reductions_of_the_same_job_are_called_better(ranking: str, mixed: dict[str, Any]) -> None:
    assert cluster_entry(mixed, ranking)["ablation"]["verdict"] == "better_than_random"
    assert ranking not in warned(mixed)


def test_the_leaderboard_puts_the_cancelled_ranking_after_better_rankings(mixed: dict[str, Any]) -> None:
    order = [leader["ranking"] for leader in mixed["leaderboard"]]

    assert set(order[-2:]) == {"gradient", "random"}


def test_unmixed_clusters_do_not_cancel() -> None:
    labels = trap.rank(by="label")

    for cluster in ("0", "1"):
        assert cluster_entry(labels, "gradient", cluster)["cancellation"] < 0.05
        assert cluster_entry(labels, "gradient", cluster)["ablation"]["verdict"] == "better_than_random"
    assert "gradient" not in warned(labels)


def test_the_page_prints_what_the_command_does(mixed: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Areas may differ in their last digit between machines.

    Names, verdicts and warnings may not.
    """
    page = (Path(__file__).parents[2] / "docs" / "the-trap.md").read_text()

    trap.show(mixed)

    printed = [(line.split()[0], line.split()[6:]) for line in capsys.readouterr().out.splitlines()[1:]]
    table = page.split("```")[1].strip().splitlines()[1:]
    assert [(line.split()[0], line.split()[6:]) for line in table] == printed
