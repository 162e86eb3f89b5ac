"""Integer inputs keep their values, and the vectors that embeddings look up for them move."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.in_process import program_of, rank
from unitrank_engine.program import Program

T, D = 5, 8


class Tokens(nn.Module):
    """Words and positions, a mask that goes around all layers, attention and a dense head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.places = nn.Embedding(20, D), nn.Embedding(T, D)
        self.mix, self.act, self.head = nn.Linear(D, D), nn.Tanh(), nn.Linear(D, 3)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        h = self.words(ids) + self.places(torch.arange(T))
        weights = (h @ h.transpose(1, 2) / D).masked_fill(mask[:, None] == 0, -1e4).softmax(-1)
        h = self.act(self.mix(weights @ h))
        out: Tensor = self.head((h * mask[:, :, None]).sum(1))
        return out


@pytest.fixture(scope="module")
def tokens() -> Program:
    return program_of(Tokens(), torch.zeros(2, T, dtype=torch.long), torch.ones(2, T, dtype=torch.long))


RANDOM = np.random.default_rng(0)
IDS, MASK = RANDOM.integers(1, 20, size=(6, T)), (RANDOM.random((6, T)) > 0.3).astype(np.int64)
MASK[:, 0] = 1
FIELDS = {"ids": IDS, "mask": MASK, "pad": np.zeros((6, T), dtype=np.int64)}


def test_program_when_embeddings_look_up_ids_then_names_the_values_that_move(tokens: Program) -> None:
    assert tokens.path == ["words"]
    assert tokens.looked_up == ["ids"]
    assert [place.layer for place in tokens.places if place.at == "output"] == ["words", "mix", "act", "head"]


def test_output_when_the_looked_up_values_are_inputs_then_equals_the_output_of_the_model(tokens: Program) -> None:
    ids, mask = torch.from_numpy(IDS), torch.from_numpy(MASK)

    output = tokens.forward(tokens.lift((ids, mask)), "output")

    torch.testing.assert_close(output, Tokens().eval()(ids, mask))


@pytest.mark.parametrize("layer", ["words", "mix", "act"])
@pytest.mark.parametrize(
    "baseline", [{"kind": "zeros"}, {"kind": "mean"}, {"kind": "field", "field": "pad"}, {"kind": "example", "index": 1}]
)
def test_scores_when_a_mask_goes_around_the_layer_then_sum_to_the_change_all_the_same(
    layer: str, baseline: dict[str, object], tokens: Program, tmp_path: Path
) -> None:
    methods = [{"name": "conductance", "steps": 200}, "deeplift", {"name": "integrated_gradients", "steps": 200}]

    summary, _ = rank(
        tokens, tmp_path, FIELDS, layer, methods, baseline=baseline, target={"class": 1}, ablation=None, fidelity=None
    )

    assert summary["layer"]["cut"]
    gaps = [ranking["clusters"]["all"]["completeness"]["relative_gap"] for ranking in summary["rankings"]]
    assert max(gaps) <= 1e-3


def test_baseline_when_given_as_a_field_of_ids_then_has_the_vectors_of_these_ids(tokens: Program, tmp_path: Path) -> None:
    settings = {"baseline": {"kind": "field", "field": "pad"}, "target": {"class": 1}, "keep_examples": 6}
    _, arrays = rank(tokens, tmp_path, FIELDS, "words", ["gradient", "gradient_x_delta"], ablation=None, fidelity=None, **settings)

    net = Tokens()
    delta = (net.words(torch.from_numpy(IDS)) - net.words(torch.zeros(6, T, dtype=torch.long))).detach().numpy()
    np.testing.assert_allclose(
        arrays["examples/gradient_x_delta/all"], arrays["examples/gradient/all"] * delta, rtol=1e-5, atol=1e-7
    )


def test_noise_when_inputs_are_ids_then_is_added_to_the_looked_up_vectors(tokens: Program, tmp_path: Path) -> None:
    noisy = {"name": "gradient", "id": "noisy", "noise": {"samples": 3, "level": 0.5}}

    _, arrays = rank(
        tokens, tmp_path, FIELDS, "act", ["gradient", noisy], target={"class": 1, "score": "probability"}, ablation=None
    )

    assert not np.allclose(arrays["importance/gradient"], arrays["importance/noisy"])


