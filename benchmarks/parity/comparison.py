"""Exports one architecture and compares every method at a few places with plain formulas.

The record of an architecture has the same fields in each run; its errors have one digit, so that a
repeated run changes little.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tests.engine.architectures.catalogue import CATALOGUE, Entry
from tests.engine.architectures.zoo import COUNT, Architecture
from tests.engine.in_process import rank

from benchmarks.parity.errors import (
    ALONE,
    DEEPLIFT_GAP,
    ERROR,
    GAP,
    PATH_WARNINGS,
    TINY,
    Scores,
    above,
    errors_of,
    gap_of,
    rounded,
    same_units,
    sample,
    scales_of,
    scores_of,
    unresolved,
)
from benchmarks.parity.places import Values, chosen, compare_values
from benchmarks.parity.reference import STEPS, Reference
from unitrank import ExportRefused, export
from unitrank_engine.archive import load
from unitrank_engine.errors import EngineError
from unitrank_engine.job import batch_size
from unitrank_engine.program import Program
from unitrank_schemas.models import Layer, Manifest

Record = dict[str, Any]
"""The result of an architecture as JSON values."""

ROUNDINGS = 8
"""Roundings of an output in float32."""
PLAIN = ("activation", "gradient", "gradient_x_activation", "gradient_x_delta", "exact_ablation")
PATHS = ("conductance", "internal_influence", "integrated_gradients")
RULES = ("rescale", "reveal_cancel", "default")
ELEMENTWISE = {"ReLU", "ELU", "GELU", "SiLU", "Tanh", "Sigmoid", "LeakyReLU", "PReLU", "Hardswish"}


def record_of(name: str, folder: Path) -> Record:
    """Try one architecture. Files are written to `folder`."""
    entry = CATALOGUE[name]
    head = {"name": name, "family": entry.family, "source": entry.source}
    net = entry.build()
    try:
        # Another copy of the module: some modules keep tensors of the export's passes.
        manifest = export(entry.build().module, net.inputs, folder / "model.pt2")
    except ExportRefused as error:
        code, why = entry.refused or ("", "")
        truly = {"truly": why} if code == error.code else {}
        return head | {"outcome": "refused", "code": error.code, "reason": _reason(error.detail)} | truly
    except Exception as error:
        return head | {"outcome": "failed", "reason": _reason(f"{type(error).__name__}: {error}")}
    program = Program.from_exported(load(folder / "model.pt2"))
    return head | {"outcome": "exported"} | Comparison(entry, net, manifest, program, folder).record()


def _reason(text: str) -> str:
    """The first line of a message, without folders of this machine."""
    return re.sub(r"/\S+/(?=\w+/)", "", text.splitlines()[0])[:200] if text else ""


@dataclass(frozen=True)
class Comparison:
    """An exported architecture, beside its eager module."""

    entry: Entry
    net: Architecture
    manifest: Manifest
    program: Program
    folder: Path

    def record(self) -> Record:
        values = compare_values(self.net, self.program, self.manifest)
        return {
            "layers": len(self.manifest.layers),
            "compared": values.compared,
            "differing": values.differing,
            "channels": values.channels,
            "places": [self.place(layer, values) for layer in chosen(self.manifest, self.program, values)],
            "elementwise": self.elementwise(values),
        }

    def elementwise(self, values: Values) -> Record | None:
        """DeepLIFT (Rescale) before an elementwise activation that only linear operations follow.

        The score of a unit is there the change of the activation's output times its gradient.
        """
        for layer in self.manifest.layers:
            if layer.kind not in ELEMENTWISE or layer.name not in values.spots or not (layer.cut and layer.input_cut):
                continue
            before, after = (self.program.place(layer.name, at) for at in ("input", "output"))
            linear = self.program.split(after, next(iter(self.program.outputs))).linear
            if linear and before.node is not after.node and len(before.node.users) == 1:
                want = self.expected(layer, values, torch.float64)["gradient_x_delta"]
                _, arrays = self.job(layer, [{"name": "deeplift", "rules": "rescale", "id": "rescale"}], at="input")
                error = errors_of(scores_of(arrays), {"rescale": want}, {"rescale": max(float(np.abs(want).max()), TINY)})
                return {"layer": layer.name, "error": rounded(error["rescale"])}
        return None

    def place(self, layer: Layer, values: Values) -> Record:
        """The worst error of a place, and the differences that must be small."""
        place = {"layer": layer.name, "cut": layer.cut, "units": layer.units}
        methods = self._methods(layer)
        try:
            summary, together = self.job(layer, methods)
            with rows_at_once(1):
                _, alone = self.job(layer, methods)
            zeros = self.zeros(layer) if layer.cut else {"rankings": [], "warnings": []}
        except EngineError as error:
            return place | {"failed": f"{error.code}: {_reason(error.detail)}"}
        want = self.expected(layer, values, torch.float64)
        got, scales = scores_of(together), scales_of(scores_of(together), want)
        errors = errors_of(same_units(got, want), want, scales)
        if layer.cut and any(warning["code"] == "last_hidden_layer" for warning in summary["warnings"]):
            errors |= errors_of(got, dict.fromkeys(RULES, want["gradient_x_delta"]), scales)
        apart = errors_of(scores_of(alone), got, scales)
        own: dict[str, float] = {}
        if max(errors.values()) > ERROR or max(apart.values()) > ALONE:
            own = errors_of(self.expected(layer, values, torch.float32), want, scales)
            own["exact_ablation"] = max(own["exact_ablation"], self._rounding() / scales["exact_ablation"])
        method = max(errors, key=lambda name: errors[name])
        return place | {
            "method": method,
            "error": rounded(errors[method]),
            "float32": rounded(own.get(method, 0.0)),
            "alone": rounded(max(apart.values())),
            "deeplift_gap": rounded(gap_of(summary, RULES)),
            "path_gap": rounded(gap_of(zeros, ("conductance",))),
            "warnings": sorted({warning["code"] for warning in zeros["warnings"]} & PATH_WARNINGS),
            "faults": [
                *above(errors, own, ERROR, "differs from float64 by"),
                *above(apart, own, ALONE, "of one example alone differs by"),
                *unresolved(summary, RULES, DEEPLIFT_GAP),
                *unresolved(zeros, ("conductance", "deeplift"), GAP),
            ],
        }

    def zeros(self, layer: Layer) -> dict[str, Any]:
        """The summary of a job with the baseline `zeros` and the default steps."""
        return self.job(layer, ["conductance", "deeplift"], baseline={"kind": "zeros"})[0]

    def _rounding(self) -> float:
        """The error of a difference of two outputs in float32."""
        return ROUNDINGS * float(np.finfo(np.float32).eps) * float(self.net.run().abs().max())

    def job(self, layer: Layer, methods: list[Any], **request: Any) -> tuple[dict[str, Any], Scores]:
        fields = {name: values.numpy() for name, values in self.net.inputs.items()}
        options: dict[str, Any] = {
            "target": self.entry.target,
            "baseline": {"kind": "mean"},
            "ablation": None,
            "fidelity": None,
            "keep_examples": COUNT,
        }
        return rank(self.program, self.folder, fields, layer.name, methods, **(options | request))

    def expected(self, layer: Layer, values: Values, dtype: torch.dtype) -> Scores:
        """The plain scores of all examples by method."""
        path = [name for name in self.manifest.path or () if name not in self.net.inputs]
        place = self.program.place(layer.name, "output")
        axes = [axis for axis in range(len(place.shape) + 1) if axis != place.batch_axis]
        space = [axis for index, axis in enumerate(axes) if index != layer.channel_axis] if layer.channels else []
        reference = Reference(self.net, values.spots[layer.name], path=path, space=space, reduce=self.entry.reduce, dtype=dtype)
        rows = [reference.scores(row, sample(layer.units)) for row in range(COUNT)]
        return {name: np.stack([scores[name].double().numpy() for scores in rows]) for name in rows[0]}

    def _methods(self, layer: Layer) -> list[Any]:
        paths = [{"name": name, "steps": STEPS, "spacing": "uniform", "id": name} for name in PATHS]
        deeplift = [{"name": "deeplift", "rules": rules, "id": rules} for rules in RULES]
        return [*PLAIN, *paths, *deeplift, *(["grad_cam"] if layer.channels and len(layer.shape) > 1 else [])]


@contextmanager
def rows_at_once(rows: int) -> Iterator[None]:
    """Passes of this number of rows during the block."""
    before = batch_size.LIMITS["cpu"]
    batch_size.LIMITS["cpu"] = (rows, rows)
    try:
        yield
    finally:
        batch_size.LIMITS["cpu"] = before
