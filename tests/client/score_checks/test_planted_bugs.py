"""Planted bugs in code as a user writes it: a hook on a Linear layer, averaged over batches."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import unitrank
from unitrank.inprocess import NAME, LocalJobs, local_jobs
from unitrank.score_checks.given_scores import given_scores
from unitrank.score_checks.local import check_with

pytestmark = pytest.mark.check
BATCH = 32


class ThreeTowers(nn.Module):
    """Three features in three towers; the second feature decides between three classes."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.towers = nn.ModuleList(nn.Sequential(nn.Linear(1, 8), nn.ReLU()) for _ in range(3))
        self.mix, self.act = nn.Linear(24, 24), nn.ReLU()
        self.dropout, self.head = nn.Dropout(dropout), nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        joined = torch.cat([tower(x[:, index : index + 1]) for index, tower in enumerate(self.towers)], 1)
        return self.head(self.dropout(self.act(self.mix(joined))))


class Case:
    """A trained network, its data, and jobs on both."""

    def __init__(self, network: ThreeTowers, x: Tensor, y: Tensor, jobs: LocalJobs) -> None:
        self.network, self.x, self.y, self.jobs = network, x, y, jobs

    def check(self, scores: Any, **request: Any) -> unitrank.ScoreCheck:
        own = given_scores(scores)
        ablation = {"random": 19, "check_fill": None}
        base = {"model": NAME, "dataset": NAME, "layer": "mix", "at": "output", "clusters": own.clusters, "ablation": ablation}
        return check_with(self.jobs, self.network, {**base, **request}, own)