class Sideways(nn.Module):
    """Has its tokens on axis 0 and its batch on axis 1, as recurrent layers do by default."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.words, self.mix, self.head = nn.Embedding(20, D), nn.Linear(D, D), nn.Linear(D, 3)

    def forward(self, ids: Tensor) -> Tensor:
        h = self.words(ids.t())
        weights = torch.arange(1.0, T + 1)[:, None, None]
        out: Tensor = self.head(torch.tanh((torch.tanh(self.mix(h)) * weights).sum(0)))
        return out


@pytest.mark.parametrize("rows", [T, 7])
@pytest.mark.parametrize("layer", ["words", "mix"])
def test_scores_when_the_batch_is_not_the_first_axis_of_looked_up_vectors_then_sum_to_the_change(
    layer: str, rows: int, tmp_path: Path
) -> None:
    module = Sideways().eval()
    ids = torch.from_numpy(np.random.default_rng(3).integers(1, 20, size=(rows, T)))
    methods = ["conductance", "integrated_gradients", "deeplift", "gradient_x_delta"]

    program = program_of(module, torch.zeros(3, T, dtype=torch.long))
    settings = {"baseline": {"kind": "mean"}, "target": {"class": 1}, "ablation": None, "fidelity": None, "keep_examples": rows}
    summary, _ = rank(program, tmp_path, {"ids": ids.numpy()}, layer, methods, **settings)

    with torch.no_grad():
        looked_up = module.words(ids)
        mean = looked_up.mean(0, keepdim=True)
        weights = torch.arange(1.0, T + 1)[None, :, None]
        f, f_mean = (module.head(torch.tanh((torch.tanh(module.mix(h)) * weights).sum(1)))[:, 1] for h in (looked_up, mean))
    for ranking in summary["rankings"][:3]:
        completeness = ranking["clusters"]["all"]["completeness"]
        assert completeness["expected"] == pytest.approx(float((f - f_mean).mean()), rel=1e-4)
        assert completeness["relative_gap"] < 1e-2
    torch.testing.assert_close(program.forward(program.lift((ids,)), "output")[:, 1], f)


def test_program_when_a_mask_is_looked_up_as_numbers_then_it_does_not_move() -> None:
    class Masked(Tokens):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("shut", torch.tensor([-1e4, 0.0]))

        def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
            h = self.words(ids)
            weights = (h @ h.transpose(1, 2) / D + self.shut[mask][:, None]).softmax(-1)
            out: Tensor = self.head((weights @ h).sum(1))
            return out

    model = program_of(Masked(), torch.zeros(2, T, dtype=torch.long), torch.ones(2, T, dtype=torch.long))

    assert model.path == ["words"]
    assert model.looked_up == ["ids"]


class Bag(nn.Module):
    """A bag of words, and a dense head."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.head = nn.EmbeddingBag(20, D, mode=mode), nn.Linear(D, 3)

    def forward(self, ids: Tensor) -> Tensor:
        out: Tensor = self.head(torch.tanh(self.words(ids)))
        return out


class Flattened(Bag):
    """The same model; its look-up has the words of all examples on one axis."""

    def forward(self, ids: Tensor) -> Tensor:
        vectors = nn.functional.embedding(ids.reshape(-1), self.words.weight).reshape(ids.shape[0], -1, D)
        bags = {"sum": vectors.sum(1), "mean": vectors.mean(1), "max": vectors.amax(1)}
        out: Tensor = self.head(torch.tanh(bags[self.words.mode]))
        return out


class Plain(Flattened):
    """The same model with an ordinary look-up."""

    def forward(self, ids: Tensor) -> Tensor:
        vectors = nn.functional.embedding(ids, self.words.weight)
        bags = {"sum": vectors.sum(1), "mean": vectors.mean(1), "max": vectors.amax(1)}
        out: Tensor = self.head(torch.tanh(bags[self.words.mode]))
        return out


@pytest.mark.parametrize("mode", ["sum", "mean", pytest.param("max", marks=pytest.mark.check)])
def test_a_bag_of_embeddings_has_the_scores_of_an_embedding_and_a_sum(mode: str, tmp_path: Path) -> None:
    scores = []
    methods = ["gradient_x_delta", "conductance", {"name": "deeplift", "rules": "rescale"}]
    for kind in (Plain, Flattened, Bag):
        program = program_of(kind(mode), torch.zeros(2, T, dtype=torch.long))

        options = {"ablation": None, "fidelity": None, "keep_examples": 6, "target": {"class": 1}, "at": "input"}
        summary, arrays = rank(program, tmp_path, {"ids": IDS}, "head", methods, **options)

        assert len(program.path) == 1
        assert program.looked_up == ["ids"]
        scores.append([arrays[f"examples/{ranking['id']}/all"] for ranking in summary["rankings"]])
    for other in scores[1:]:
        for got, expected in zip(other, scores[0], strict=True):
            assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()
            assert np.abs(expected).max() > 1e-3
