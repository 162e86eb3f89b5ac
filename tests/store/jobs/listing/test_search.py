"""The search in the list of jobs: filters, orders, pages, and records of older versions."""

from collections.abc import Sequence
from typing import Any

import pytest
import redis

from unitrank_schemas.checks.layers import is_like
from unitrank_store.errors import RecordNotFound
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.listing.job_filter import JobFilter
from unitrank_store.jobs.listing.listing import listing_of
from unitrank_store.redis import keyspace

REQUEST = {"model": "net", "layer": "conv1", "dataset": "digits", "methods": [{"name": "gradient", "statistic": "mean_abs"}]}


def ended(jobs: JobStore, id: str, area: float | None = None, verdict: str = "better_than_random", **changes: Any) -> str:
    """Create a job and end it with a summary."""
    jobs.create(REQUEST | changes, id=id)
    summary = {"best": "gradient", "verdict": verdict, "robust": area is not None and area > 0.5, "area": area, "clusters": 2}
    jobs.finish(id, jobs.start(id, "w") or 0, "succeeded", summary=summary)
    return id


def ids(jobs: JobStore, limit: int = 50, **conditions: Any) -> Sequence[str]:
    """The ids that a filter selects, over all pages."""
    selected: list[str] = []
    after = None
    while True:
        records, after = jobs.list(limit, after, filter=JobFilter(**conditions))
        assert len(records) <= limit
        selected += [record.id for record in records]
        if after is None:
            return selected


def test_listing_when_a_class_has_a_long_name_then_the_other_names_keep_their_numbers() -> None:
    metadata = {"classes": ["cat", "d" * 1001, {"en": "fish"}, "bird"], "team": ["a", "b" * 1001, "c"]}
    listing = listing_of(REQUEST | {"metadata": metadata})

    assert listing["metadata"] == {"classes": ["cat", "", "", "bird"], "team": ["a", "c"]}


@pytest.mark.parametrize(
    ("conditions", "selected"),
    [
        ({}, "dcba"),
        ({"status": "queued"}, "d"),
        ({"model": "net"}, "dba"),
        ({"model": "other"}, "c"),
        ({"model": "net@sha256:11"}, "b"),
        ({"layer": "fc"}, "b"),
        ({"dataset": "letters"}, "c"),
        ({"dataset": "letters@sha256:22"}, "c"),
        ({"verdict": "better_than_random"}, "ca"),
        ({"verdict": "worse_than_random"}, "b"),
        ({"verdict": "robust"}, "a"),
        ({"verdict": "fragile"}, "c"),
        ({"metadata": {"team": "vision"}}, "a"),
        ({"metadata": {"run": "3", "flag": "true"}}, "b"),
        ({"metadata": {"tags": "paper"}}, "ba"),
        ({"metadata": {"team": "vis"}}, ""),
        ({"text": "ÜBUNG eins"}, "a"),
        ({"text": "mean_abs paper"}, "ba"),
        ({"text": "per%s.*"}, ""),
        ({"text": "vision", "status": "succeeded", "model": "net"}, "a"),
        ({"sort": "area"}, "abcd"),
        ({"sort": "area", "ascending": True}, "cbad"),
        ({"sort": "area", "model": "net"}, "abd"),
        ({"ascending": True}, "abcd"),
        ({"ascending": True, "status": "succeeded"}, "abc"),
    ],
)
@pytest.mark.parametrize("limit", [1, 50])
def test_list_when_filtered_then_gives_the_jobs_that_meet_all_conditions(
    jobs: JobStore, conditions: dict[str, Any], selected: str, limit: int
) -> None:
    ended(jobs, "a", 0.75, metadata={"name": "Übung eins", "team": "vision", "tags": ["paper", "x"]})
    ended(
        jobs,
        "b",
        0.5,
        "worse_than_random",
        model="net@sha256:11",
        layer="fc",
        metadata={"run": 3, "flag": True, "tags": "a, paper"},
    )
    ended(jobs, "c", 0.25, model="other", dataset="letters@sha256:22", methods=["activation"], metadata={"run": None})
    jobs.create(REQUEST | {"dataset": {"fields": {}}, "methods": []}, id="d")
    if conditions.get("metadata") == {"tags": "paper"}:
        # A text is one value for a filter, and a list of tags for the page.
        selected = "a"

    assert "".join(ids(jobs, limit, **conditions)) == selected


LAYERS = ["conv1", "a" * 500, "encoder.0.mlp", "aba", "b"]
PATTERNS = [
    "conv*",
    "*1",
    "c*1",
    "*",
    "**",
    "a*a",
    "*b*",
    "conv1",
    "*.0.*",
    "encoder.*.mlp",
    "e*.mlp",
    "ab*ba",
    "*aa*",
    "*a" * 200 + "*b",
]


def test_list_when_a_job_waits_with_a_pattern_then_a_layer_that_it_matches_finds_it(jobs: JobStore) -> None:
    named = {f"{number:02}": pattern for number, pattern in enumerate(PATTERNS)}
    for id, pattern in named.items():
        jobs.create(REQUEST | {"layer": pattern}, id=id)

    for layer in LAYERS:
        assert sorted(ids(jobs, layer=layer)) == [id for id, pattern in named.items() if is_like(layer, pattern)], layer


def test_list_when_areas_are_equal_then_each_job_is_on_one_page(jobs: JobStore) -> None:
    for number in range(7):
        ended(jobs, f"{number}", 0.5 if number else None)

    assert "".join(ids(jobs, 2, sort="area")) == "6543210"
    assert "".join(ids(jobs, 2, sort="area", ascending=True)) == "1234560"


