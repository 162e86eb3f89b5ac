"""Reads examples of a dataset as inputs of the model."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unitrank_engine.errors import EngineError
from unitrank_engine.program import Program
from unitrank_schemas.jobs import JobRequest, Preprocess
from unitrank_tables import Table


@dataclass(frozen=True)
class Examples:
    """Reads rows of a table, cast and scaled for a model.

    `fields`: the name of the table's field for each input of the model.
    `labels_field`: the field with the labels, or None.
    """

    table: Table
    program: Program
    fields: dict[str, str]
    labels_field: str | None
    preprocess: Preprocess

    @classmethod
    def of(cls, table: Table, program: Program, request: JobRequest) -> "Examples":
        """The examples of a job, with the fields that its request names."""
        assert request.inputs is not None
        return cls(table, program, request.inputs, request.labels, request.preprocess)

    def inputs(self, rows: np.ndarray) -> tuple[Tensor, ...]:
        """The lifted inputs of the model for these rows, on its device.

        Raises EngineError `non_finite`.
        """
        return self.program.lift(tuple(self.prepare(name, self.fields[name], rows) for name in self.program.inputs))

    def prepare(self, name: str, field: str, rows: np.ndarray) -> Tensor:
        """The values of a field for the input `name`.

        They are cast to the input's type; a real-valued input then becomes (x·scale − mean)/std.

        Raises EngineError `non_finite`.
        """
        values = self.table.read(field, rows)
        dtype = self.program.inputs[name].dtype
        if not dtype.is_floating_point:
            return _to_device(values, self.program.device, dtype)
        tensor = _to_device(_castable(values), self.program.device, dtype)
        tensor = _scale(tensor, self.preprocess)
        _refuse_non_finite(field, rows, values, tensor)
        return tensor

    def labels(self, rows: np.ndarray) -> Tensor | None:
        """The labels of these rows as class numbers.

        None when the job has no labels, or labels that are neither integers nor booleans.
        """
        return None if self.labels_field is None else self.classes(self.labels_field, rows)

    def classes(self, field: str, rows: np.ndarray) -> Tensor | None:
        """The class numbers that a field has for these rows.

        None for a field that holds neither integers nor booleans.
        """
        values = self.table.read(field, rows)
        if values.dtype.kind not in "iub":
            return None
        return torch.from_numpy(values.astype(np.int64)).to(self.program.device)


def _to_device(values: np.ndarray, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The values as a tensor on the device.

    A GPU copies pinned memory while the processor continues.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, dtype, non_blocking=True)


def _castable(values: np.ndarray) -> np.ndarray:
    """The values in a type that torch can compute with.

    torch does not compute with uint16, uint32 and uint64.
    """
    return values.astype(np.float64) if values.dtype.kind == "u" and values.dtype.itemsize > 1 else values


def _refuse_non_finite(field: str, rows: np.ndarray, values: np.ndarray, tensor: Tensor) -> None:
    """Raises EngineError `non_finite` when a value is NaN or infinite.

    The message tells whether the dataset has that value, or whether preprocessing gave it.
    """
    if torch.isfinite(tensor).all():
        return
    first = int((~torch.isfinite(tensor)).nonzero()[0, 0])
    row = int(rows[first])
    where, dtype = f"field '{field}' is NaN or infinite in row {row}", str(tensor.dtype).removeprefix("torch.")
    if np.isfinite(values[first]).all():
        raise EngineError(
            "non_finite",
            f"{where} after preprocessing to {dtype}; inputs must be finite: check the size of its values, and scale, mean and std",
        )
    raise EngineError("non_finite", f"{where}; inputs must be finite: correct the dataset, or leave this row out of the clusters")


def _scale(tensor: Tensor, preprocess: Preprocess) -> Tensor:
    if preprocess.scale != 1.0:
        tensor = tensor * _along_axis_1(preprocess.scale, tensor)
    if preprocess.mean is not None:
        tensor = tensor - _along_axis_1(preprocess.mean, tensor)
    if preprocess.std is not None:
        tensor = tensor / _along_axis_1(preprocess.std, tensor)
    return tensor


def _along_axis_1(value: float | list[float], tensor: Tensor) -> Tensor:
    factors = torch.as_tensor(value, dtype=tensor.dtype, device=tensor.device)
    return factors if factors.dim() == 0 else factors.reshape(-1, *[1] * (tensor.dim() - 2))
