"""One unit of a result over HTTP. The test writes the result instead of a worker."""

from typing import Any

import httpx
import numpy as np
import pytest

from tests.service.conftest import Served, assert_problem, job, put_dataset, ready_model
from tests.service.results.conftest import IMPORTANCE, SPREAD, summary
from unitrank_schemas.results import UnitResult

UNITS = np.array([[3, 0], [5, 3]])
ROWS = np.arange(2 * 2 * 4 * 3).reshape(2, 2, 4, 3)
VALUES = np.linspace(-1, 1, ROWS.size, dtype=np.float32).reshape(ROWS.shape)
EXAMPLES = {"unit_examples/gradient/units": UNITS, "unit_examples/gradient/rows": ROWS, "unit_examples/gradient/values": VALUES}


def succeeded(client: httpx.Client, served: Served, arrays: dict[str, Any], **changes: Any) -> str:
    """The id of a job with this result. `arrays`: beside importance, spread and rows."""
    ready_model(client, served)
    put_dataset(client)
    id: str = client.post("/v1/jobs", json=job()).json()["id"]
    attempt = served.backend.jobs.start(id, "cpu-0")
    arrays = {"importance/gradient": IMPORTANCE, "spread/gradient": SPREAD} | arrays
    arrays |= {"rows/a": np.array([10, 11]), "rows/=b": np.array([12])}
    manifest = served.backend.results.put(summary(id) | changes, arrays)
    assert served.backend.jobs.finish(id, attempt or 0, "succeeded", result=dict(manifest))
    return id


def unit(client: httpx.Client, id: str, number: int, **query: str) -> UnitResult:
    return UnitResult.model_validate_json(client.get(f"/v1/jobs/{id}/units/{number}", params=query).content)


def test_unit_when_read_then_has_the_importance_and_rank_of_every_cluster(client: httpx.Client, served: Served) -> None:
    id = succeeded(client, served, EXAMPLES)

    answer = unit(client, id, 3)

    assert (answer.job, answer.unit, answer.index) == (id, 3, [0, 1, 1])
    clusters = answer.rankings[0].clusters
    for row, name in enumerate(("a", "=b")):
        assert clusters[name].importance == float(IMPORTANCE[row, 3])
        assert clusters[name].rank == 1 + int((IMPORTANCE[row] > IMPORTANCE[row, 3]).sum())
    assert clusters["a"].spread is None
    assert clusters["=b"].spread == float(SPREAD[1, 3])
    assert set(answer.missing) == {"effect"}
    assert "ablation.verify" in answer.missing["effect"]


def test_unit_when_its_examples_are_kept_then_has_their_rows_and_values(client: httpx.Client, served: Served) -> None:
    id = succeeded(client, served, EXAMPLES)

    entry = unit(client, id, 3, cluster="=b", ranking="gradient").rankings[0].clusters["=b"]

    lists = [entry.score and entry.score.largest, entry.score and entry.score.smallest]
    lists += [entry.activation and entry.activation.largest, entry.activation and entry.activation.smallest]
    for number, examples in enumerate(lists):
        assert examples is not None
        assert [each.row for each in examples] == ROWS[1, 1, number].tolist()
        assert [each.value for each in examples] == VALUES[1, 1, number].tolist()


def test_unit_when_its_examples_are_not_kept_then_says_why_and_what_to_request(client: httpx.Client, served: Served) -> None:
    id = succeeded(client, served, EXAMPLES)

    answer = unit(client, id, 5)

    assert answer.rankings[0].clusters["a"].score is None
    assert answer.rankings[0].clusters["=b"].score is not None
    assert "keep_examples" in answer.missing["score"]
    assert "units: channel" in answer.missing["activation"]


def test_unit_when_the_scores_of_all_examples_are_kept_then_sorts_them(client: httpx.Client, served: Served) -> None:
    kept = {"a": np.random.default_rng(0).normal(size=(2, 4, 2, 2)).astype(np.float32), "=b": np.zeros((1, 4, 2, 2), np.float32)}
    id = succeeded(client, served, {f"examples/gradient/{name}": rows for name, rows in kept.items()})

    clusters = unit(client, id, 6).rankings[0].clusters

    column = kept["a"].reshape(2, -1)[:, 6]
    order = np.argsort(-column)
    assert clusters["a"].score
    assert [each.row for each in clusters["a"].score.largest] == (10 + order).tolist()
    assert [each.value for each in clusters["a"].score.smallest] == column[order[::-1]].tolist()
    assert clusters["=b"].score is None


def test_unit_when_given_scores_have_no_examples_then_only_its_activation_has(client: httpx.Client, served: Served) -> None:
    rows, values = ROWS.copy(), VALUES.copy()
    rows[:, :, :2], values[:, :, :2] = -1, np.nan
    id = succeeded(client, served, EXAMPLES | {"unit_examples/gradient/rows": rows, "unit_examples/gradient/values": values})

    entry = unit(client, id, 3).rankings[0].clusters["a"]

    assert entry.score is None
    assert entry.activation
    assert [each.row for each in entry.activation.largest] == ROWS[0, 0, 2].tolist()


