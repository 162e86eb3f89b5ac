"""Builds networks of the library Transformers from their configuration and weights.

The configuration is the content of `config.json`; the weights are a safetensors file. The library
loads nothing by a name that a configuration gives, neither from the disk nor from a hub. A
configuration that would load or run anything besides the library's own code is refused.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from unitrank_engine.models.exporting import quiet
from unitrank_engine.models.transformers_config import check_config
from unitrank_engine.models.weights import check, reshaping
from unitrank_schemas.checks import excerpt, nearest

Make = Callable[[dict[str, Tensor]], nn.Module]

WHOLE = ("SEQUENCE_CLASSIFICATION", "IMAGE_CLASSIFICATION", "AUDIO_CLASSIFICATION")
"""Tasks whose output is one row of classes for each example."""
TOKENWISE = ("CAUSAL_LM", "MASKED_LM", "TOKEN_CLASSIFICATION")
"""Tasks whose output is a row of classes for each token; a request chooses one token."""
LAST = "CAUSAL_LM"
"""The task whose output is taken at the last token, unless the request names a position."""
LENGTH = 128
"""Tokens of an example, at most, unless the request gives a shape."""
SIDE = 224
"""Pixels along a side of an image, when the configuration has no `image_size`."""
TOKENS = ("input_ids", "attention_mask", "token_type_ids")

DROPPED = ("dtype", "torch_dtype", "name_or_path")
"""Keys of a configuration that are ignored, besides keys that begin with an underscore.

The network computes in float32 for weights of any precision.
"""


@dataclass(frozen=True)
class ModelClass:
    """A class of the library and its task, such as `CAUSAL_LM`."""

    cls: Any  # a transformers.PreTrainedModel; Any, because the library is optional
    task: str


def build(
    # Any: a request can give values of any type.
    config: Any,
    shape: Any = None,
    position: Any = None,
    inputs: Any = None,
) -> tuple[Make, dict[str, Tensor]]:
    """The function that builds the network from its weights, and an example of its inputs.

    `config`: the content of `config.json`.
    `shape`: the shape of the main input without the batch. By default, token ids have the model's
        number of positions, at most 128, and images have the configuration's size.
    `position`: the index of the token whose output is explained, for a task with one output for
        each token. By default, a causal model uses the last token of the attention mask.
    `inputs`: names from `TOKENS` that the network takes.

    Raises ImportError without the library Transformers, ValueError for arguments that are refused.
    """
    if not isinstance(config, dict):
        raise ValueError(f"config is {excerpt(config)}; expected the content of config.json, a JSON object")
    check_config(config, "config")
    with quiet(), _offline():
        kind = _kind(config)
        settings = _settings(kind, config)
    _check_position(kind, position)
    examples = _examples(kind.cls, settings, shape, inputs)

    def with_weights(weights: dict[str, Tensor]) -> nn.Module:
        with quiet(), _offline():
            model = _filled(kind.cls, settings, weights)
        return model if kind.task in WHOLE else OneToken(model, position)

    return with_weights, examples


class OneToken(nn.Module):
    """The output of a model at one of its tokens. Its layers keep their names.

    `position`: the index of the token, or None for the last token of the attention mask.
    """

    def __init__(self, model: nn.Module, position: int | None) -> None:
        super().__init__()
        for name, part in model.named_children():
            self.add_module(name, part)
        # In a tuple, the model is not a submodule, so the names of its parts get no prefix.
        self._model = (model,)
        self._position = position

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The logits at the position. Without a position, at the last token that the mask marks."""
        given = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        logits = self._model[0](**{name: tensor for name, tensor in given.items() if tensor is not None}).logits
        if self._position is not None or attention_mask is None:
            return {"logits": logits[:, -1 if self._position is None else self._position]}
        positions = torch.arange(logits.shape[1], device=logits.device)
        last = (positions * (attention_mask != 0)).argmax(1)
        return {"logits": logits.gather(1, last[:, None, None].expand(-1, 1, logits.shape[2]))[:, 0]}


def _kind(config: Mapping[str, Any]) -> ModelClass:
    transformers, tasks = _library()
    model_type, names = config.get("model_type"), config.get("architectures")
    classes_by_task = {
        task: class_names[model_type]
        for task, class_names in tasks.items()
        if isinstance(model_type, str) and model_type in class_names
    }
    if not classes_by_task:
        model_types = sorted(set(chain.from_iterable(tasks.values())))
        raise ValueError(f"config.model_type {excerpt(model_type)} is not supported{nearest(str(model_type), model_types)}")
    for task, classes in classes_by_task.items():
        if isinstance(names, list) and len(names) == 1 and names[0] in classes:
            return ModelClass(getattr(transformers, names[0]), task)
    usable = ", ".join(sorted(set(chain.from_iterable(classes_by_task.values()))))
    raise ValueError(f"config.architectures is {excerpt(names)}; expected a list with one of {usable}, whose output is classes")


