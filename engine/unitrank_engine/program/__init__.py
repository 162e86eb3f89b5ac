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

>>> import torch
>>> from torch import nn
>>> network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
>>> batch = torch.export.Dim("batch", min=1)
>>> example = torch.zeros(2, 4)
>>> exported = torch.export.export(network, (example,), dynamic_shapes=({0: batch},))
>>> program = Program.from_exported(exported)
>>> [(place.layer, place.shape) for place in program.places if place.at == "output"]
[('input', (4,)), ('0', (3,)), ('1', (3,)), ('2', (2,))]
>>> split = program.split(program.place("1", "output"), output="output")
>>> h, live = split.head((torch.ones(5, 4),))
>>> h.shape, split.tail(h, live).shape
(torch.Size([5, 3]), torch.Size([5, 2]))
"""

from unitrank_engine.program.places import Place
from unitrank_engine.program.program import Program, ProgramValue
from unitrank_engine.program.split import Split

__all__ = ["Place", "Program", "ProgramValue", "Split"]
