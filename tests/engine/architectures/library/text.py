"""Text models of Transformers: encoders, decoders, and encoders with a decoder."""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from tests.engine.architectures.library import END, IDS, SIZES, Named, model, sentences

Makers = dict[str, tuple[Callable[[], nn.Module], Callable[[], dict[str, Tensor]]]]

ENCODER = {**IDS, **SIZES, "max_position_embeddings": 16}
GROUPED = {**ENCODER, "num_key_value_heads": 1, "head_dim": 4, "use_cache": False}
"""Sizes of a decoder in which two heads share keys and values."""
unpadded = partial(sentences, mask=False)


def _classes(prefix: str, **sizes: object) -> Callable[[], nn.Module]:
    return model(f"{prefix}ForSequenceClassification", f"{prefix}Config", **sizes)


def _next_token(prefix: str, **sizes: object) -> Callable[[], nn.Module]:
    return lambda: Named(model(f"{prefix}ForCausalLM", f"{prefix}Config", **sizes), "logits", -1)


ENCODERS: Makers = {
    "roberta": (_classes("Roberta", **ENCODER), sentences),
    "distilbert": (
        _classes(
            "DistilBert",
            **IDS,
            dim=8,
            n_layers=1,
            n_heads=2,
            hidden_dim=12,
            max_position_embeddings=16,
            num_labels=3,
        ),
        sentences,
    ),
    "albert": (_classes("Albert", **ENCODER, embedding_size=6), sentences),
    "deberta_v2": (
        _classes("DebertaV2", **ENCODER, relative_attention=True, pos_att_type=["p2c", "c2p"], position_biased_input=False),
        sentences,
    ),
    "mpnet": (_classes("MPNet", **ENCODER), sentences),
    "mobilebert": (
        _classes("MobileBert", **ENCODER, embedding_size=8, intra_bottleneck_size=8, num_feedforward_networks=2),
        sentences,
    ),
    "squeezebert": (
        _classes(
            "SqueezeBert",
            **ENCODER,
            embedding_size=8,
            q_groups=2,
            k_groups=2,
            v_groups=2,
            post_attention_groups=1,
            intermediate_groups=2,
            output_groups=2,
        ),
        sentences,
    ),
    "convbert": (_classes("ConvBert", **ENCODER, embedding_size=8, conv_kernel_size=3, head_ratio=1), sentences),
    "fnet": (_classes("FNet", **ENCODER), unpadded),
    "funnel": (
        _classes(
            "Funnel",
            **IDS,
            block_sizes=[1, 1],
            d_model=8,
            n_head=2,
            d_head=4,
            d_inner=12,
            num_decoder_layers=1,
            num_labels=3,
        ),
        sentences,
    ),
    "modernbert": (
        _classes(
            "ModernBert",
            **(ENCODER | {"num_hidden_layers": 2}),
            cls_token_id=1,
            sep_token_id=2,
            local_attention=4,
            global_attn_every_n_layers=1,
        ),
        sentences,
    ),
    "roformer": (_classes("RoFormer", **ENCODER), sentences),
    "xlnet": (
        _classes("XLNet", **IDS, d_model=8, n_layer=1, n_head=2, d_inner=12, num_labels=3),
        sentences,
    ),
    "big_bird": (_classes("BigBird", **ENCODER, attention_type="original_full", sep_token_id=END), sentences),
    "longformer": (_classes("Longformer", **ENCODER, attention_window=[4], sep_token_id=2), sentences),
}
TOKENS = model("BertForTokenClassification", "BertConfig", **ENCODER)
DECODERS: Makers = {
    "gpt_neo": (
        _classes(
            "GPTNeo",
            **IDS,
            hidden_size=8,
            num_layers=2,
            num_heads=2,
            intermediate_size=12,
            attention_types=[[["global", "local"], 1]],
            window_size=4,
            max_position_embeddings=16,
            num_labels=3,
            use_cache=False,
        ),
        sentences,
    ),
    "gpt_neox": (_classes("GPTNeoX", **ENCODER, use_cache=False), sentences),
    "opt": (_classes("OPT", **ENCODER, ffn_dim=12, word_embed_proj_dim=8, use_cache=False), sentences),
    "bloom": (_classes("Bloom", **IDS, hidden_size=8, n_layer=1, n_head=2, num_labels=3, use_cache=False), sentences),
    "llama": (_classes("Llama", **GROUPED), sentences),
    "mistral": (_classes("Mistral", **GROUPED, sliding_window=4), sentences),
    "qwen3": (_classes("Qwen3", **GROUPED), sentences),
    "gemma": (_classes("Gemma", **GROUPED), sentences),
    "gemma2": (_classes("Gemma2", **GROUPED, query_pre_attn_scalar=4, sliding_window=4), sentences),
    "phi3": (_classes("Phi3", **ENCODER, use_cache=False), sentences),
    "falcon": (_classes("Falcon", **ENCODER, use_cache=False), sentences),
    "mixtral": (
        _classes("Mixtral", **GROUPED, num_local_experts=2, num_experts_per_tok=1, experts_implementation="eager"),
        sentences,
    ),
    "olmo2": (_next_token("Olmo2", **GROUPED), unpadded),
    "granite": (_next_token("Granite", **GROUPED), unpadded),
    "mamba": (
        _next_token("Mamba", **IDS, hidden_size=8, state_size=4, num_hidden_layers=1, time_step_rank=2, use_cache=False),
        unpadded,
    ),
    "mamba2": (
        _next_token(
            "Mamba2",
            **IDS,
            hidden_size=8,
            state_size=4,
            num_hidden_layers=1,
            num_heads=4,
            head_dim=4,
            n_groups=1,
            chunk_size=4,
            use_cache=False,
        ),
        unpadded,
    ),
}
SEQ2SEQ = {
    **IDS,
    "d_model": 8,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 12,
    "decoder_ffn_dim": 12,
    "max_position_embeddings": 16,
    "decoder_start_token_id": END,
    "num_labels": 3,
    "use_cache": False,
}
T5 = {
    **IDS,
    "d_model": 8,
    "d_kv": 4,
    "d_ff": 12,
    "num_layers": 1,
    "num_heads": 2,
    "decoder_start_token_id": 0,
    "num_labels": 3,
    "use_cache": False,
}


def _states(prefix: str, part: str, position: int, **sizes: object) -> Callable[[], nn.Module]:
    return lambda: Named(model(f"{prefix}{part}", f"{prefix}Config", **sizes), "last_hidden_state", position)


ENCODER_DECODERS: Makers = {
    "bart_classes": (_classes("Bart", **SEQ2SEQ), sentences),
    "bart": (_states("Bart", "Model", -1, **SEQ2SEQ), sentences),
    "t5_classes": (_classes("T5", **T5), sentences),
    "t5_encoder": (_states("T5", "EncoderModel", 0, **T5), sentences),
}
