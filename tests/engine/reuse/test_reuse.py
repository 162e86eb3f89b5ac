"""With earlier jobs' parts, a job gives the same result to the bit and does not repeat the work."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.ablation.nets import Weighted
from tests.engine.in_process import program_of, rank
from tests.engine.nets import net_of, program
from unitrank_engine.errors import EngineError
from unitrank_engine.program.split import Split
from unitrank_tables.part import Part, decode_part, encode_part

Result = tuple[dict[str, Any], dict[str, np.ndarray]]
FIELDS_NOT_COMPARED = {"seconds", "forward_rows", "backward_rows", "peak_bytes", "reused"}
RANDOM = 3


@dataclass
class Memory:
    """Parts in a dict, encoded as in the store."""

    held: dict[str, bytes] = field(default_factory=dict)

    def get(self, fingerprints: Sequence[str]) -> dict[str, Part]:
        parts = {print_: decode_part(self.held[print_]) for print_ in fingerprints if print_ in self.held}
        return {print_: part for print_, part in parts.items() if part}

    def put(self, parts: Mapping[str, Part]) -> None:
        self.held |= {print_: encode_part(part) for print_, part in parts.items()}


def data(name: str, count: int = 41) -> dict[str, np.ndarray]:
    """Examples for one of the nets, with labels, and a field that groups them."""
    x = net_of(name).examples(count).numpy()
    random = np.random.default_rng(1)
    return {"x": x, "y": random.integers(0, 3, count), "group": random.integers(0, 9, count), "b": 0.5 * x[::-1].copy()}


def job(folder: Path, parts: Memory | None, methods: list[Any], name: str = "convolutional", layer: str = "features.2",
        **request: Any) -> Result:  # fmt: skip
    ablation = request.pop("ablation", {})
    ablation = None if ablation is None else {"random": RANDOM} | ablation
    return rank(program(name), folder, data(name), layer, methods, parts=parts, ablation=ablation, **request)


def assert_same(outcome: Result, expected: Result) -> None:
    """Compare two results, except for their cost and times."""
    assert repeatable(outcome[0]) == repeatable(expected[0])
    assert outcome[1].keys() == expected[1].keys()
    for name, array in expected[1].items():
        assert outcome[1][name].dtype == array.dtype
        np.testing.assert_array_equal(outcome[1][name], array, err_msg=name, strict=True)


def repeatable(summary: dict[str, Any]) -> dict[str, Any]:
    cost = {name: value for name, value in summary["cost"].items() if name not in FIELDS_NOT_COMPARED}
    rankings = [{name: value for name, value in ranking.items() if name != "seconds"} for ranking in summary["rankings"]]
    return summary | {"cost": cost, "rankings": rankings}


def reused(outcome: Result) -> list[str]:
    names: list[str] = outcome[0]["cost"]["reused"]
    return names


def rows(outcome: Result) -> int:
    count: int = outcome[0]["cost"]["forward_rows"]
    return count


FIRST = ["gradient", {"name": "conductance", "steps": 5}]


@cache
def _parts_of_first() -> dict[str, bytes]:
    """The parts that the first methods leave, computed once in a session."""
    parts = Memory()
    with TemporaryDirectory() as folder:
        job(Path(folder), parts, FIRST)
    return parts.held


def after_first() -> Memory:
    """Parts of an earlier job with the first methods and default options."""
    return Memory(dict(_parts_of_first()))


THEN: list[Any] = [
    {"name": "conductance", "steps": 5, "statistic": "mean_abs"},
    {"name": "deeplift"},
    {"name": "gradient", "id": "mine"},
    {"name": "conductance", "steps": 7},
    {"name": "internal_influence", "steps": 5},
    {"name": "random"},
    {"name": "activation", "statistic": "rms"},
]
REQUESTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "labels": {"clusters": {"by": "label"}},
    "limited": {"clusters": {"by": "label", "limit": 7}},
    "prediction": {"clusters": {"by": "prediction"}},
    "field": {"clusters": {"by": "field", "field": "group"}},
    "members": {"clusters": {"by": "members", "members": {"a": [0, 3, 5, 8, 9], "b": [3, 9, 11], "one": [20]}}},
    "kmeans": {"clusters": {"by": "kmeans", "k": 3, "layer": "features.0"}},
    "in_sample": {"ablation": {"split": "none"}},
    "by_group": {"ablation": {"split": "group"}},
    "kept": {"keep_examples": 3, "clusters": {"by": "label"}},
    "no_fidelity": {"fidelity": None},
    "no_ablation": {"ablation": None},
    "no_check": {"ablation": {"check_fill": None}},
    "most": {"ablation": {"orders": ["most"], "examples": 4}},
    "least": {"ablation": {"orders": ["least"]}},
    "no_orders": {"ablation": {"orders": []}},
    "keep": {"ablation": {"orders": ["keep"]}},
    "accuracy": {"ablation": {"measure": "accuracy"}, "clusters": {"by": "label"}},
    "no_specificity": {"ablation": {"specificity": False}, "clusters": {"by": "label"}},
    "no_random": {"ablation": {"random": 0}},
    "fills": {"ablation": {"fill": "mean", "check_fill": "zero"}, "fidelity": {"select": "random", "fill": "resample"}},
    "top": {"fidelity": {"select": "top", "fraction": 0.2}},
    "mean": {"baseline": {"kind": "mean"}},
    "cluster_mean": {"baseline": {"kind": "cluster_mean"}, "clusters": {"by": "label"}},
    "own_baseline": {"baseline": {"kind": "field", "field": "b"}},
    "example": {"baseline": {"kind": "example", "index": 2}},
    "channels": {"units": "channel"},
    "no_labels": {"labels": None},
    "probability": {"target": {"class": "label", "score": "probability"}},
    "margin": {"target": {"class": "predicted", "score": "margin"}},
    "scaled": {"preprocess": {"scale": 0.5, "mean": 0.1, "std": 2.0}},
}
QUICK = {"defaults", "prediction", "channels", "no_labels"}
"""The requests of `make test`; `make check` has the others."""


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.check) for name in REQUESTS])
def test_job_when_it_reuses_parts_then_the_result_is_equal_to_the_bit(name: str, tmp_path: Path) -> None:
    request, parts = REQUESTS[name], Memory()
    job(tmp_path, parts, FIRST, **request)

    outcome = job(tmp_path, parts, [*FIRST, *THEN], **request)
    alone = job(tmp_path, None, [*FIRST, *THEN], **request)

    assert_same(outcome, alone)
    assert reused(alone) == []
    # Internal influence walks conductance's path again, and without an ablation there is no study
    # to save.
    assert rows(outcome) < rows(alone) or name == "no_ablation"


@pytest.mark.parametrize(
    "name", ["prediction", *(pytest.param(name, marks=pytest.mark.check) for name in ("kmeans", "kept", "fills"))]
)
def test_job_when_it_reuses_parts_in_another_order_then_the_result_is_equal_to_the_bit(name: str, tmp_path: Path) -> None:
    request, parts, methods = REQUESTS[name], Memory(), [*THEN[::-1], *FIRST]
    first = job(tmp_path, parts, [*FIRST, *THEN], **request)

    again = job(tmp_path, parts, methods, **request)

    assert_same(again, job(tmp_path, None, methods, **request))
    assert rows(again) <= rows(first)


NETS = [("in_place", "relu1"), ("shared", "act@1")]
MORE_NETS = [
    ("residual", "blocks.0"),
    ("functional", "fc1"), ("residual", "blocks.0.act"), ("transformer", "encoder.linear1"), ("attentive", "attention.value"),
    ("convolutional", "input"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "layer"), [*NETS, *(pytest.param(*net, marks=pytest.mark.check) for net in MORE_NETS)])
@pytest.mark.parametrize("at_once", [pytest.param(16, marks=pytest.mark.check), 64])
def test_job_when_parts_of_it_are_known_then_every_net_gives_the_same(
    name: str, layer: str, at_once: int, tmp_path: Path, limit_rows: Callable[[int], None]
) -> None:
    limit_rows(at_once)
    parts, request = Memory(), {"clusters": {"by": "label"}, "keep_examples": 2}
    job(tmp_path, parts, FIRST, name, layer, **request)

    outcome = job(tmp_path, parts, [*FIRST, *THEN], name, layer, **request)

    assert_same(outcome, job(tmp_path, None, [*FIRST, *THEN], name, layer, **request))
    assert {"controls", "gradient", "conductance"} <= set(reused(outcome))


QUICK_METHODS: list[Any] = [
    "activation",
    {"name": "gradient", "noise": {"samples": 3, "level": 0.2}},
    {"name": "conductance", "steps": 4, "rule": "left"},
    {"name": "deeplift", "rules": "rescale"},
    {"name": "exact_ablation"},
]
MORE_METHODS: list[Any] = [
    "gradient_x_activation",
    "gradient_x_delta",
    {"name": "gradient", "noise": {"samples": 3, "level": 0.2}, "statistic": "rms"},
    {"name": "conductance", "steps": 4, "rule": "right"},
    {"name": "conductance", "steps": 3, "tolerance": 0.01},
    {"name": "conductance", "steps": 3, "precision": "bf16"},
    {"name": "integrated_gradients", "steps": 4},
    "grad_cam",
    "random",
]


@pytest.mark.parametrize(
    "method", [*QUICK_METHODS, *(pytest.param(method, marks=pytest.mark.check) for method in MORE_METHODS)], ids=str
)
def test_scores_when_other_methods_run_in_the_job_then_are_the_same_as_alone(method: Any, tmp_path: Path) -> None:
    parts, earlier_methods = Memory(), ["gradient", {"name": "conductance", "steps": 9}, {"name": "deeplift"}]
    # With several clusters, a ranking has relabelled controls in a job without other rankings, too.
    request: dict[str, Any] = {"keep_examples": 2, "clusters": {"by": "label"}}
    job(tmp_path, parts, [method], **request)

    outcome = job(tmp_path, parts, [*earlier_methods, method], **request)

    assert reused(outcome)[0] == "controls"
    assert reused(outcome)[-1] == outcome[0]["rankings"][-1]["id"]
    assert_same(outcome, job(tmp_path, None, [*earlier_methods, method], **request))


def test_ranking_when_it_was_tested_alone_on_one_cluster_then_only_its_scores_and_controls_are_reused(tmp_path: Path) -> None:
    # Alone, it is compared with the random orders, and otherwise with relabelled controls.
    parts = Memory()
    job(tmp_path, parts, ["gradient"])

    outcome = job(tmp_path, parts, ["gradient", "activation"])

    assert reused(outcome) == ["controls", "gradient/scores"]
    assert_same(outcome, job(tmp_path, None, ["gradient", "activation"]))
    # A ranking of noise is not counted, so it adds no controls.
    assert reused(job(tmp_path, parts, ["gradient", "random"])) == ["controls", "gradient"]


class Folded(nn.Module):
    """A live value merges its batch axis with another axis, so that each pass has one mask."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.act, self.out = nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        around = x.reshape(-1, 3)
        out: Tensor = self.out(self.act(self.fc(x))) + (around * 2).reshape(-1, 6)
        return out


