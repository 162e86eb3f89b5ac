"""The picture, files and Redis keys in docs/architecture.md agree with the code."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from docs.generate import rooms_picture

from tests.support.documentation.redis_keys import PAGE, KeyRow, key_rows, undocumented
from tests.support.earlier_store import load
from unitrank_store.redis import keyspace

ROOT = Path(__file__).parent.parent
WRITERS = ROOT / "store" / "unitrank_store"
PREFIXES = {"lines", "contents"}
"""Functions that return the beginning of keys, not a key."""
PATH = re.compile(r"`((?:api_schemas|tables|engine|store|worker|plots|service|client|tests)/[\w./-]+)`")
ARROW = re.compile(r'<g id="(unitrank\w*-unitrank\w+)">')


def test_picture_when_committed_then_has_the_arrows_of_the_imports() -> None:
    graph = rooms_picture.imports(ROOT)
    drawn = rooms_picture.draw(graph)

    assert ARROW.findall((ROOT / "docs" / "rooms.svg").read_text()) == ARROW.findall(drawn)
    assert {"unitrank_worker-unitrank_engine", "unitrank_service-unitrank_store"} <= set(ARROW.findall(drawn))
    assert not graph.has_edge("unitrank_engine", "unitrank_store")


def test_page_when_it_names_files_then_each_exists() -> None:
    named = PATH.findall(PAGE.read_text())

    assert len(named) > 40
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_key_table_when_compared_with_the_keyspace_then_has_each_key_once() -> None:
    assert sorted(row.pattern for row in key_rows()) == sorted(_keys_of_keyspace())


@pytest.mark.parametrize("row", key_rows(), ids=lambda row: row.pattern)
def test_key_table_when_it_names_a_writer_then_the_file_exists(row: KeyRow) -> None:
    assert (WRITERS / row.writer).is_file() or (ROOT / row.writer).is_file()


def test_key_table_when_compared_with_a_store_in_use_then_has_every_key(connection: redis.Redis, tmp_path: Path) -> None:
    load(connection, tmp_path / "blobs")

    assert undocumented(connection) == []


def test_key_table_when_a_key_is_foreign_or_of_another_type_then_names_it(connection: redis.Redis) -> None:
    connection.set("unitrank:unknown", "1")
    connection.set("unitrank:workers", "1")
    connection.set("rq:anything", "1")

    assert undocumented(connection) == [("unitrank:unknown", "string"), ("unitrank:workers", "string")]


def _keys_of_keyspace() -> Iterator[str]:
    """Each key with its parameters in angle brackets; `records_by_status` has one form for a tenant
    and one for all.
    """
    for name, function in inspect.getmembers(keyspace, inspect.isfunction):
        if name in PREFIXES:
            continue
        parameters = inspect.signature(function).parameters.values()
        yield function(*(f"<{each.name}>" for each in parameters if each.default is each.empty))
        if any(each.default is not each.empty for each in parameters):
            yield function(*(f"<{each.name}>" for each in parameters))
