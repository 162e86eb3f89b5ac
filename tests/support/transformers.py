"""Small Transformers models with random weights, as `save_pretrained` writes them."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

TEXT = {
    "vocab_size": 20,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 12,
}
BERT = ("Bert", {**TEXT, "num_labels": 3})
DISTILBERT = (
    "DistilBert",
    {"vocab_size": 20, "dim": 8, "n_layers": 2, "n_heads": 2, "hidden_dim": 12, "max_position_embeddings": 12, "num_labels": 3},
)
GPT2 = (
    "GPT2",
    {
        "vocab_size": 20,
        "n_positions": 12,
        "n_embd": 8,
        "n_layer": 2,
        "n_head": 2,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    },
)
VIT = (
    "ViT",
    {
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 12,
        "image_size": 16,
        "patch_size": 8,
        "num_labels": 3,
    },
)
RESNET = ("ResNet", {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1], "layer_type": "basic", "num_labels": 3})
MIXTRAL = (
    "Mixtral",
    {**TEXT, "num_key_value_heads": 2, "head_dim": 4, "num_local_experts": 2, "num_experts_per_tok": 1, "pad_token_id": 0},
)


def saved(folder: Path, family: tuple[str, dict[str, Any]], name: str) -> tuple[nn.Module, dict[str, Any]]:
    """Save a new model in `folder`; returns it in evaluation mode, and its configuration."""
    import transformers

    torch.manual_seed(0)
    kind, sizes = family
    model: Any = getattr(transformers, name)(getattr(transformers, f"{kind}Config")(**sizes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model, json.loads((folder / "config.json").read_text())
