"""Recognises what users pass instead of a network, and answers with the next step."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from unitrank_engine.archive import ArchiveError
from unitrank_engine.archive.reader import open_archive
from unitrank_engine.models.exporting.refusals import Fault, refusal

EXPECTED = "pass the torch.nn.Module itself"
QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.nn.quantized", "torchao.", "bitsandbytes.")
"""Beginnings of the modules whose classes compute with quantised weights."""
LIBRARIES = {
    "keras": "a Keras model",
    "tensorflow": "a TensorFlow model",
    "jax": "a JAX object",
    "flax": "a Flax module",
    "onnx": "an ONNX model",
    "onnxruntime": "an ONNX session",
    "sklearn": "a scikit-learn estimator",
    "xgboost": "an XGBoost model",
    "lightgbm": "a LightGBM model",
}


def check_module(module: object) -> nn.Module:
    """The module, if torch may be able to export it.

    Raises EngineError `not_exportable` unless `module` is an ordinary network."""
    if not isinstance(module, nn.Module):
        raise refusal(_of_object(module))
    for path, part in module.named_modules():
        fault = _of_part(path, part)
        if fault is not None:
            raise refusal(fault)
    return module


def _of_object(value: object) -> Fault:
    """The fault of an object that is not a module."""
    if isinstance(value, type) and issubclass(value, nn.Module):
        return Fault(f"{value.__name__} is a class", f"create the network first: {value.__name__}(…)")
    if isinstance(value, str | Path):
        return _of_path(Path(value))
    if isinstance(value, Mapping) and any(_is_state_dict(each) for each in (value, *value.values())):
        return Fault(
            "a state dict holds weights and no network",
            "build the network in Python, call network.load_state_dict(…), and pass the network",
        )
    if isinstance(value, torch.export.ExportedProgram):
        return Fault(
            "it is an exported program already",
            "pass the torch.nn.Module that it was exported from, or write it with torch.export.save and upload that file",
        )
    library = LIBRARIES.get(type(value).__module__.partition(".")[0])
    if library:
        return Fault(f"{library} is not a network of PyTorch", "build the network as a torch.nn.Module with the same weights")
    if callable(value):
        return Fault(
            f"a {type(value).__name__} is not a torch.nn.Module", "write a torch.nn.Module whose forward calls it, and pass that"
        )
    return Fault(f"an object of type {type(value).__name__} cannot be exported; expected a torch.nn.Module", EXPECTED)


def _is_state_dict(value: object) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(each, Tensor) for each in value.values())


def _of_path(path: Path) -> Fault:
    if not path.is_file():
        return Fault(f"a path cannot be exported, and {path.name} is not a file; expected a torch.nn.Module", EXPECTED)
    try:
        with open_archive(path):
            return Fault(f"{path.name} is an archive already", "upload it as it is: client.models.put(name, path)")
    except ArchiveError as error:
        return Fault(f"{path.name} is a file, not a torch.nn.Module", error.detail)


def _of_part(path: str, part: nn.Module) -> Fault | None:
    """The fault of a part that torch cannot export, regardless of its code."""
    kind = type(part).__name__
    name = f"layer '{path}' ({kind})" if path else f"the network ({kind})"
    if isinstance(part, torch.jit.ScriptModule):
        return Fault(f"{name} is TorchScript, which holds no Python code", "pass the torch.nn.Module that it was made from")
    tensors = (type(tensor).__module__ for tensor in part.parameters(recurse=False))
    if type(part).__module__.startswith(QUANTISED) or any(module.startswith(QUANTISED) for module in tensors):
        return Fault(f"{name} is quantised: quantised layers cannot be exported", "export the float network")
    if any(nn.parameter.is_lazy(tensor) for tensor in part.parameters(recurse=False)):
        return Fault(f"{name} has no sizes yet", "run the network once on the example inputs, and export it then")
    return None
