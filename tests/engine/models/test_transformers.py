"""Networks of Transformers give the same output as before, and nothing is loaded by a name."""

import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.support.transformers import BERT, DISTILBERT, GPT2, MIXTRAL, RESNET, VIT, saved
from unitrank_engine.archive import load
from unitrank_engine.errors import EngineError
from unitrank_engine.models.architectures import build, inspect
from unitrank_engine.program import Program
from unitrank_schemas.models import Architecture, Manifest

pytest.importorskip("transformers")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that opens a connection fails."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a connection is opened")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)


def _drawn(manifest: Manifest) -> dict[str, Tensor]:
    """Five examples of different lengths, padded on the right."""
    generator = torch.Generator().manual_seed(1)
    inputs = {}
    for port in manifest.inputs:
        shape = [5, *(size or 0 for size in port.shape[1:])]
        if port.name == "attention_mask":
            inputs[port.name] = (torch.arange(shape[1]) < torch.tensor([shape[1], 3, 1, 2, 5])[:, None]).long()
        elif port.dtype == "int64":
            inputs[port.name] = torch.randint(0, 20 if port.name == "input_ids" else 2, shape, generator=generator)
        else:
            inputs[port.name] = torch.randn(shape, generator=generator)
    return inputs


def _whole(logits: Tensor, inputs: dict[str, Tensor]) -> Tensor:
    return logits


def _last(logits: Tensor, inputs: dict[str, Tensor]) -> Tensor:
    return torch.stack([row[int(mask.sum()) - 1] for row, mask in zip(logits, inputs["attention_mask"], strict=True)])


def _third(logits: Tensor, inputs: dict[str, Tensor]) -> Tensor:
    return logits[:, 3]


IDS = [("input_ids", [None, 12]), ("attention_mask", [None, 12])]


@pytest.mark.check
@pytest.mark.parametrize(
    ("family", "name", "more", "inputs", "answer", "layer"),
    [
        (BERT, "BertForSequenceClassification", {}, IDS, _whole, "bert.encoder.layer.1"),
        pytest.param(BERT, "BertForMaskedLM", {"position": 3}, IDS, _third, "cls.predictions.decoder", marks=pytest.mark.slow),
        pytest.param(
            BERT,
            "BertForTokenClassification",
            {"position": 3, "inputs": ["input_ids", "token_type_ids"], "shape": [7]},
            [("input_ids", [None, 7]), ("token_type_ids", [None, 7])],
            _third,
            "classifier",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            DISTILBERT,
            "DistilBertForSequenceClassification",
            {},
            IDS,
            _whole,
            "distilbert.transformer.layer.0.ffn.lin1",
            marks=pytest.mark.slow,
        ),
        (GPT2, "GPT2LMHeadModel", {}, IDS, _last, "transformer.h.1.mlp.act"),
        pytest.param(MIXTRAL, "MixtralForCausalLM", {}, IDS, _last, "lm_head", marks=pytest.mark.slow),
        pytest.param(
            VIT,
            "ViTForImageClassification",
            {},
            [("pixel_values", [None, 3, 16, 16])],
            _whole,
            "vit.layers.0.mlp.fc1",
            marks=pytest.mark.check,
        ),
        (
            RESNET,
            "ResNetForImageClassification",
            {"shape": [3, 32, 32]},
            [("pixel_values", [None, 3, 32, 32])],
            _whole,
            "resnet.pooler",
        ),
    ],
)
def test_model_when_it_was_saved_then_its_archive_answers_as_it_did(
    family: Any,
    name: str,
    more: dict[str, Any],
    inputs: list[Any],
    answer: Callable[[Tensor, dict[str, Tensor]], Tensor],
    layer: str,
    tmp_path: Path,
) -> None:
    model, config = saved(tmp_path, family, name)
    architecture = Architecture(name="transformers", arguments={"config": config, **more})

    manifest = Manifest.model_validate(inspect(architecture, tmp_path / "model.safetensors", tmp_path / "clean"))

    assert [(port.name, port.shape) for port in manifest.inputs] == inputs
    assert layer in [each.name for each in manifest.layers]
    drawn = _drawn(manifest)
    program = Program.from_exported(load(tmp_path / "clean"))
    with torch.no_grad():
        expected = answer(model(**drawn).logits, drawn)
        output = program.forward(program.lift(tuple(drawn[port.name] for port in manifest.inputs)), "logits")
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-6)