class Wide(nn.Module):
    """Has enough units that masks of one order share their work."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.act, self.hidden, self.out = nn.Linear(6, 512), nn.ReLU(), nn.Linear(512, 64), nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.hidden(self.act(self.fc(x))).relu())
        return out


@pytest.mark.check
@pytest.mark.parametrize("network", [Folded, Wide])
def test_job_when_passes_cannot_be_shared_or_are_nested_then_the_result_is_the_same(
    network: type[nn.Module], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    net = program_of(network(), torch.ones(2, 6))
    x, y = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32), np.arange(60) % 3

    def run(parts: Memory | None, methods: list[Any]) -> Result:
        clusters = {"by": "label"}
        return rank(net, tmp_path, {"x": x, "y": y}, "act", methods, parts=parts, ablation={"random": RANDOM}, clusters=clusters)

    parts = Memory()
    run(parts, ["gradient_x_delta"])
    outcome = run(parts, ["activation", "gradient_x_delta", {"name": "conductance", "steps": 5, "rule": "left"}])

    assert reused(outcome) == ["controls", "gradient_x_delta"]
    assert_same(outcome, run(None, ["activation", "gradient_x_delta", {"name": "conductance", "steps": 5, "rule": "left"}]))


def test_job_when_all_parts_are_in_the_store_then_runs_no_pass(tmp_path: Path) -> None:
    parts, request = Memory(), {"clusters": {"by": "prediction"}, "keep_examples": 2}
    first = job(tmp_path, parts, FIRST, **request)

    again = job(tmp_path, parts, FIRST, **request)

    assert_same(again, first)
    assert rows(first) > 1000
    assert (rows(again), again[0]["cost"]["backward_rows"]) == (0, 0)
    assert reused(again) == ["clusters", "controls", "gradient", "conductance"]


def test_job_when_it_repeats_exact_tests_then_measures_no_effect_again(tmp_path: Path) -> None:
    parts, ablation = Memory(), {"verify": {"top": 3, "sample": 9}, "pairs": 4}
    first = job(tmp_path, parts, FIRST, ablation=ablation)

    again = job(tmp_path, parts, [*FIRST, "activation"], ablation=ablation)
    alone = job(tmp_path, None, [*FIRST, "activation"], ablation=ablation)
    level = job(tmp_path, parts, FIRST, ablation=ablation | {"level": 0.5})

    assert_same(again, alone)
    assert reused(again) == ["controls", "gradient", "conductance"]
    assert rows(again) < 0.5 * rows(alone)
    assert rows(level) == 0
    assert _verified(level) != _verified(first)
    changed = job(tmp_path, parts, FIRST, ablation=ablation | {"verify": {"top": 3, "sample": 10}})
    kept = ["scores", "ablation", "pairs"]
    assert reused(changed) == ["controls", *[f"{name}/{part}" for name in ("gradient", "conductance") for part in kept]]


def _verified(outcome: Result) -> list[Any]:
    return [cluster["verified"] for ranking in outcome[0]["rankings"] for cluster in ranking["clusters"].values()]


@pytest.mark.parametrize("clusters", [{"by": "all"}, {"by": "label"}], ids=["one cluster", "several"])
def test_job_when_a_ranking_is_worse_than_random_then_its_reversed_order_does_not_run_again(
    clusters: dict[str, Any], tmp_path: Path
) -> None:
    # The least active unit has the largest share of F: activations 1/k² with weights k³.
    units = np.arange(1.0, 21.0)
    net = program_of(Weighted((units**3).tolist()), torch.ones(2, 20, dtype=torch.float64))
    fields = {"x": np.tile(1 / units**2, (12, 1)), "y": np.arange(12) % 2}
    request: dict[str, Any] = {"target": {"class": None}, "labels": "y", "clusters": clusters, "ablation": {"random": 19}}

    def run(parts: Memory | None) -> Result:
        return rank(net, tmp_path, fields, "act", ["activation"], parts=parts, **request)

    parts = Memory()
    first = run(parts)
    again = run(parts)

    assert [warning["ranking"] for warning in first[0]["warnings"] if warning["code"] == "may_be_reversed"] == ["activation"]
    assert_same(again, first)
    assert_same(first, run(None))
    assert (rows(again), again[0]["cost"]["backward_rows"]) == (0, 0)


def test_job_when_a_method_is_added_then_controls_and_earlier_methods_do_not_run_again(tmp_path: Path) -> None:
    parts, request = Memory(), {"ablation": {"random": 19}}
    job(tmp_path, parts, FIRST, **request)

    outcome = job(tmp_path, parts, [*FIRST, "deeplift"], **request)

    # 41 examples: both ends (the baseline once), twice the tail for deeplift, and fidelity. 20 test
    # examples: their values, with both fills, and the ranking half's values for the check. Six
    # counts: deeplift's orders `most`, `least`, `keep` and 19 relabelled controls; for the check
    # `most` and 19 controls.
    assert reused(outcome) == ["controls", "gradient", "conductance"]
    assert rows(outcome) <= 41 * 4 + 1 + 20 * (1 + 6 * (3 + 19)) + 20 * (1 + 6 * (1 + 19)) + 20
    # Each of three rankings has 42 orders. The controls have 58: three times 19, and activity.
    assert rows(outcome) < 0.24 * rows(job(tmp_path, None, [*FIRST, "deeplift"], **request))


CHANGES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "level": ({"ablation": {"level": 0.9}}, ["controls", "gradient", "conductance"]),
    "fractions": ({"ablation": {"fractions": [0.3]}}, ["gradient/scores", "conductance/scores"]),
    "more controls": ({"ablation": {"random": 25}}, ["gradient/scores", "conductance/scores"]),
    "no check": ({"ablation": {"check_fill": None}}, ["controls", "gradient", "conductance"]),
    "orders": ({"ablation": {"orders": ["most", "keep"]}}, ["controls", "gradient/scores", "conductance/scores"]),
    "no keep": ({"ablation": {"orders": ["most", "least"]}}, ["gradient/scores", "conductance/scores"]),
    "measure": ({"ablation": {"measure": "accuracy"}}, ["gradient/scores", "conductance/scores"]),
    "no ablation": ({"ablation": None}, ["gradient", "conductance"]),
    "exact tests": (
        {"ablation": {"verify": {"top": 2, "sample": 3}, "pairs": 2}},
        ["controls", "gradient/scores", "gradient/ablation", "conductance/scores", "conductance/ablation"],
    ),
    "no fidelity": ({"fidelity": None}, ["controls", "gradient", "conductance"]),
    "fidelity": ({"fidelity": {"fraction": 0.2}}, ["controls", "gradient/ablation", "conductance/ablation"]),
    "kept": ({"keep_examples": 1}, ["controls", "gradient/ablation", "conductance/ablation"]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_job_when_options_of_the_study_change_then_the_rest_is_reused(change: str, tmp_path: Path) -> None:
    request, expected = CHANGES[change]
    parts = after_first()

    outcome = job(tmp_path, parts, FIRST, **request)

    assert reused(outcome) == expected
    assert_same(outcome, job(tmp_path, None, FIRST, **request))


MATTERS: dict[str, dict[str, Any]] = {
    "seed": {"seed": 1},
    "target": {"target": {"class": 1}},
    "score": {"target": {"class": "label", "score": "centered"}},
    "baseline": {"baseline": {"kind": "constant", "value": 0.5}},
    "preprocess": {"preprocess": {"scale": 2.0}},
    "inputs": {"inputs": {"x": "b"}},
    "labels": {"labels": "group", "target": {"class": 0}},
    "units": {"units": "channel"},
    "at": {"at": "input"},
    "layer": {"layer": "features.3"},
    "clusters": {"clusters": {"by": "label"}},
    "limit": {"clusters": {"by": "all", "limit": 30}},
}
NO_MATTER: dict[str, dict[str, Any]] = {
    "timeout": {"timeout": 7},
    "priority": {"priority": "high"},
    "webhook": {"webhook": {"url": "http://x"}},
    "metadata": {"metadata": {"by": "me"}},
}


@pytest.mark.parametrize("change", MATTERS)
def test_parts_when_a_dependency_changes_then_they_are_not_used(change: str, tmp_path: Path) -> None:
    parts = after_first()

    outcome = job(tmp_path, parts, FIRST, **MATTERS[change])

    assert reused(outcome) == []
    assert_same(outcome, job(tmp_path, None, FIRST, **MATTERS[change]))


@pytest.mark.parametrize("change", NO_MATTER)
def test_parts_when_an_irrelevant_option_changes_then_they_are_used(change: str, tmp_path: Path) -> None:
    parts = after_first()

    assert reused(job(tmp_path, parts, FIRST, **NO_MATTER[change])) == ["controls", "gradient", "conductance"]


@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_parts_when_the_contents_differ_then_are_not_reused(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.engine import in_process

    parts = after_first()
    monkeypatch.setattr(in_process, "RESOLVED", in_process.RESOLVED | {kind: {"name": "n", "digest": "sha256:" + "9" * 64}})

    assert reused(job(tmp_path, parts, FIRST)) == []


@pytest.mark.parametrize("changed", ["version", "machine", "batch"])
def test_parts_when_the_engine_or_the_machine_is_another_then_they_are_not_used(
    changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit_rows: Callable[[int], None]
) -> None:
    from unitrank_engine.reuse import clusters, fingerprints

    held = after_first()
    if changed == "version":
        monkeypatch.setattr(fingerprints, "_version", lambda: "0.0")
    elif changed == "machine":
        monkeypatch.setattr(fingerprints, "machine", lambda device: ["another"])
        monkeypatch.setattr(clusters, "machine", lambda device: ["another"])
    else:
        limit_rows(7)

    assert reused(job(tmp_path, held, FIRST)) == []


def test_random_when_the_id_differs_then_its_scores_are_not_reused(tmp_path: Path) -> None:
    parts = Memory()
    job(tmp_path, parts, ["random"])

    assert reused(job(tmp_path, parts, [{"name": "random", "id": "noise"}])) == ["controls"]
    assert reused(job(tmp_path, parts, ["random"])) == ["controls", "random"]


@pytest.mark.parametrize(
    "damage", [*(pytest.param(damage, marks=pytest.mark.check) for damage in ("lost", "empty", "another")), "cut"]
)
def test_job_when_parts_are_lost_or_damaged_then_they_are_computed_again(damage: str, tmp_path: Path) -> None:
    request: dict[str, Any] = {"clusters": {"by": "prediction"}, "keep_examples": 2}
    whole = Memory()
    expected = job(tmp_path, whole, FIRST, **request)
    for print_ in whole.held:
        another = next(another for another in whole.held if another != print_)
        bytes_ = {"lost": None, "empty": b"", "cut": whole.held[print_][:-9], "another": whole.held[another]}[damage]
        held = {each: data for each, data in whole.held.items() if each != print_}
        parts = Memory(held if bytes_ is None else held | {print_: bytes_})

        assert_same(job(tmp_path, parts, FIRST, **request), expected)
        assert parts.held == whole.held


@pytest.mark.check
def test_job_when_effects_are_damaged_then_they_are_measured_again(tmp_path: Path) -> None:
    request: dict[str, Any] = {"ablation": {"verify": {"top": 3, "sample": 9}, "pairs": 4, "check_fill": None}}
    whole = Memory()
    expected = job(tmp_path, whole, FIRST[:1], **request)
    effects = [print_ for print_, part in whole.get(list(whole.held)).items() if "effects" in part.arrays]

    assert len(effects) == 2
    for print_, another in zip(effects, effects[::-1], strict=True):
        for bytes_ in (b"", whole.held[print_][:-9], whole.held[another]):
            parts = Memory(whole.held | {print_: bytes_})

            assert_same(job(tmp_path, parts, FIRST[:1], **request), expected)
            assert parts.held == whole.held


def test_job_when_a_ranking_fails_then_stores_no_parts_and_lists_the_reused_rankings(tmp_path: Path) -> None:
    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.act(x).sqrt().sum(1, keepdim=True)

    net, parts = program_of(Root(), torch.ones(2, 4)), Memory()
    request: dict[str, Any] = {"target": {"class": None}, "ablation": None, "fidelity": None, "parts": parts}
    fields = {"x": np.ones((6, 4), np.float32)}
    rank(net, tmp_path, fields, "act", ["gradient"], **request)
    before = dict(parts.held)

    with pytest.raises(EngineError) as caught:
        rank(net, tmp_path, fields, "act", ["gradient", {"name": "conductance", "steps": 3, "rule": "left"}], **request)

    assert caught.value.ranking == "conductance"
    assert list(caught.value.finished) == ["gradient"]
    assert parts.held == before


def test_job_when_stopped_in_the_study_then_the_next_job_reuses_its_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from unitrank_engine.ablation.masks import mask_runner

    parts = Memory()
    with monkeypatch.context() as patch:
        patch.setattr(mask_runner.MaskRunner, "run", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("cancelled")))
        with pytest.raises(RuntimeError, match="cancelled"):
            job(tmp_path, parts, FIRST)

    outcome = job(tmp_path, parts, FIRST)

    assert reused(outcome) == ["gradient/scores", "conductance/scores"]
    assert_same(outcome, job(tmp_path, None, FIRST))


def test_job_when_memory_ran_out_then_its_sums_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit_rows: Callable[[int], None]
) -> None:
    limit_rows(64)
    parts, tail = Memory(), Split.tail

    def short(split: Split, h: Tensor, live: Any) -> Tensor:
        if len(h) > 20:
            raise torch.OutOfMemoryError(f"CUDA out of memory: {len(h)} rows")
        return tail(split, h, live)

    with monkeypatch.context() as patch:
        patch.setattr(Split, "tail", short)
        job(tmp_path, parts, FIRST)

    assert parts.held == {}