@pytest.mark.parametrize("source", ["verify", "exact_ablation"])
def test_unit_when_its_effect_was_measured_then_has_it_for_every_ranking_of_the_class(
    source: str, client: httpx.Client, served: Served
) -> None:
    arrays = {"importance/other": 2 * IMPORTANCE, "spread/other": SPREAD}
    method: dict[str, Any] = {"name": "gradient"}
    if source == "verify":
        arrays |= {
            "verify/other/units": np.array([[3, 4], [4, 5]]),
            "verify/other/effects": np.array([[1.5, 2], [np.nan, np.nan]], "f4"),
        }
    else:
        method = {"name": "exact_ablation", "statistic": "mean"}
    of_clusters = {name: {"top": []} for name in ("a", "=b")}
    rankings = [
        {"id": id, "method": kind, "clusters": of_clusters, "seconds": 0.1}
        for id, kind in (("gradient", {"name": "gradient"}), ("other", method))
    ]
    rankings.append({"id": "last", "target_class": 1, "method": {"name": "gradient"}, "clusters": of_clusters, "seconds": 0.1})
    arrays |= {"importance/last": IMPORTANCE}
    id = succeeded(client, served, arrays, rankings=rankings)

    first, other, last = unit(client, id, 3).rankings

    for ranking in (first, other):
        effect = ranking.clusters["a"].effect
        assert effect
        assert (effect.source, effect.ranking) == (source, "other")
        assert effect.value == pytest.approx(1.5 if source == "verify" else 2 * float(IMPORTANCE[0, 3]))
    assert last.clusters["a"].effect is None
    assert (first.clusters["=b"].effect is None) == (source == "verify")


def test_unit_when_unknown_then_is_404_with_what_exists(client: httpx.Client, served: Served) -> None:
    id = succeeded(client, served, {})

    assert "0 to 15" in assert_problem(client.get(f"/v1/jobs/{id}/units/16"), 404, "unit_not_found")["detail"]
    assert_problem(client.get(f"/v1/jobs/{id}/units/0?cluster=none"), 404, "cluster_not_found")
    assert_problem(client.get(f"/v1/jobs/{id}/units/0?ranking=none"), 404, "ranking_not_found")
    assert_problem(client.get(f"/v1/jobs/{'0' * 26}/units/0"), 404, "job_not_found")
    assert client.get(f"/v1/jobs/{id}/units/-1").status_code == 422
    running = client.post("/v1/jobs", json=job(seed=1)).json()["id"]
    assert_problem(client.get(f"/v1/jobs/{running}/units/0"), 409, "not_finished")


def test_unit_when_importance_is_equal_or_not_a_number_then_ranks_as_the_result(client: httpx.Client, served: Served) -> None:
    importance = np.array([[1.0, np.nan, 2.0, 1.0, np.nan, *np.zeros(11)]] * 2, np.float32)
    id = succeeded(client, served, {"importance/gradient": importance})

    ranks = [unit(client, id, number).rankings[0].clusters["a"].rank for number in range(6)]

    assert ranks == [2, 15, 1, 3, 16, 4]
    assert unit(client, id, 1).rankings[0].clusters["a"].importance is None


HEADS = {
    "name": "mix",
    "at": "input",
    "cut": False,
    "units": {"axis": -1, "groups": 16},
    "shape": [16],
    "count": 16,
    "unit_word": "head",
}
PIXELS = {"name": "conv1", "at": "output", "cut": True, "units": "position", "shape": [4, 4], "count": 16, "unit_word": "position"}


@pytest.mark.parametrize(
    ("layer", "name", "column", "noun"),
    [(HEADS, "head 7", "head 7", "heads"), (PIXELS, "position 1,3", "position 1:3", "positions")],
)
def test_unit_when_units_have_names_then_api_page_table_and_csv_use_them(
    client: httpx.Client, browser: httpx.Client, served: Served, layer: dict[str, Any], name: str, column: str, noun: str
) -> None:
    rankings = summary("")["rankings"]
    index = [int(place) for place in np.unravel_index(7, layer["shape"])]
    for cluster in rankings[0]["clusters"].values():
        cluster["top"] = [{"unit": 7, "index": index, "importance": 1.0, "spread": None}]
    id = succeeded(client, served, EXAMPLES, layer=layer, rankings=rankings)

    lines = client.get(f"/v1/jobs/{id}/result", headers={"Accept": "text/csv"}).text.splitlines()

    assert unit(client, id, 7).name == name
    assert lines[0].endswith(",spread,name")
    assert [line.rsplit(",", 1)[1] for line in lines if line.split(",")[3] == "7"] == [column] * 2
    assert f"<h1>{name.capitalize()} of layer" in browser.get(f"/jobs/{id}/units/7").text
    assert f">{name}</a>" in browser.get(f"/jobs/{id}?tab=units").text
    report = client.get(f"/v1/jobs/{id}/report").text
    assert f"16 {noun} of layer" in report
    assert name in report
    assert (client.get(f"/v1/jobs/{id}/plots/heatmap.svg").status_code, '<div class="maps">' in report) == (
        200,
        noun == "positions",
    )
