"""Exports a module in memory as an archive that the service accepts.

The written file is the cleaned archive, with a mark where the gradients were compared. The
service's own reader has accepted it on this machine.
It holds no stack traces and no example inputs, so the same network gives the same bytes on each
machine.

When the network cannot be exported, the error names the line of the model that causes it.

`archive` is the whole export. `arguments` reads the example inputs, `preparation` changes the
module until the export is over, `capture` records it, and `outputs` compares archive and module.
`reasons`, `lines` and `refusals` write the error.
"""

from unitrank_engine.models.exporting.archive import export
from unitrank_engine.models.exporting.arguments import ExampleInputs
from unitrank_engine.models.exporting.quiet import quiet

__all__ = ["ExampleInputs", "export", "quiet"]