def test_weights_when_they_are_of_half_precision_then_all_is_computed_in_float32(tmp_path: Path) -> None:
    _, config = saved(tmp_path, BERT, "BertForSequenceClassification")
    weights = {key: tensor.bfloat16() for key, tensor in load_file(tmp_path / "model.safetensors").items()}
    save_file(weights, tmp_path / "half.safetensors")

    built = build("transformers", {"config": {**config, "dtype": "bfloat16"}}, tmp_path / "half.safetensors")

    assert {parameter.dtype for parameter in built.module.parameters()} == {torch.float32}
    weight = built.module.state_dict()["classifier.weight"]
    assert torch.equal(weight, weights["classifier.weight"].float())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("transformer.ln_f.bias"), "1 missing: transformer.ln_f.bias"),
        (lambda state: state.pop("transformer.wte.weight"), "2 missing: lm_head.weight, transformer.wte.weight"),
        (lambda state: state.update(other=torch.ones(2)), "1 unknown: other"),
        (
            lambda state: state.update({"transformer.ln_f.bias": torch.ones(3)}),
            "match GPT2LMHeadModel: 1 of another shape: transformer.ln_f.bias [3] instead of [8]",
        ),
    ],
)
def test_weights_when_they_do_not_match_then_the_error_lists_them(
    change: Callable[[dict[str, Tensor]], Any], words: str, tmp_path: Path
) -> None:
    _, config = saved(tmp_path, GPT2, "GPT2LMHeadModel")
    state = load_file(tmp_path / "model.safetensors")
    change(state)
    save_file(state, tmp_path / "model.safetensors")

    with pytest.raises(EngineError) as caught:
        build("transformers", {"config": config}, tmp_path / "model.safetensors")

    assert caught.value.code == "weights_refused"
    assert words in caught.value.detail