def trained(dropout: float = 0.0) -> tuple[ThreeTowers, Tensor, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network, x = ThreeTowers(dropout), torch.randn(128, 3)
    y = (x[:, 1] > -0.4).long() + (x[:, 1] > 0.4).long()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    return network.eval(), x, y


def cases(dropout: float) -> Iterator[Case]:
    network, x, y = trained(dropout)
    with local_jobs(network, None, {"x": x, "y": y}, example_inputs=None, device="cpu") as jobs:
        yield Case(network, x, y, jobs)


@pytest.fixture(scope="module")
def towers() -> Iterator[Case]:
    yield from cases(0.0)


@pytest.fixture(scope="module")
def dropped() -> Iterator[Case]:
    yield from cases(0.3)


def own_score(output: Tensor, y: Tensor) -> Tensor:
    return output[torch.arange(len(y)), y].sum()


def averaged(
    case: Case, score: Callable[[Tensor, Tensor], Tensor] = own_score, layer: str = "mix", stop: int | None = None
) -> Tensor:
    """The sum of the partial derivatives at the layer, over the examples up to `stop`."""
    seen: list[Tensor] = []

    def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
        output.retain_grad()
        seen.append(output)

    handle = case.network.get_submodule(layer).register_forward_hook(hook)
    total = torch.zeros(24)
    for first in range(0, stop or len(case.x), BATCH):
        seen.clear()
        score(case.network(case.x[first : first + BATCH]), case.y[first : first + BATCH]).backward()
        assert seen[0].grad is not None
        total += seen[0].grad.sum(0)
    handle.remove()
    return total


def test_check_when_the_code_is_correct_then_the_scores_are_equal(towers: Case) -> None:
    check = towers.check(averaged(towers) / 128)

    assert (check.relation, check.method, check.is_correct, check.bug) == ("equal", "gradient", True, "")
    assert check.overall is not None


def test_check_when_only_the_first_batch_is_averaged_then_its_size_is_named(towers: Case) -> None:
    check = towers.check(averaged(towers, stop=BATCH) / BATCH)

    assert (check.relation, check.method, check.corrected) == ("first_examples", "gradient", "gradient")
    assert "over only the first 32 of 128 examples" in check.detail
    assert "the loop over the batches stops too early" in check.bug
    assert set(check.result.rankings) == {"scores"}
    assert check.corrected_result is not None
    assert set(check.corrected_result.rankings) == {"gradient"}
    assert "without the bug, as `gradient`: " in str(check)


def test_check_when_the_examples_are_summed_then_the_factor_is_their_number(towers: Case) -> None:
    check = towers.check(averaged(towers))

    assert check.relation == "factor"
    assert "times 128 " in check.detail
    assert "the sum over the examples instead of the mean" in check.detail
    assert "neither their order nor the verdict changes" in check.bug


def test_check_when_softmax_comes_before_the_gradient_then_the_probability_is_named(towers: Case) -> None:
    check = towers.check(averaged(towers, lambda output, y: own_score(output.softmax(1), y)) / 128)

    assert (check.relation, check.method, check.target) == ("other_target", "gradient", {"class": "label", "score": "probability"})
    assert "softmax (or sigmoid) is applied before backward()" in check.bug


def test_check_when_the_gradient_is_that_of_the_loss_then_the_reversed_sign_is_named(towers: Case) -> None:
    check = towers.check(averaged(towers, lambda output, y: functional.cross_entropy(output, y)) / 128)

    assert (check.relation, check.target["score"]) == ("other_target", "log_probability")
    assert "the sign is reversed" in check.detail
    assert "of the loss" in check.bug


@pytest.mark.parametrize("number", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_check_when_one_class_is_taken_for_all_examples_then_it_is_named(number: int, towers: Case) -> None:
    check = towers.check(averaged(towers, lambda output, y: output[:, number].sum()) / 128)

    assert (check.relation, check.target["class"]) == ("other_target", number)
    assert f"class {number} in every example, and not of the labelled class" in check.bug


def test_check_when_all_outputs_are_added_then_says_so(towers: Case) -> None:
    check = towers.check(averaged(towers, lambda output, y: output.sum()) / 128)

    assert (check.relation, check.method) == ("other_target", "gradient")
    assert "all outputs are added before backward()" in check.bug


def test_check_when_the_hook_is_on_the_activation_then_its_layer_is_named(towers: Case) -> None:
    check = towers.check(averaged(towers, layer="act") / 128)

    assert (check.layer, check.at, check.method, check.is_correct) == ("act", "output", "gradient", False)
    assert "the output of `act` (ReLU), and not the output of `mix` (Linear)" in check.bug


def test_check_when_the_tensor_is_detached_then_the_scores_are_zero(towers: Case) -> None:
    copies: list[Tensor] = []
    handle = towers.network.mix.register_forward_hook(
        lambda module, inputs, output: copies.append(output.detach().requires_grad_())
    )
    own_score(towers.network(towers.x), towers.y).backward()
    handle.remove()
    assert copies[0].grad is None

    check = towers.check(torch.zeros(24))

    assert (check.relation, check.method, check.corrected) == ("zero", None, None)
    assert "`requires_grad` was set on a detached copy" in check.bug


@pytest.mark.parametrize("is_training", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_check_when_eval_was_forgotten_then_no_candidate_is_named_but_the_layers_are(is_training: bool, dropped: Case) -> None:
    dropped.network.train()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        scores = averaged(dropped) / 128
    dropped.network.train(is_training)

    check = dropped.check(scores)

    dropped.network.eval()
    assert (check.relation, check.method) == ("none", None)
    assert "the most similar is `gradient`" in check.detail
    assert "Dropout" in check.bug
    assert ("is in training mode now" in check.bug) == is_training
    assert "model.eval()" in check.advice


def test_check_when_the_network_has_dropout_and_the_code_is_correct_then_the_scores_are_equal(dropped: Case) -> None:
    assert dropped.check(averaged(dropped) / 128).is_correct


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 10))])
def test_check_when_scores_are_random_then_no_candidate_is_named(seed: int, dropped: Case) -> None:
    check = dropped.check(np.random.default_rng(seed).normal(size=24))

    assert (check.relation, check.method, check.bug) == ("none", None, "")


def test_check_when_another_method_made_the_scores_then_no_candidate_is_named(towers: Case) -> None:
    """The norm of each unit's incoming weights, which looks at no example."""
    check = towers.check(towers.network.mix.weight.norm(dim=1))

    assert (check.relation, check.method, check.bug) == ("none", None, "")


def test_check_when_scores_are_of_clusters_then_they_are_compared_by_label(towers: Case) -> None:
    def only(label: int) -> Tensor:
        return averaged(towers, lambda output, y: output[y == label, label].sum()) / int((towers.y == label).sum())

    check = towers.check({str(label): only(label) for label in range(3)})

    assert check.is_correct
    assert [cluster.name for cluster in check.result.clusters] == ["0", "1", "2"]
