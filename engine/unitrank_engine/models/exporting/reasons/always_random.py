"""The error of a module that draws random numbers or averages over the batch in evaluation mode."""

from torch import fx
from torch.export import ExportedProgram

from unitrank_engine.errors import EngineError
from unitrank_engine.models.exporting.lines import line_of_stack
from unitrank_engine.models.exporting.refusals import Fault, refusal
from unitrank_engine.program.nodes import operator_name

STATISTICS = ("batch_norm", "instance_norm")


def always_random(exported: ExportedProgram, error: EngineError) -> EngineError:
    """The error with the layer or the user's line, and what to write there.

    `error`: the error of the program, whose advice is for archives.
    """
    named = [node for node in exported.graph.nodes if f"'{node.target}'" in error.detail]
    node = next((node for node in named if True in (*node.args, *node.kwargs.values())), named[0] if named else None)
    if node is None:
        return error
    operator, layer = operator_name(node).removeprefix("aten::"), _layer_of(node)
    averages = any(word in operator for word in STATISTICS)
    effect = "averages over the batch" if averages else "draws random numbers"
    where = f"layer {layer}" if layer and averages else f"'{operator}'"
    fault = Fault(f"{where} {effect} in evaluation mode too", _advice(averages, layer, operator))
    return EngineError(error.code, refusal(fault, line_of_stack(node)).detail)


def _advice(averages: bool, layer: str, operator: str) -> str:
    if averages and layer:
        return "create the layer with track_running_stats=True, and train it so"
    if averages:
        return "write training=self.training, and pass running_mean and running_var"
    if "attention" in operator:
        return "write dropout_p=p if self.training else 0.0"
    return f"write training=self.training: torch.nn.functional.{operator}(x, p, training=self.training)"


def _layer_of(node: fx.Node) -> str:
    """Path and class of the layer of torch that the node belongs to; empty for the user's code."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, kind = stack[-1] if stack else ("", "")
    name = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    return f"'{path}' ({name.rpartition('.')[2]})" if name.startswith("torch.nn.") else ""