BERT_CONFIG = {"model_type": "bert", "architectures": ["BertForSequenceClassification"]}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "required"),
        ({"config": "bert-base-uncased"}, 'config is "bert-base-uncased"; expected the content of config.json'),
        ({"config": BERT_CONFIG, "revision": "main"}, "keyword argument 'revision'"),
        ({"config": {**BERT_CONFIG, "auto_map": {"AutoModel": "evil.Model"}}}, "config.auto_map asks for code"),
        ({"config": {**BERT_CONFIG, "num_labels": 10**8}}, "config.num_labels is 100000000; expected at most"),
        ({"config": BERT_CONFIG, "inputs": ["input_ids", "input_ids"]}, "expected input_ids and any of"),
        ({"config": {**BERT_CONFIG, "text_config": {"auto_map": {"AutoModel": "a"}}}}, "config.text_config.auto_map asks for code"),
        ({"config": {**BERT_CONFIG, "quantization_config": {"bits": 4}}}, "config.quantization_config asks for quantized weights"),
        ({"config": {**BERT_CONFIG, "backbone": "/etc"}}, "config.backbone asks for something that is loaded by name"),
        ({"config": {**BERT_CONFIG, "use_timm_backbone": True}}, "config.use_timm_backbone asks for"),
        ({"config": {**BERT_CONFIG, "parts": [{"model_type": "timm_backbone"}]}}, 'config.parts[0].model_type is "timm_backbone"'),
        ({"config": {**BERT_CONFIG, "peft_config": {"r": 4}}}, "asks for adapters; merge them"),
        ({"config": {**BERT_CONFIG, "use_kernels": True}}, "config.use_kernels asks for code"),
        ({"config": {**BERT_CONFIG, "_attn_implementation": "someone/kernel"}}, 'is "someone/kernel"; expected eager or sdpa'),
        ({"config": {**BERT_CONFIG, "_attn_implementation_internal": "someone/kernel"}}, "expected eager or sdpa"),
        ({"config": {**BERT_CONFIG, "attn_implementation": {"": "flash_attention_2"}}}, "expected eager or sdpa"),
        (
            {"config": {**BERT_CONFIG, "model_type": "bertt"}},
            "config.model_type \"bertt\" is not supported; nearest: 'bert'",
        ),
        ({"config": {"architectures": ["BertModel"]}}, "config.model_type null is not supported"),
        ({"config": {**BERT_CONFIG, "model_type": "timm_wrapper"}}, "networks of timm are loaded by name"),
        (
            {"config": {**BERT_CONFIG, "architectures": ["BertModel"]}},
            "expected a list with one of BertForMaskedLM, BertForSequence",
        ),
        ({"config": {**BERT_CONFIG, "architectures": ["AutoModel"]}}, "expected a list with one of"),
        ({"config": {**BERT_CONFIG, "architectures": None}}, "config.architectures is null"),
        ({"config": {**BERT_CONFIG, "hidden_size": "large"}}, "hidden_size"),
        ({"config": {**BERT_CONFIG, "architectures": ["BertForMaskedLM"]}}, "position is missing: BertForMaskedLM"),
        ({"config": BERT_CONFIG, "position": 3}, "BertForSequenceClassification has one output for all tokens"),
        ({"config": BERT_CONFIG, "position": True}, "position is true; expected the index of a token"),
        ({"config": BERT_CONFIG, "shape": [0]}, "shape is [0]; expected the sizes"),
        ({"config": BERT_CONFIG, "shape": [2, 3]}, "expected one axis for token ids"),
        ({"config": BERT_CONFIG, "inputs": ["inputs_embeds"]}, "expected input_ids and any of attention_mask, token_type_ids"),
    ],
)
def test_arguments_when_they_are_not_let_in_then_the_message_says_why(
    arguments: dict[str, Any], words: str, tmp_path: Path
) -> None:
    save_file({"weight": torch.ones(1)}, tmp_path / "weights")

    with pytest.raises(EngineError) as caught:
        build("transformers", arguments, tmp_path / "weights")

    assert caught.value.code == "architecture_refused"
    assert words in caught.value.detail


def test_names_when_the_configuration_has_them_then_no_file_is_read_by_name(tmp_path: Path) -> None:
    model, config = saved(tmp_path / "saved", BERT, "BertForSequenceClassification")
    (tmp_path / "saved" / "model.safetensors").rename(tmp_path / "weights")
    names = {"_name_or_path": str(tmp_path / "saved"), "name_or_path": "someone/model", "_commit_hash": "0" * 40}

    built = build("transformers", {"config": {**config, **names, "label2id": {"backbone": 0}}}, tmp_path / "weights")

    assert str(built.module.config.name_or_path) in ("", "None")
    torch.testing.assert_close(built.module.state_dict(), model.state_dict())


def test_hub_when_a_model_is_built_then_is_offline_and_afterwards_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers
    from huggingface_hub import constants

    _, config = saved(tmp_path, BERT, "BertForSequenceClassification")
    offline = []
    load_model = transformers.BertForSequenceClassification.from_pretrained
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(
        transformers.BertForSequenceClassification,
        "from_pretrained",
        lambda *args, **more: offline.append(constants.is_offline_mode()) or load_model(*args, **more),
    )

    build("transformers", {"config": config}, tmp_path / "model.safetensors")

    assert (offline, constants.HF_HUB_OFFLINE) == ([True], False)


def test_library_when_it_is_not_installed_then_the_message_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file({"weight": torch.ones(1)}, tmp_path / "weights")
    monkeypatch.setitem(sys.modules, "transformers", None)

    with pytest.raises(EngineError) as caught:
        build("transformers", {"config": BERT_CONFIG}, tmp_path / "weights")

    assert caught.value.code == "architecture_refused"
    assert "Transformers is missing: pip install 'unitrank[transformers]'" in caught.value.detail
    assert "needs a package that is not installed where models are inspected" in caught.value.detail
