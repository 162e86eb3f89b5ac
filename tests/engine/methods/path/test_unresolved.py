"""Paths whose points miss the change of F: another spacing, or a warning."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor, nn

from tests.engine.in_process import program_of, rank
from tests.engine.methods.path.bias_free import NETS, PATHS, adaptive_at, job, net, unresolved
from tests.engine.nets import net_of
from tests.engine.nets import program as program_of_net
from tests.engine.reuse.test_reuse import Memory
from unitrank_engine.job import batch_size
from unitrank_engine.job.context import TRIED_ROWS


class LanguageModel(nn.Module):
    """A language model of Transformers with random weights, and a head over the mean token."""

    def __init__(self, family: str) -> None:
        super().__init__()
        sizes = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "pad_token_id": 0}
        heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 32}
        config = getattr(transformers, f"{family}Config")(**sizes, **heads, attn_implementation="sdpa")
        self.model, self.head = getattr(transformers, f"{family}Model")(config), nn.Linear(16, 4, bias=False)

    def forward(self, input_ids: Tensor) -> Tensor:
        out: Tensor = self.head(self.model(input_ids=input_ids, use_cache=False).last_hidden_state.mean(1))
        return out


RULES = ["left", "right", "trapezoid"]


@pytest.mark.check
def test_path_not_resolved_when_only_single_units_are_wrong_then_is_given(tmp_path: Path) -> None:
    summary, arrays = job("normalised", tmp_path, "fc", [adaptive_at("conductance", steps, id=str(steps)) for steps in (30, 400)])

    # Along the ray of h, F does not change: what units get there cancels in the sum.
    few, many = arrays["examples/30/all"], arrays["examples/400/all"]
    assert np.abs(few - many).max() > 0.1 * np.abs(many).max()
    assert [ranking["clusters"]["all"]["completeness"]["relative_gap"] < 0.05 for ranking in summary["rankings"]] == [True, True]
    assert unresolved(summary) == ["30"]


@pytest.mark.check
@pytest.mark.parametrize("name", NETS)
def test_spacing_when_left_open_and_the_default_misses_the_change_then_the_gap_is_small_or_there_is_a_warning(
    name: str, tmp_path: Path
) -> None:
    for layer in NETS[name][2]:
        summary, _ = job(name, tmp_path, layer, PATHS)

        for ranking in summary["rankings"]:
            gap = ranking["clusters"]["all"]["completeness"]["relative_gap"]
            # Only a cut has a gap, which decides.
            assert ranking["method"]["spacing"] == ("adaptive" if summary["layer"]["cut"] else "cubic")
            assert ranking["id"] in unresolved(summary) or gap is None or gap < 0.01


@pytest.mark.check
@pytest.mark.parametrize("family", ["Llama", "Mistral", "Qwen2", "Gemma"])
def test_path_not_resolved_when_embeddings_start_at_zeros_then_suggests_their_mean(family: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    ids = np.random.default_rng(0).integers(4, 40, (6, 8))
    program = program_of(LanguageModel(family), torch.from_numpy(ids[:2]))
    request: dict[str, Any] = {"ablation": None, "fidelity": None, "target": {"class": 0}, "inputs": {"input_ids": "ids"}}

    zeros, mean = (
        rank(program, tmp_path, {"ids": ids}, "model.embed_tokens", ["conductance"], baseline={"kind": kind}, **request)[0]
        for kind in ("zeros", "mean")
    )

    (detail,) = [warning["detail"] for warning in zeros["warnings"] if warning["code"] == "path_not_resolved"]
    assert "baseline `mean`" in detail
    assert mean["rankings"][0]["clusters"]["all"]["completeness"]["relative_gap"] < 0.01
    assert not unresolved(mean)


@pytest.mark.check
@pytest.mark.parametrize(("name", "layer"), [("normalised", "fc"), ("towers", "input"), ("towers", "left"), ("rms", "input")])
def test_path_not_resolved_when_the_spacing_misses_the_change_then_names_every_path_method(
    name: str, layer: str, tmp_path: Path
) -> None:
    methods = [{"name": each, "spacing": "cubic", "rule": rule, "id": f"{each}-{rule}"} for each in PATHS for rule in RULES]

    summary, _ = job(name, tmp_path, layer, methods)

    assert sorted(unresolved(summary)) == sorted(method["id"] for method in methods)
    assert [ranking["method"]["spacing"] for ranking in summary["rankings"]] == ["cubic"] * len(methods)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("residual", "blocks.0"),
        pytest.param("residual", "stem", marks=pytest.mark.check),
        pytest.param("transformer", "embed", marks=pytest.mark.check),
        pytest.param("attentive", "norm", marks=pytest.mark.check),
    ],
)
def test_path_not_resolved_when_the_default_suffices_then_is_not_given_and_its_numbers_stay(
    name: str, layer: str, tmp_path: Path
) -> None:
    x, cubic = net_of(name).examples(5).numpy(), [{"name": each, "spacing": "cubic"} for each in PATHS]
    request: dict[str, Any] = {"ablation": None, "fidelity": None, "keep_examples": 5}

    summary, arrays = rank(program_of_net(name), tmp_path, {"x": x}, layer, PATHS, **request)
    _, named = rank(program_of_net(name), tmp_path, {"x": x}, layer, cubic, **request)

    assert not unresolved(summary)
    for key, values in named.items():
        np.testing.assert_array_equal(arrays[key], values)


def test_spacing_when_it_was_replaced_then_a_later_job_reuses_its_scores(tmp_path: Path) -> None:
    parts = Memory()
    first, arrays = job("normalised", tmp_path, "fc", ["gradient", "conductance"], parts=parts)

    again, reused = job("normalised", tmp_path, "fc", ["gradient", "conductance"], parts=parts)
    named, _ = job("normalised", tmp_path, "fc", [adaptive_at("conductance", 20)], parts=parts)

    assert again["rankings"][1]["method"] == first["rankings"][1]["method"]
    assert again["cost"]["reused"] == ["gradient", "conductance"]
    assert again["cost"]["forward_rows"] == 0
    assert named["cost"]["reused"] == ["conductance"]
    for name, values in arrays.items():
        np.testing.assert_array_equal(reused[name], values)


def test_spacing_when_an_earlier_job_named_the_default_then_an_open_one_is_still_replaced(tmp_path: Path) -> None:
    parts = Memory()
    job("normalised", tmp_path, "fc", [{"name": "conductance", "spacing": "cubic"}], parts=parts)

    summary, arrays = job("normalised", tmp_path, "fc", ["conductance"], parts=parts)
    _, expected = job("normalised", tmp_path, "fc", ["conductance"])

    assert summary["rankings"][0]["method"]["spacing"] == "adaptive"
    np.testing.assert_array_equal(arrays["importance/conductance"], expected["importance/conductance"])


@pytest.mark.check
@pytest.mark.parametrize("late", [False, True])
def test_spacing_when_left_open_then_the_first_64_rows_decide(late: bool, tmp_path: Path) -> None:
    _, program, x = net("normalised")
    same = np.tile(x[:1], (70, 1))
    fields = {"x": same, "x0": same * 0.999}
    fields["x0"][64 if late else 0 :] = 0.0
    request: dict[str, Any] = {
        "ablation": None,
        "fidelity": None,
        "target": {"class": 0},
        "baseline": {"kind": "field", "field": "x0"},
    }

    summary, _ = rank(program, tmp_path, fields, "fc", ["conductance"], **request)

    assert summary["rankings"][0]["method"]["spacing"] == ("uniform" if late else "adaptive")
    assert unresolved(summary) == ["conductance"] or not late


@pytest.mark.check
def test_cost_when_an_open_spacing_is_not_resolved_then_only_the_first_examples_pass_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(batch_size.LIMITS, "cpu", (16, 16))
    x = np.random.default_rng(0).normal(size=(8 * TRIED_ROWS, 5)).astype(np.float32)

    def forward_rows(rows: int, **options: Any) -> int:
        method = {"name": "conductance", "steps": 20, **options}
        summary, _ = job("normalised", tmp_path, "fc", [method], x=x[:rows], keep_examples=0)
        return int(summary["cost"]["forward_rows"])

    tried = forward_rows(len(x)) - forward_rows(len(x), spacing="adaptive")

    assert tried == forward_rows(TRIED_ROWS, spacing="cubic")
