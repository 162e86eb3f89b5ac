"""Misspelt variables are named with the nearest known one."""

import re
from pathlib import Path

import pytest

from unitrank_store.unknown_variables import unknown_variables

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("UNITRANK_REAPER_INTERVALL", "UNITRANK_REAPER_INTERVAL"),
        ("UNITRANK_REDISURL", "UNITRANK_REDIS_URL"),
        ("unitrank_max_memory", "UNITRANK_MAXMEMORY"),
        ("UNITRANK_ZZZ", None),
    ],
)
def test_variable_when_misspelt_then_is_named_with_the_nearest(name: str, nearest: str | None) -> None:
    assert unknown_variables(["PATH", "UNITRANK_PORT", name, "unitrank_port"]) == [(name, nearest)]


@pytest.mark.parametrize(
    "name", ["UNITRANK_SERVICE_HOST", "UNITRANK_SERVICE_PORT_HTTP", "UNITRANK_PORT_8000_TCP_ADDR", "UNITRANK_REDIS_SERVICE_HOST"]
)
def test_variable_when_kubernetes_sets_it_then_is_no_mistake(name: str) -> None:
    assert unknown_variables([name]) == []


def test_variables_when_documented_then_all_are_known() -> None:
    pages = [*ROOT.glob("docs/*.md"), ROOT / "README.md", ROOT / "docker-compose.yml", ROOT / "Makefile"]
    names = {name for page in pages for name in re.findall(r"\bUNITRANK_[A-Z_]*[A-Z]\b", page.read_text(encoding="utf-8"))}

    assert len(names) > 40
    assert unknown_variables(names) == []
