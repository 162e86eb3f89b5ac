"""Networks that torch exports only with help: keywords, caches, fixed sizes, unused values."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointFunction, checkpoint

from unitrank_engine.archive import load
from unitrank_engine.models.exporting import export
from unitrank_engine.program import Program

pytestmark = pytest.mark.check


def program_of(module: nn.Module, examples: Any, path: Path) -> Program:
    export(module, examples, path / "net.pt2")
    return Program.from_exported(load(path / "net.pt2"))


class Keywords(nn.Module):
    """Takes its inputs by any name."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 2)

    def forward(self, **given: Any) -> Tensor:
        output: Tensor = self.net(given["x"] - given["mean"])
        return output


class Mixed(nn.Module):
    """Has every kind of parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 2)

    def forward(self, first: Tensor, *rest: Tensor, factor: float = 1.0, **more: Tensor) -> Tensor:
        output: Tensor = self.net(first + sum(rest) + more["last"]) * factor
        return output


class Starred(nn.Module):
    """Passes each argument on."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Mixed()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.inner(*args, **kwargs)


class Checkpointed(nn.Module):
    """Computes its hidden layer again in the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.last = nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.last(checkpoint(lambda h: self.act(self.first(h)), x, use_reentrant=True))
        return output


def test_export_of_a_checkpoint_has_the_gradients_of_its_function(tmp_path: Path) -> None:
    before = CheckpointFunction.apply

    manifest = export(Checkpointed(), torch.randn(2, 4), tmp_path / "net.pt2")

    assert manifest.gradients == "checked"
    assert CheckpointFunction.apply == before


def test_export_of_any_keywords_names_the_inputs_by_them(tmp_path: Path) -> None:
    module = Keywords()
    x, mean = torch.randn(5, 4), torch.randn(5, 4)

    program = program_of(module, {"x": torch.randn(2, 4), "mean": torch.randn(2, 4)}, tmp_path)

    assert list(program.inputs) == ["x", "mean"]
    torch.testing.assert_close(program.forward((x, mean), "output"), module.net(x - mean).detach())
    assert "forward" not in vars(module)


@pytest.mark.parametrize("module", [Mixed(), Starred()], ids=["mixed", "starred"])
def test_export_of_keywords_beside_a_forward_of_the_instance_restores_it(module: nn.Module, tmp_path: Path) -> None:
    forward = module.forward
    module.forward = forward  # type: ignore[method-assign]  # as a library that patches its users' models

    program = program_of(module, {"first": torch.randn(2, 4), "last": torch.randn(2, 4)}, tmp_path)

    assert len(program.inputs) == 2
    assert vars(module)["forward"] is forward


def test_export_of_arguments_in_order_for_starred_parameters_takes_each(tmp_path: Path) -> None:
    class Sum(nn.Module):
        def forward(self, *terms: Tensor) -> Tensor:
            return terms[0] + 2 * terms[1]

    x, y = torch.randn(3, 4), torch.randn(3, 4)

    program = program_of(Sum(), (torch.randn(2, 4), torch.randn(2, 4)), tmp_path)

    torch.testing.assert_close(program.forward((x, y), "output"), x + 2 * y)


class Prefixed(nn.Module):
    """Reads the number of rows with len, as some libraries do."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.head = nn.Parameter(torch.randn(1, 1, 4)), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        rows = torch.cat([self.token.expand(len(x), -1, -1), x.unsqueeze(1)], 1)
        output: Tensor = self.head(rows.mean(1))
        return output


def test_export_of_a_network_that_reads_len_runs_at_any_batch_size(tmp_path: Path) -> None:
    module = Prefixed()
    x = torch.randn(7, 4)

    program = program_of(module, torch.randn(2, 4), tmp_path)

    torch.testing.assert_close(program.forward((x,), "output"), module(x).detach())
    assert [place.layer for place in program.places if place.at == "output"] == ["input", "head"]


class Unused(nn.Module):
    """Makes a tensor of unset memory that nothing reads."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        torch.empty(x.shape[0], 3).relu()
        output: Tensor = self.linear(x)
        return output


def test_export_leaves_out_values_that_nothing_reads(tmp_path: Path) -> None:
    program = program_of(Unused(), torch.randn(2, 4), tmp_path)

    assert [place.layer for place in program.places if place.at == "output"] == ["input", "linear"]


@pytest.mark.parametrize("with_config", [True, False], ids=["the model's own", "called by the user"])
def test_export_of_a_model_that_keeps_a_cache_sets_the_cache_aside(with_config: bool, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 20, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 8, "pad_token_id": 0}
    tokens = {"bos_token_id": 1, "eos_token_id": 1}
    model = transformers.GPT2Model(transformers.GPT2Config(**sizes, **tokens))

    class Caching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Tensor) -> Any:
            return tuple(self.model(input_ids, use_cache=True, return_dict=False))

    ids = torch.randint(2, 20, (2, 6))

    program = program_of(model if with_config else Caching(), {"input_ids": ids}, tmp_path)

    assert len(program.outputs) == 1
    assert model.config.use_cache is True
    expected = model.eval()(input_ids=ids).last_hidden_state.detach()
    torch.testing.assert_close(program.forward(program.lift((ids,)), next(iter(program.outputs))), expected)


@pytest.mark.parametrize("way", ["grouped_mm", "eager"])
def test_export_of_a_mixture_of_experts_computes_it_by_operators_of_torch(way: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 20, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1, "max_position_embeddings": 8}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "num_local_experts": 3, "num_experts_per_tok": 2}
    model = transformers.MixtralModel(transformers.MixtralConfig(**sizes, **heads)).eval()
    model.set_experts_implementation(way)
    ids = torch.randint(2, 20, (2, 6), generator=torch.Generator().manual_seed(0))

    program = program_of(model, {"input_ids": ids}, tmp_path)

    assert model.config._experts_implementation == way
    expected = model(input_ids=ids).last_hidden_state.detach()
    torch.testing.assert_close(program.forward(program.lift((ids,)), next(iter(program.outputs))), expected)
