"""Networks of the library Transformers by their configuration: `config.json` is an argument, the weights are a safetensors file.

Nothing is looked up by a name that a configuration gives, neither on the disk nor on a hub: what would load or run something
beside the library's own code is refused.
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
from unitrank_schemas.checks import nearest, shown

Make = Callable[[dict[str, Tensor]], nn.Module]

WHOLE = ("SEQUENCE_CLASSIFICATION", "IMAGE_CLASSIFICATION", "AUDIO_CLASSIFICATION")
"""Tasks whose answer is one row of classes an example."""
TOKENWISE = ("CAUSAL_LM", "MASKED_LM", "TOKEN_CLASSIFICATION")
"""Tasks whose answer is such a row for every token, of which one is chosen."""
LAST = "CAUSAL_LM"
"""The task whose answer is at the last token, unless another is asked for."""
LENGTH = 128
"""Tokens of an example, at most, unless another length is asked for."""
SIDE = 224
"""Pixels of an image's side where the configuration says none."""
TOKENS = ("input_ids", "attention_mask", "token_type_ids")

DROPPED = ("dtype", "torch_dtype", "name_or_path")
"""Beside names that begin with an underscore. All is computed in float32, whatever the weights are kept in."""


@dataclass(frozen=True)
class ModelClass:
    """A class of the library, and the task that it is for."""

    cls: Any  # transformers.PreTrainedModel: the library is an extra
    task: str


def build(
    # whatever a request says
    config: Any,
    shape: Any = None,
    position: Any = None,
    inputs: Any = None,
) -> tuple[Make, dict[str, Tensor]]:
    """What makes the network from its weights, and an example of its inputs.

    `config` is what `config.json` holds. `shape` is that of the main input without the batch; without it token ids are as many as
    the model has positions, 128 at most, and images as large as the configuration says. `position` is the token whose answer
    counts, where there is one for every token; without it that of a causal model is the last one of the attention mask. `inputs`
    chooses among the names of `TOKENS`.

    Raises ImportError where Transformers is not installed, ValueError with what is not let in.
    """
    if not isinstance(config, dict):
        raise ValueError(f"config is {shown(config)}; expected what config.json holds, a JSON object")
    check_config(config, "config")
    with quiet(), _offline():
        kind = _kind(config)
        settings = _settings(kind, config)
    _check_position(kind, position)
    examples = _examples(kind.cls, settings, shape, inputs)

    def make(weights: dict[str, Tensor]) -> nn.Module:
        with quiet(), _offline():
            model = _filled(kind.cls, settings, weights)
        return model if kind.task in WHOLE else OneToken(model, position)

    return make, examples


class OneToken(nn.Module):
    """What a model answers at one of its tokens; the parts keep their names."""

    def __init__(self, model: nn.Module, position: int | None) -> None:
        super().__init__()
        for name, part in model.named_children():
            self.add_module(name, part)
        # in a tuple it is no part of this one
        self._model = (model,)
        self._position = position

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The logits at the position; without one at the last token that the mask attends to."""
        given = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        logits = self._model[0](**{name: tensor for name, tensor in given.items() if tensor is not None}).logits
        if self._position is not None or attention_mask is None:
            return {"logits": logits[:, -1 if self._position is None else self._position]}
        places = torch.arange(logits.shape[1], device=logits.device)
        last = (places * (attention_mask != 0)).argmax(1)
        return {"logits": logits.gather(1, last[:, None, None].expand(-1, 1, logits.shape[2]))[:, 0]}


def _kind(config: Mapping[str, Any]) -> ModelClass:
    transformers, tasks = _library()
    model_type, names = config.get("model_type"), config.get("architectures")
    here = {
        task: class_names[model_type]
        for task, class_names in tasks.items()
        if isinstance(model_type, str) and model_type in class_names
    }
    if not here:
        model_types = sorted(set(chain.from_iterable(tasks.values())))
        raise ValueError(
            f"config.model_type {shown(model_type)} is none that the service can use{nearest(str(model_type), model_types)}"
        )
    for task, classes in here.items():
        if isinstance(names, list) and len(names) == 1 and names[0] in classes:
            return ModelClass(getattr(transformers, names[0]), task)
    usable = ", ".join(sorted(set(chain.from_iterable(here.values()))))
    raise ValueError(f"config.architectures is {shown(names)}; expected a list with one of {usable}: they answer with classes")


def _library() -> tuple[Any, dict[str, dict[str, tuple[str, ...]]]]:
    """The library, and by task and type of model its classes."""
    try:
        import transformers
        from transformers.models.auto import modeling_auto
    except ImportError as error:
        raise ImportError(f"Transformers is missing: pip install 'unitrank[transformers]' ({error})") from error
    found = {task: getattr(modeling_auto, f"MODEL_FOR_{task}_MAPPING_NAMES") for task in (*WHOLE, *TOKENWISE)}
    tasks = {
        task: {kind: (names,) if isinstance(names, str) else tuple(names) for kind, names in made.items() if "timm" not in kind}
        for task, made in found.items()
    }
    return transformers, tasks


def _settings(kind: ModelClass, config: Mapping[str, Any]) -> Any:
    """The library's own object of the configuration, for answers alone."""
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
        raise ValueError(f"position is {shown(position)}; expected the index of a token")
    if position is not None and kind.task in WHOLE:
        raise ValueError(f"position is {position}, but {kind.cls.__name__} has one answer for all tokens")
    if position is None and kind.task in TOKENWISE and kind.task != LAST:
        raise ValueError(f"{kind.cls.__name__} has an answer for every token: position must say the index of the one that counts")


