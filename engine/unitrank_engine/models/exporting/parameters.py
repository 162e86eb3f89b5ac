"""Relates the parameters of an archive to those of its module."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

Gradients = dict[str, Tensor]
"""Name of an input or parameter → its gradient."""


def has_gradient(parameter: Tensor) -> bool:
    return parameter.is_floating_point() or parameter.is_complex()


def differentiable(named: Sequence[tuple[str, nn.Parameter]]) -> Iterator[tuple[str, str]]:
    for name, parameter in named:
        if has_gradient(parameter):
            yield name, str(id(parameter))


def read_parameters(exported: ExportedProgram) -> set[str]:
    """Names of the parameters that an operator of the exported graph reads."""
    names = exported.graph_signature.inputs_to_parameters
    return {names[node.name] for node in exported.graph.nodes if node.op == "placeholder" and node.users and node.name in names}


def by_name(module: nn.Module, keys: dict[str, str], gradients: Gradients, read: set[str]) -> Gradients:
    """The gradients of the module's parameters; a parameter with several names has their sum.

    `read`: parameters that the exported graph reads. One of them that the program lacks is left
    out: the program computed constants from it, as from the weight of a batch norm.
    """
    names: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    sums: Gradients = {}
    for name, parameter in module.named_parameters():
        parts = {keys[each] for each in names[id(parameter)] if each in keys}
        if not parts and not read.isdisjoint(names[id(parameter)]):
            continue
        sums[name] = sum((gradients[part] for part in parts), start=torch.zeros_like(parameter)).detach()
    return sums
