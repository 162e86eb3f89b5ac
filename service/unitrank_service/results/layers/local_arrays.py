"""The file with a result's arrays, for another process that opens it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unitrank_schemas.layer_arrays import names_of_layer
from unitrank_store.results.array_file import ArrayFile


@dataclass(frozen=True)
class LocalArrays:
    """A local file with arrays. `layer`: the layer whose arrays are read; None reads all.

    `layers`: the names of all parts of a layered result.
    """

    path: Path
    layer: str | None = None
    layers: Sequence[str] = ()

    def open(self) -> ArrayFile:
        """Return the arrays. Close the file."""
        return narrowed_to_layer(ArrayFile(self.path.open("rb")), self.layer, self.layers)


def narrowed_to_layer(arrays: ArrayFile, layer: str | None, layers: Sequence[str]) -> ArrayFile:
    """Return the file with the arrays of the layer only, see `names_of_layer`."""
    return arrays if layer is None else arrays.select(names_of_layer(layer, layers, arrays.arrays))