def _examples(cls: Any, settings: Any, shape: Any, inputs: Any) -> dict[str, Tensor]:
    main = cls.main_input_name
    sizes = _sizes(main, settings, shape)
    if main != "input_ids":
        if inputs not in (None, [main]):
            raise ValueError(f"inputs is {shown(inputs)}; the input of {cls.__name__} is [{shown(main)}]")
        return {main: torch.zeros(1, *sizes)}
    taken = [name for name in TOKENS if name in signature(cls.forward).parameters]
    names = [name for name in TOKENS[:2] if name in taken] if inputs is None else inputs
    if (
        not isinstance(names, list)
        or main not in names
        or len(set(map(str, names))) < len(names)
        or not set(map(str, names)) <= set(taken)
    ):
        raise ValueError(f"inputs is {shown(names)}; expected input_ids and any of {', '.join(taken[1:])}")
    # ids 0 and 1, which every table has
    ids = (torch.arange(sizes[-1]) % 2).expand(1, *sizes)
    made = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    return {name: made[name] for name in TOKENS if name in names}


def _sizes(main: str, settings: Any, shape: Any) -> list[int]:
    if shape is None:
        shape = _usual(main, settings)
    if not isinstance(shape, list) or not shape or any(type(size) is not int or size < 1 for size in shape):
        raise ValueError(
            f"shape is {shown(shape)}; expected the sizes of one {main} without the batch, such as [128] or [3, 224, 224]"
        )
    if main == "input_ids" and len(shape) != 1:
        raise ValueError(f"shape is {shown(shape)}; token ids have one axis, such as [128]")
    return shape


def _usual(main: str, settings: Any) -> list[int]:
    if main == "input_ids":
        positions = getattr(settings, "max_position_embeddings", None)
        return [min(LENGTH, positions) if isinstance(positions, int) else LENGTH]
    if main == "pixel_values":
        side = getattr(settings, "image_size", None) or SIDE
        return [getattr(settings, "num_channels", None) or 3, *(side if isinstance(side, list | tuple) else (side, side))]
    raise ValueError(f"shape is missing: the sizes of one {main} without the batch, such as [16000]")


def _filled(cls: Any, settings: Any, weights: dict[str, Tensor]) -> nn.Module:
    """The library's own loader knows under which names weights are saved, and which of them are tied; it is held to all of them."""
    model, found = cls.from_pretrained(
        None,
        config=settings,
        state_dict=weights,
        dtype=torch.float32,
        # the others count on operators that are not let in
        experts_implementation="batched_mm",
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
    )
    check(
        cls.__name__,
        missing=sorted(found["missing_keys"]),
        unknown=sorted(found["unexpected_keys"]),
        reshaped=[reshaping(*fault) for fault in sorted(found["mismatched_keys"])],
    )
    assert isinstance(model, nn.Module)
    return model.eval()


@contextmanager
def _offline() -> Iterator[None]:
    """The hub's own library refuses to ask anyone."""
    try:
        from huggingface_hub import constants
    except ImportError:
        # then there is nothing that could ask
        yield
        return
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