def test_list_when_jobs_are_deleted_or_have_expired_then_the_order_of_areas_forgets_them(
    jobs: JobStore, connection: redis.Redis
) -> None:
    for id in "abc":
        ended(jobs, id, 0.5)
    jobs.delete("a")
    connection.delete(keyspace.record("job", "b"))

    assert ids(jobs, sort="area") == ["c"]
    assert connection.zrange(keyspace.areas("job", "default"), 0, -1) == [b"c"]
    connection.delete(keyspace.record("job", "c"))
    jobs.forget_expired()
    assert not connection.exists(keyspace.areas("job", "default"))


def test_list_when_few_jobs_match_then_one_call_reads_a_limited_number_of_jobs(
    jobs: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unitrank_store.jobs.listing.search.CHUNK", 2)
    monkeypatch.setattr("unitrank_store.jobs.listing.search.MOST_READ", 4)
    for number in range(9):
        jobs.create(REQUEST | {"layer": "rare" if number == 1 else "conv1"}, id=f"{number}")
    records, after = jobs.list(filter=JobFilter(layer="rare"))

    assert (records, after) == ([], "5")
    assert ids(jobs, layer="rare") == ["1"]


def test_list_when_an_older_version_wrote_the_records_then_finds_them(jobs: JobStore, connection: redis.Redis) -> None:
    jobs.create(REQUEST | {"metadata": {"name": "first"}}, id="a")
    jobs.create(REQUEST, id="b")
    for id in "ab":
        connection.hdel(keyspace.record("job", id), "listing", "words", "summary")
    connection.hset(keyspace.record("job", "b"), mapping={"request": "no JSON"})

    assert ids(jobs, text="first gradient") == ["a"]
    assert [line.listing["name"] for line in jobs.lines(9, None, JobFilter(model="net"))[0]] == ["first"]


def test_lines_when_a_record_is_malformed_then_the_other_lines_are_read(jobs: JobStore, connection: redis.Redis) -> None:
    for id in "abcde":
        jobs.create(REQUEST, id=id)
    for id, fields in {
        "a": {"listing": "[1]"},
        "b": {"summary": "[1]"},
        "c": {"created_at": "{"},
        "d": {"listing": '{"layer": "x"}'},
    }.items():
        connection.hset(keyspace.record("job", id), mapping=fields)
    lines, _ = jobs.lines(9, None, JobFilter())

    assert [(line.id, line.listing["model"]) for line in lines] == [("e", "net"), ("d", "")]


@pytest.mark.parametrize("after", ["none:1", "nan:a", "1e5:", ":", "\x00", "(", "0.5:é"])
def test_list_when_the_cursor_is_no_cursor_then_gives_some_page(jobs: JobStore, after: str) -> None:
    ended(jobs, "a", 0.5)

    for sort in ("created_at", "area"):
        assert len(jobs.list(5, after, filter=JobFilter(sort=sort))[0]) <= 1  # type: ignore[arg-type]


def test_metadata_when_edited_then_the_list_shows_and_finds_them(jobs: JobStore, connection: redis.Redis) -> None:
    ended(jobs, "a", 0.5, metadata={"name": "old", "keep": 1e-7})
    ttl = connection.ttl(keyspace.record("job", "a"))
    record = jobs.edit_metadata("a", lambda metadata: metadata | {"name": "new", "tags": ["x"]})

    assert record.request == REQUEST | {"metadata": {"name": "new", "keep": 1e-7, "tags": ["x"]}}
    assert (ids(jobs, text="new"), ids(jobs, text="old"), ids(jobs, metadata={"tags": "x"})) == (["a"], [], ["a"])
    assert 0 < connection.ttl(keyspace.record("job", "a")) <= ttl
    assert (record.status, record.summary, record.version) == ("succeeded", jobs.get("a").summary, jobs.get("a").version)


def test_metadata_when_two_clients_edit_at_once_then_no_change_is_lost(jobs: JobStore) -> None:
    jobs.create(REQUEST, id="a")
    calls = []

    def edit(metadata: dict[str, Any]) -> dict[str, Any]:
        calls.append(metadata)
        if len(calls) == 1:
            jobs.edit_metadata("a", lambda metadata: metadata | {"name": "theirs"})
        return metadata | {"tags": ["ours"]}

    record = jobs.edit_metadata("a", edit)

    assert record.request["metadata"] == {"name": "theirs", "tags": ["ours"]}
    assert len(calls) == 2


def test_metadata_when_the_job_is_deleted_meanwhile_then_it_stays_deleted(jobs: JobStore, connection: redis.Redis) -> None:
    ended(jobs, "a")

    def edit(metadata: dict[str, Any]) -> dict[str, Any]:
        jobs.delete("a")
        return metadata

    with pytest.raises(RecordNotFound):
        jobs.edit_metadata("a", edit)

    assert not connection.exists(keyspace.record("job", "a"))


@pytest.mark.parametrize(
    ("layer", "selected"),
    [
        ("conv1", "cba"),
        ("fc", "bx"),
        ("conv2", "c"),
        ("block.1.mlp", "d"),
        ("block.1xmlp", ""),
        ("x, fc", ""),
        ("*", ""),
        ("", ""),
    ],
)
def test_list_when_jobs_have_several_layers_then_each_of_them_is_found(
    jobs: JobStore, connection: redis.Redis, layer: str, selected: str
) -> None:
    for id, layers in {"a": "conv1", "b": ["conv1", "fc"], "c": "conv*", "d": ["block.*.mlp", "a+b"], "x": "fc"}.items():
        jobs.create(REQUEST | {"layer": layers}, id=id)
    # An older version wrote this listing.
    key = keyspace.record("job", "x")
    connection.hset(key, "listing", '{"model": "net", "layer": "fc", "dataset": "digits", "metadata": {}}')

    assert sorted(ids(jobs, layer=layer)) == sorted(selected)
