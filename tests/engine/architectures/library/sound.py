"""Sound, time series and two-tower models of Transformers."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tests.engine.architectures.library import END, IDS, PAD, SIZES, Named, model, numbers, sentences
from tests.engine.architectures.library.vision import clip_sizes, images

Makers = dict[str, tuple[Callable[[], nn.Module], Callable[[], dict[str, Tensor]]]]


def _pairs() -> dict[str, Tensor]:
    """Sentences and images."""
    return {**sentences(), **images()}


SPEECH = {
    **SIZES,
    "conv_dim": [4, 4],
    "conv_kernel": [5, 3],
    "conv_stride": [4, 2],
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "classifier_proj_size": 6,
    "vocab_size": 10,
}
waves = numbers("input_values", 64)


def _speech(prefix: str, **sizes: object) -> Callable[[], nn.Module]:
    return model(f"{prefix}ForSequenceClassification", f"{prefix}Config", **(SPEECH | sizes))


SOUND: Makers = {
    "wav2vec2": (_speech("Wav2Vec2"), waves),
    "wav2vec2_large": (
        _speech("Wav2Vec2", feat_extract_norm="layer", do_stable_layer_norm=True, use_weighted_layer_sum=True),
        waves,
    ),
    "hubert": (_speech("Hubert"), waves),
    "wavlm": (_speech("WavLM", num_buckets=8, max_bucket_distance=16), waves),
    "sew": (_speech("SEW", squeeze_factor=2), waves),
    "whisper_encoder": (
        model(
            "WhisperForAudioClassification",
            "WhisperConfig",
            num_mel_bins=8,
            d_model=8,
            encoder_layers=2,
            encoder_attention_heads=2,
            encoder_ffn_dim=12,
            decoder_layers=1,
            decoder_attention_heads=2,
            decoder_ffn_dim=12,
            max_source_positions=6,
            classifier_proj_size=6,
            num_labels=3,
            **{**IDS, "decoder_start_token_id": END, "suppress_tokens": [], "begin_suppress_tokens": [PAD]},
        ),
        numbers("input_features", 8, 12),
    ),
    "ast": (
        model(
            "ASTForAudioClassification",
            "ASTConfig",
            **SIZES,
            patch_size=4,
            frequency_stride=4,
            time_stride=4,
            max_length=16,
            num_mel_bins=8,
        ),
        numbers("input_values", 16, 8),
    ),
}
SERIES = {"num_input_channels": 2, "context_length": 16, "patch_length": 4, "patch_stride": 4, "num_targets": 3}
TIME: Makers = {
    "patchtst": (
        lambda: Named(
            model(
                "PatchTSTForClassification",
                "PatchTSTConfig",
                **SERIES,
                d_model=8,
                num_hidden_layers=1,
                num_attention_heads=2,
                ffn_dim=12,
                use_cls_token=True,
            ),
            "prediction_logits",
        ),
        numbers("past_values", 16, 2),
    ),
    "patchtsmixer": (
        lambda: Named(
            model("PatchTSMixerForTimeSeriesClassification", "PatchTSMixerConfig", **SERIES, d_model=8, num_layers=1),
            "prediction_outputs",
        ),
        numbers("past_values", 16, 2),
    ),
}
TOWERS: Makers = {
    "clip": (lambda: Named(model("CLIPModel", "CLIPConfig", **clip_sizes()), "logits_per_image"), _pairs),
    "clip_scores": (lambda: TowerScores(), _pairs),
}


class TowerScores(nn.Module):
    """CLIP's cosine of each image with its own sentence, and with a fixed vector."""

    def __init__(self) -> None:
        super().__init__()
        self.model = model("CLIPModel", "CLIPConfig", **clip_sizes())()
        self.other = nn.Parameter(torch.randn(1, 6))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, pixel_values: Tensor) -> Tensor:
        output = self.model(input_ids=input_ids, attention_mask=attention_mask, pixel_values=pixel_values)
        cosine = (output.image_embeds * output.text_embeds).sum(-1)
        return torch.stack([cosine, (output.image_embeds * self.other).sum(-1)], 1)
