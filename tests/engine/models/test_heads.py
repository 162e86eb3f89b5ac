"""Heads: the numbers in a manifest, and jobs over heads equal a hook on the eager model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.engine.archive.forging import entries_of, write
from tests.engine.in_process import program_of, rank
from tests.support.transformers import BERT, GPT2
from unitrank_engine.archive.named_heads import ENTRY
from unitrank_engine.models.exporting import export
from unitrank_engine.models.inspection import inspect, manifest
from unitrank_schemas.models import Layer

SIDES = list[str]


class Attention(nn.Module):
    """Self-attention with layers for queries, keys and values, and one that mixes the heads."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.num_heads = heads
        self.query, self.key, self.value, self.mix = (nn.Linear(12, 12) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            layer(x).view(-1, 5, self.num_heads, 12 // self.num_heads).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        context = torch.softmax(q @ k.transpose(-1, -2) / 2, -1) @ v
        return self.mix(context.transpose(1, 2).reshape(-1, 5, 12))


class Net(nn.Module):
    def __init__(self, heads: int = 3) -> None:
        super().__init__()
        self.first, self.attention, self.end = nn.Linear(12, 12), Attention(heads), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.end(functional.relu(self.attention(self.first(x))).mean(1))


def heads(layers: list[Layer]) -> dict[str, tuple[int | None, SIDES]]:
    return {layer.name: (layer.heads, list(layer.heads_at)) for layer in layers if layer.heads is not None or layer.heads_at}


OF_GRAPH: dict[str, tuple[int, SIDES]] = {
    "attention.query": (3, ["output"]),
    "attention.key": (3, ["output"]),
    "attention.value": (3, ["output"]),
    "attention.mix": (3, ["input"]),
}


def test_manifest_of_a_graph_alone_has_heads_where_the_channels_are_cut_or_joined() -> None:
    assert heads(manifest(program_of(Net(), torch.randn(2, 5, 12))).layers) == OF_GRAPH


class Joint(nn.Module):
    """One layer makes queries, keys and values, with a single head each."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.end = nn.Linear(12, 24), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).reshape(-1, 5, 3, 8).unbind(2)
        return self.end((torch.softmax(q @ k.transpose(-1, -2), -1) @ v).mean(1))


def test_queries_keys_and_values_in_one_layer_are_no_heads() -> None:
    assert heads(manifest(program_of(Joint(), torch.randn(2, 5, 12))).layers) == {}


def test_export_also_has_heads_where_a_module_names_them_and_an_inspection_repeats_them(tmp_path: Path) -> None:
    described = export(Net(), torch.randn(2, 5, 12), tmp_path / "net.pt2")
    inspected = inspect(tmp_path / "net.pt2", tmp_path / "clean.pt2")

    # The output of the whole attention mixes the heads, so that no side has them.
    assert heads(described.layers) == OF_GRAPH | {"attention": (3, [])}
    assert heads([Layer.model_validate(layer) for layer in inspected["layers"]]) == heads(described.layers)
    assert inspected["gradients"] == "checked"
    assert ENTRY not in entries_of(tmp_path / "clean.pt2")


@pytest.mark.check
@pytest.mark.parametrize(
    "entry",
    [
        b'{"attention": 5}',
        b'{"attention": 0}',
        b'{"attention": -3}',
        b'{"attention": "3"}',
        b'{"attention": true}',
        b"[3]",
        b"{",
        b"\xff",
    ],
)
def test_inspect_when_the_named_heads_do_not_divide_the_channels_or_are_damaged_then_leaves_them_out(
    entry: bytes, tmp_path: Path
) -> None:
    export(Net(), torch.randn(2, 5, 12), tmp_path / "net.pt2")
    forged = write(entries_of(tmp_path / "net.pt2") | {ENTRY: entry}, tmp_path / "forged.pt2")

    inspected = inspect(forged, tmp_path / "clean.pt2")

    assert heads([Layer.model_validate(layer) for layer in inspected["layers"]]) == OF_GRAPH


def test_job_over_heads_names_its_units_heads_and_over_other_groups_groups(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((8, 5, 12)).astype(np.float32)
    program = program_of(Net(), torch.from_numpy(x[:2]))

    def word(layer: str, groups: int, at: str = "output", axis: int = -1) -> str:
        units = {"axis": axis, "groups": groups}
        return str(
            rank(program, tmp_path, {"x": x}, layer, ["gradient"], at=at, units=units, ablation=None)[0]["layer"]["unit_word"]
        )

    assert [word("attention.query", 3), word("attention.mix", 3, "input")] == ["head", "head"]
    assert [word("attention.query", 4), word("attention.mix", 3), word("attention.query", 5, axis=0)] == ["group"] * 3


class Embedded(nn.Module):
    """A Transformers classifier of embeddings."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        import transformers

        torch.manual_seed(0)
        sizes = {"BERT": BERT, "GPT2": GPT2}[kind][1] | {"attn_implementation": "eager"}
        config = transformers.BertConfig(**sizes) if kind == "BERT" else transformers.GPT2Config(**sizes)
        self.body = transformers.BertModel(config) if kind == "BERT" else transformers.GPT2Model(config)
        self.end = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.body(inputs_embeds=x).last_hidden_state.mean(1))


@pytest.mark.check
@pytest.mark.parametrize(
    ("kind", "layer"), [("GPT2", "body.h.1.attn.c_proj"), ("BERT", "body.encoder.layer.1.attention.output.dense")]
)
def test_heads_equal_zeroing_a_head_by_a_hook_in_eager_transformers(kind: str, layer: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    net = Embedded(kind).eval()
    x = torch.randn(6, 5, 8, generator=torch.Generator().manual_seed(1))
    program = program_of(net, x[:2])
    places = {each.name: each for each in manifest(program).layers}
    request: dict[str, Any] = {"at": "input", "units": {"axis": -1, "groups": 2}, "target": {"class": 1}}
    tested = {"fill": "zero", "split": "none", "random": 19, "fractions": [0.5]}

    summary, arrays = rank(
        program, tmp_path, {"x": x.numpy()}, layer, [{"name": "exact_ablation", "fill": "zero"}], ablation=tested, keep_examples=6,
        **request,
    )  # fmt: skip

    assert (places[layer].heads, places[layer].heads_at, summary["layer"]["unit_word"]) == (2, ["input"], "head")
    got = arrays["examples/exact_ablation/all"]
    want = np.stack([_drop(net.double(), layer, x.double(), head) for head in range(2)], 1)
    np.testing.assert_allclose(got, want, atol=2e-6)


def _drop(net: nn.Module, layer: str, x: Tensor, head: int) -> np.ndarray:
    """The drop of logit 1 with the head zeroed before the layer that mixes the heads."""

    def zero(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        context = inputs[0].clone()
        context[..., head * 4 : head * 4 + 4] = 0
        return (context, *inputs[1:])

    with torch.no_grad():
        before = net(x)[:, 1]
        hook = net.get_submodule(layer).register_forward_pre_hook(zero)
        after = net(x)[:, 1]
        hook.remove()
    return (before - after).numpy()
