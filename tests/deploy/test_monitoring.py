"""The dashboard and the alert rules name metrics, labels and values that the service exports."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest
import redis
import yaml
from prometheus_client.parser import text_string_to_metric_families

from unitrank_service.observability.metrics import METHODS, ImportOutcome, Metrics, ReuseReason, WebhookOutcome
from unitrank_store.jobs.records import KINDS
from unitrank_store.observability.snapshot import STATUSES

ROOT = Path(__file__).parents[2]
ALERTS, ALERT_TESTS = ROOT / "deploy" / "prometheus" / "alerts.yml", ROOT / "deploy" / "prometheus" / "alerts_test.yml"
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana" / "dashboard.json").read_text())
PAGE = ROOT / "docs" / "operations.md"
SELECTOR = re.compile(r"\b((?:unitrank|process|python)_\w+)(?:\{([^}]*(?:\{\w+\}[^}]*)*)\})?")
MATCHER = re.compile(r'(\w+)(?:=~|!~|!=|=)"([^"]*)"')
BY_PROMETHEUS = {"namespace", "pod", "instance", "le"}
"""Labels that Prometheus adds, or that belong to every histogram."""
VALUES = {
    "kind": {*KINDS, "model", "dataset"},
    "state": {"busy", "idle"},
    "outcome": {*get_args(ImportOutcome), *get_args(WebhookOutcome)},
    "method": {*METHODS},
    "reason": {"lost", "timed_out", "cancelled", "spoiled", "evicted", "too_large", *get_args(ReuseReason)},
}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def expressions() -> dict[str, list[str]]:
    """The file of each expression and of each tested series."""
    tests = yaml.safe_load(ALERT_TESTS.read_text())["tests"]
    return {
        "alerts.yml": [rule["expr"] for rule in rules()],
        "alerts_test.yml": [series["series"] for test in tests for series in test["input_series"]],
        "dashboard.json": [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]],
    }


def exported(connection: redis.Redis) -> set[str]:
    """The names of all samples that the service can export."""
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
    families = text_string_to_metric_families(Metrics(connection).page().decode())
    return {f"{family.name}{suffix}" for family in families for suffix in suffixes.get(family.type, ("",))}


@pytest.mark.parametrize("file", ["alerts.yml", "alerts_test.yml", "dashboard.json"])
def test_expressions_when_they_name_metrics_then_the_service_exports_these(file: str, connection: redis.Redis) -> None:
    named = {match[1] for expression in expressions()[file] for match in SELECTOR.finditer(expression)}

    assert len(named) > 5
    assert named - exported(connection) == set()


@pytest.mark.parametrize("file", ["alerts.yml", "alerts_test.yml", "dashboard.json"])
def test_expressions_when_they_select_labels_then_the_metric_has_these_labels_and_values(file: str) -> None:
    rows = re.findall(r"^\| `(unitrank_\w+)` \| ([^|]*)\|", PAGE.read_text(), re.MULTILINE)
    labels = {name: set(re.findall(r"`(\w+)`", column)) | BY_PROMETHEUS for name, column in rows}
    wrong = [
        (metric, label, value)
        for expression in expressions()[file]
        for metric, matchers in SELECTOR.findall(expression)
        for label, value in MATCHER.findall(matchers)
        if label not in labels.get(re.sub(r"_(bucket|sum|count)$", "", metric), BY_PROMETHEUS) or not _exists(metric, label, value)
    ]

    assert wrong == []


def test_dashboard_when_imported_then_panels_have_ids_and_places_of_their_own() -> None:
    panels = DASHBOARD["panels"]
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    assert {variable["name"] for variable in DASHBOARD["templating"]["list"]} == {"datasource", "namespace"}
    assert all(
        f"${variable}" in json.dumps(DASHBOARD["panels"]) or variable == "datasource" for variable in ("namespace", "datasource")
    )


def test_dashboard_when_compared_with_the_page_then_shows_every_metric() -> None:
    documented = set(re.findall(r"^\| `(unitrank_\w+)` \|", PAGE.read_text(), re.MULTILINE))
    in_panels = {match[1] for expression in expressions()["dashboard.json"] for match in SELECTOR.finditer(expression)}

    assert documented - {re.sub(r"_(bucket|sum|count)$", "", name) for name in in_panels} == set()


def test_alerts_when_compared_with_their_tests_then_each_is_tested_when_it_fires_and_when_not() -> None:
    tested = [case for test in yaml.safe_load(ALERT_TESTS.read_text())["tests"] for case in test["alert_rule_test"]]
    names = [rule["alert"] for rule in rules()]

    assert sorted({case["alertname"] for case in tested if case.get("exp_alerts")}) == sorted(names)
    assert sorted({case["alertname"] for case in tested if not case.get("exp_alerts")}) == sorted(names)


@pytest.fixture
def promtool() -> str:
    """The program. Without it the tests are skipped, or fail where CI is set."""
    program = shutil.which("promtool")
    if program is None:
        assert not os.environ.get("CI"), "promtool is not on PATH; Debian's package prometheus has it"
        pytest.skip("promtool is not on PATH")
    return program


@pytest.mark.check
@pytest.mark.parametrize("words", [["check", "rules", str(ALERTS)], ["test", "rules", str(ALERT_TESTS)]])
def test_alerts_when_promtool_reads_them_then_are_right(words: list[str], promtool: str) -> None:
    done = subprocess.run([promtool, *words], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.check
def test_dashboard_when_promtool_reads_its_expressions_then_each_is_right(promtool: str, tmp_path: Path) -> None:
    filled = [text.replace("$__rate_interval", "5m").replace("$namespace", ".*") for text in expressions()["dashboard.json"]]
    records = [{"record": f"expression:{number}", "expr": text} for number, text in enumerate(filled)]
    file = tmp_path / "dashboard.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": records}]}))

    done = subprocess.run([promtool, "check", "rules", str(file)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def _exists(metric: str, label: str, value: str) -> bool:
    if label == "status" and metric != "unitrank_http_requests_total":
        return set(value.split("|")) <= set(STATUSES)
    return label not in VALUES or "$" in value or set(value.split("|")) <= VALUES[label]
