"""Small perceptrons, recurrent networks and transformers."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel


class Perceptron(nn.Module):
    """A perceptron of dense layers and ReLUs."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.relu1 = nn.Linear(6, 8), nn.ReLU()
        self.fc2, self.relu2 = nn.Linear(8, 5), nn.ReLU()
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu2(self.fc2(self.relu1(self.fc1(x)))))


class Recurrent(nn.Module):
    """An LSTM whose last state is classified."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(3, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.lstm(x)
        return self.head(states[:, -1])


class Gru(nn.Module):
    """A bidirectional GRU with two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(3, 4, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gru(x)[0].mean(1))


class Gated(nn.Module):
    """A gated perceptron (SwiGLU, Shazeer 2020) after an RMS norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(6)
        self.gate, self.up, self.down = nn.Linear(6, 8, bias=False), nn.Linear(6, 8, bias=False), nn.Linear(8, 6, bias=False)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        return self.head(x + self.down(functional.silu(self.gate(h)) * self.up(h)))


class VisionTransformer(nn.Module):
    """A vision transformer (Dosovitskiy et al. 2021) with a class token and PyTorch's encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.token, self.positions = nn.Parameter(torch.randn(1, 1, 8)), nn.Parameter(torch.randn(1, 5, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 12, 0.1, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(x.shape[0], -1, -1), tokens], 1) + self.positions
        return self.head(self.norm(self.encoder(tokens))[:, 0])


def bert() -> nn.Module:
    """BERT (Devlin et al. 2019) for classes of sequences. It returns a data class."""
    config = BertConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=12,
        max_position_embeddings=8,
        num_labels=3,
    )
    return BertForSequenceClassification(config)


def gpt2() -> nn.Module:
    """GPT-2 (Radford et al. 2019) for classes of sequences.

    Its output is that of the last token before the padding.
    """
    return GPT2ForSequenceClassification(_gpt2_config(num_labels=3))


class NextToken(nn.Module):
    """GPT-2 with the logits of the next token as its only output."""

    def __init__(self) -> None:
        super().__init__()
        self.gpt2 = GPT2LMHeadModel(_gpt2_config())

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.gpt2(input_ids=input_ids, attention_mask=attention_mask).logits[:, -1]


def _gpt2_config(**more: object) -> GPT2Config:
    return GPT2Config(
        vocab_size=20,
        n_positions=8,
        n_embd=8,
        n_layer=2,
        n_head=2,
        n_inner=12,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        use_cache=False,
        **more,
    )
