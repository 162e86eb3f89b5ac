"""Bounds the parts of a program, so that its inspection takes a time that fits its size.

The work of an inspection grows with the nodes, and with the layers times the outputs. A transformer
encoder of 12 layers has 423 nodes and 8 different symbolic sizes. An inspection of 12 000 nodes
takes more than 300 s: its time limit ends it, although the nodes are fewer than MAX_NODES.
"""

from collections.abc import Collection, Iterator

from unitrank_engine.archive.description.dead_code import expressions
from unitrank_engine.archive.description.graph import Graph
from unitrank_engine.archive.description.program import CleanProgram
from unitrank_engine.archive.errors import ArchiveError

MAX_NODES = 20_000
MAX_INPUTS = 256
MAX_OUTPUTS = 256
MAX_SYMBOLS = 256
MAX_EXPRESSIONS = 1000
MAX_CALLS = 64
"""Module calls around one node: the depth of nested modules."""
MAX_LAYERS = 20_000
MAX_SEEN = 100_000
"""Layers times outputs: the manifest says for each layer which outputs depend on it."""
MAX_NUMBERS = 1024
"""Numbers in one argument, such as the sizes of a shape."""


def check_counts(program: CleanProgram) -> None:
    """Raises ArchiveError `archive_too_large` for a count that no ordinary network reaches.

    Unused nodes must have been removed.
    """
    module = program.graph_module
    graph, signature = module.graph, module.signature
    calls = [_calls(node.metadata.get("nn_module_stack", "")) for node in graph.nodes]
    layers = len({call for stack in calls for call in stack})
    outputs = len(signature.output_specs)
    counts = {
        "nodes": (len(graph.nodes), MAX_NODES, "export a smaller network, or one with fewer repeated steps"),
        "inputs": (sum(spec.user_input is not None for spec in signature.input_specs), MAX_INPUTS, "pass fewer, larger tensors"),
        "outputs": (outputs, MAX_OUTPUTS, "return fewer, larger tensors"),
        "symbols": (len(program.range_constraints), MAX_SYMBOLS, "make only the batch dynamic"),
        "different symbolic sizes": (len(expressions(graph)), MAX_EXPRESSIONS, "make only the batch dynamic"),
        "nested module calls": (max(map(len, calls), default=0), MAX_CALLS, "nest fewer modules"),
        "module calls": (layers, MAX_LAYERS, "use fewer modules"),
        "pairs of module call and output": (layers * outputs, MAX_SEEN, "return fewer, larger tensors"),
        "numbers in one argument": (max(_lengths(graph), default=0), MAX_NUMBERS, "use a tensor for long lists of numbers"),
    }
    for part, (count, most, advice) in counts.items():
        if count > most:
            raise ArchiveError("archive_too_large", f"the program has {count} {part}; at most {most} are accepted: {advice}")


def _calls(stack: str) -> Collection[str]:
    """The keys of the module calls in a text of `key,path,class;key,path,class`."""
    return [call.partition(",")[0] for call in stack.split(";")] if stack else []


def _lengths(graph: Graph) -> Iterator[int]:
    """The number of numbers in each argument that is a list of numbers."""
    for node in graph.nodes:
        for named in node.inputs:
            numbers = named.arg.as_ints or named.arg.as_floats or named.arg.as_bools or named.arg.as_sym_ints or ()
            yield len(numbers)
