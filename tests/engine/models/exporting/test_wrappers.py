"""Wrappers around a network are taken off for the export, and put back."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from unitrank_engine.archive import load
from unitrank_engine.models.exporting import export
from unitrank_engine.models.exporting.preparation.wrappers import inner_of
from unitrank_engine.program import Program

pytestmark = pytest.mark.check


def layers(module: nn.Module, path: Path) -> list[str]:
    return [layer.name for layer in export(module, torch.randn(2, 4), path / "net.pt2").layers]


def plain() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))


class Classifier(nn.Module):
    """A network whose feature extractor is wrapped."""

    def __init__(self, wrap: Callable[[nn.Module], nn.Module]) -> None:
        super().__init__()
        self.features, self.head = wrap(nn.Sequential(nn.Linear(4, 6), nn.ReLU())), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.head(self.features(x))
        return output


def compiled(module: nn.Module) -> nn.Module:
    """The module as `torch.compile` returns it, with the backend that needs no compiler."""
    wrapper: nn.Module = torch.compile(module, backend="eager")
    return wrapper


WRAPS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "data_parallel": nn.DataParallel,
    "compiled": compiled,
    "averaged": torch.optim.swa_utils.AveragedModel,
    "both": lambda module: compiled(nn.DataParallel(module)),
}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_export_of_a_wrapped_network_names_layers_without_prefix(wrap: Callable[[nn.Module], nn.Module], tmp_path: Path) -> None:
    assert layers(wrap(plain()), tmp_path) == ["input", "0", "1", "2"]


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_export_of_a_network_with_a_wrapped_part_puts_the_part_back(wrap: Callable[[nn.Module], nn.Module], tmp_path: Path) -> None:
    module = Classifier(wrap)
    part = module.features

    assert layers(module, tmp_path) == ["input", "features.0", "features.1", "features", "head"]
    assert module.features is part


def test_export_of_a_network_that_was_compiled_in_place_keeps_it_compiled(tmp_path: Path) -> None:
    module = plain()
    module.compile(backend="eager")
    call = module._compiled_call_impl

    assert layers(module, tmp_path) == ["input", "0", "1", "2"]
    assert module._compiled_call_impl is call


def test_export_of_a_network_that_calls_a_compiled_function_runs_the_function_as_written(tmp_path: Path) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.double = nn.Linear(4, 3), torch.compile(lambda h: torch.relu(h) * 2, backend="eager")

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.double(self.a(x))
            return output

    assert layers(Net(), tmp_path) == ["input", "a"]


def test_export_keeps_a_wrapper_with_a_hook_because_the_hook_changes_the_output(tmp_path: Path) -> None:
    inner = nn.Linear(4, 3)
    module = nn.DataParallel(inner)
    module.register_forward_hook(lambda part, given, output: 2 * output)
    x = torch.randn(5, 4)

    export(module, torch.randn(2, 4), tmp_path / "net.pt2")

    program = Program.from_exported(load(tmp_path / "net.pt2"))
    torch.testing.assert_close(program.forward((x,), "output"), 2 * inner(x).detach())


def test_export_of_a_network_for_distributed_training_names_layers_without_prefix(tmp_path: Path) -> None:
    distributed = torch.distributed
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        module = nn.parallel.DistributedDataParallel(plain())

        assert layers(module, tmp_path) == ["input", "0", "1", "2"]
    finally:
        distributed.destroy_process_group()


def as_class_of(library: str, name: str, **attributes: object) -> type[nn.Module]:
    """A class with the name and module of a library's class, which need not be installed."""
    return type(name, (nn.Module,), {"__module__": library, **attributes})


def test_inner_of_an_adapted_network_is_the_base_with_its_adapters() -> None:
    """The library PEFT wraps twice: PeftModel around a tuner, and the tuner around the network."""
    base = plain()
    tuner = as_class_of("peft.tuners.tuners_utils", "BaseTuner")()
    tuner.model = base
    wrapper = as_class_of("peft.peft_model", "PeftModel")()
    wrapper.base_model = tuner

    assert inner_of(wrapper) is base


def test_inner_of_a_network_with_a_learned_prompt_is_the_whole_wrapper() -> None:
    wrapper = as_class_of("peft.peft_model", "PeftModel")()
    wrapper.base_model = plain()

    assert inner_of(wrapper) is wrapper