def _library() -> tuple[Any, dict[str, dict[str, tuple[str, ...]]]]:
    """The library, and the names of its classes by task and model type."""
    try:
        import transformers
        from transformers.models.auto import modeling_auto
    except ImportError as error:
        raise ImportError(f"Transformers is missing: pip install 'unitrank[transformers]' ({error})") from error
    mappings = {task: getattr(modeling_auto, f"MODEL_FOR_{task}_MAPPING_NAMES") for task in (*WHOLE, *TOKENWISE)}
    tasks = {
        task: {kind: (names,) if isinstance(names, str) else tuple(names) for kind, names in mapping.items() if "timm" not in kind}
        for task, mapping in mappings.items()
    }
    return transformers, tasks


def _settings(kind: ModelClass, config: Mapping[str, Any]) -> Any:
    """The library's object for the configuration, set to return logits without a cache."""
    transformers, _ = _library()
    settings = transformers.CONFIG_MAPPING[config["model_type"]].from_dict(_kept(config))
    settings.return_dict = True
    settings.use_cache = False
    return settings


def _kept(value: Any) -> Any:
    if isinstance(value, list):
        return [_kept(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _kept(item) for key, item in value.items() if not key.startswith("_") and key not in DROPPED}


def _check_position(kind: ModelClass, position: Any) -> None:
    if position is not None and (isinstance(position, bool) or not isinstance(position, int)):
        raise ValueError(f"position is {excerpt(position)}; expected the index of a token, such as 0 or -1")
    if position is not None and kind.task in WHOLE:
        raise ValueError(f"position is {position}, but {kind.cls.__name__} has one output for all tokens; leave position out")
    if position is None and kind.task in TOKENWISE and kind.task != LAST:
        raise ValueError(f"position is missing: {kind.cls.__name__} has one output for each token; give the index of a token")


def _examples(cls: Any, settings: Any, shape: Any, inputs: Any) -> dict[str, Tensor]:
    main = cls.main_input_name
    sizes = _sizes(main, settings, shape)
    if main != "input_ids":
        if inputs not in (None, [main]):
            raise ValueError(f"inputs is {excerpt(inputs)}; expected [{excerpt(main)}], the input of {cls.__name__}")
        return {main: torch.zeros(1, *sizes)}
    taken = [name for name in TOKENS if name in signature(cls.forward).parameters]
    names = [name for name in TOKENS[:2] if name in taken] if inputs is None else inputs
    if (
        not isinstance(names, list)
        or main not in names
        or len(set(map(str, names))) < len(names)
        or not set(map(str, names)) <= set(taken)
    ):
        raise ValueError(f"inputs is {excerpt(names)}; expected input_ids and any of {', '.join(taken[1:])}")
    # The ids are 0 and 1, which each embedding has.
    ids = (torch.arange(sizes[-1]) % 2).expand(1, *sizes)
    examples = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    return {name: examples[name] for name in TOKENS if name in names}


def _sizes(main: str, settings: Any, shape: Any) -> list[int]:
    if shape is None:
        shape = _default_shape(main, settings)
    if not isinstance(shape, list) or not shape or any(type(size) is not int or size < 1 for size in shape):
        raise ValueError(
            f"shape is {excerpt(shape)}; expected the sizes of one {main} without the batch, such as [128] or [3, 224, 224]"
        )
    if main == "input_ids" and len(shape) != 1:
        raise ValueError(f"shape is {excerpt(shape)}; expected one axis for token ids, such as [128]")
    return shape


def _default_shape(main: str, settings: Any) -> list[int]:
    if main == "input_ids":
        positions = getattr(settings, "max_position_embeddings", None)
        return [min(LENGTH, positions) if isinstance(positions, int) else LENGTH]
    if main == "pixel_values":
        side = getattr(settings, "image_size", None) or SIDE
        return [getattr(settings, "num_channels", None) or 3, *(side if isinstance(side, list | tuple) else (side, side))]
    raise ValueError(f"shape is missing: give the sizes of one {main} without the batch, such as [16000]")


def _filled(cls: Any, settings: Any, weights: dict[str, Tensor]) -> nn.Module:
    """The network with its weights, built by the library's loader.

    The loader knows the names that weights are saved under, and which of them are tied. Missing,
    unknown and reshaped weights raise EngineError `weights_refused`.
    """
    model, report = cls.from_pretrained(
        None,
        config=settings,
        state_dict=weights,
        dtype=torch.float32,
        # The other implementations use operators that are not on the allow-list.
        experts_implementation="batched_mm",
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
    )
    check(
        cls.__name__,
        missing=sorted(report["missing_keys"]),
        unknown=sorted(report["unexpected_keys"]),
        reshaped=[reshaping(*fault) for fault in sorted(report["mismatched_keys"])],
    )
    assert isinstance(model, nn.Module)
    return model.eval()


@contextmanager
def _offline() -> Iterator[None]:
    """Puts the library of the hub into offline mode, in which it opens no connection."""
    try:
        from huggingface_hub import constants
    except ImportError:
        # Without that library, there is no connection to prevent.
        yield
        return
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
