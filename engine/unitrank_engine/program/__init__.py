"""One form for every model: a graph of operators without side effects.

torch.export records a model as a graph, `torch.fx.Graph`. Each node of the graph calls one
operator, such as `aten.conv2d`, on the results of earlier nodes. A graph has no modules and no
Python control flow. Two entries of `node.meta` keep what the engine needs:

- `val`: a tensor without data that has the type and shape of the node's result. A size that is not
  fixed, such as that of the batch, is a symbol.
- `nn_module_stack`: the calls of modules that the node belongs to, which give a layer its name.

The main classes:

- `Program` holds the graph on one device, with the model's inputs, outputs and places.
- `Place` is a value of the graph that a job can rank, such as the output of layer `conv1`.
- `Split` cuts the graph at a place. The head computes the value h of the place from the inputs. The
  tail computes the output of the model from h.
"""

from unitrank_engine.program.places import Place
from unitrank_engine.program.program import Program, ProgramValue
from unitrank_engine.program.split import Split

__all__ = ["Place", "Program", "ProgramValue", "Split"]
