"""Keeps the effect of regions without gradients in an exported program."""

import torch
from torch import Tensor, fx

REGION = "wrap_with_set_grad_enabled"


def detach_regions(program: fx.GraphModule) -> None:
    """Detaches the results of each region without gradients; the regions are changed in place.

    A region is a separate graph. Decomposing the program inlines it, and with it its gradients.
    """
    for owner in [module for module in program.modules() if isinstance(module, fx.GraphModule)]:
        for node in owner.graph.nodes:
            if getattr(node.target, "__name__", "") == REGION and node.args[0] is False:
                region = owner.get_submodule(str(node.args[1].target))
                assert isinstance(region, fx.GraphModule)
                _detach_results(region)


def _detach_results(region: fx.GraphModule) -> None:
    end = region.graph.output_node()

    def detached(node: fx.Node) -> fx.Node:
        if not isinstance(node.meta.get("val"), Tensor):
            return node
        copy = region.graph.call_function(torch.ops.aten.detach.default, (node,))
        copy.meta = dict(node.meta)
        return copy

    with region.graph.inserting_before(end):
        end.args = fx.map_arg(end.args, detached)
    region.recompile()
