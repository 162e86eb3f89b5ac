"""Image and video models of Transformers."""

from collections.abc import Callable

from torch import Tensor, nn

from tests.engine.architectures.library import IDS, SIZES, model, numbers

Makers = dict[str, tuple[Callable[[], nn.Module], Callable[[], dict[str, Tensor]]]]

PATCHES = {**SIZES, "image_size": 16, "patch_size": 8}
images = numbers("pixel_values", 3, 16, 16)
larger_images = numbers("pixel_values", 3, 32, 32)


def _images(prefix: str, **sizes: object) -> Callable[[], nn.Module]:
    return model(f"{prefix}ForImageClassification", f"{prefix}Config", **sizes)


def clip_sizes() -> dict[str, object]:
    sizes = {key: value for key, value in SIZES.items() if key != "num_labels"}
    text = {**IDS, **sizes, "max_position_embeddings": 16, "projection_dim": 6}
    return {"text_config": text, "vision_config": {**sizes, "image_size": 16, "patch_size": 8, "projection_dim": 6},
            "projection_dim": 6, "num_labels": 3}  # fmt: skip


IMAGES: Makers = {
    "deit": (_images("DeiT", **PATCHES), images),
    "beit": (_images("Beit", **PATCHES, use_relative_position_bias=True), images),
    "dinov2": (_images("Dinov2", **PATCHES, mlp_ratio=2), images),
    "swin": (
        _images("Swin", image_size=16, patch_size=4, embed_dim=4, depths=[1, 2], num_heads=[1, 2], window_size=2, num_labels=3),
        images,
    ),
    "swinv2": (
        _images("Swinv2", image_size=16, patch_size=4, embed_dim=4, depths=[1, 2], num_heads=[1, 2], window_size=2, num_labels=3),
        images,
    ),
    "convnextv2": (_images("ConvNextV2", hidden_sizes=[4, 6], depths=[1, 1], num_stages=2, num_labels=3), images),
    "mobilevit": (
        _images(
            "MobileViT",
            image_size=32,
            patch_size=2,
            hidden_sizes=[8, 8, 8],
            neck_hidden_sizes=[4, 4, 6, 6, 8, 8, 8],
            num_attention_heads=2,
            expand_ratio=1.0,
            num_labels=3,
        ),
        larger_images,
    ),
    "regnet": (
        _images("RegNet", embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], groups_width=4, layer_type="y", num_labels=3),
        images,
    ),
    "pvt": (
        _images(
            "Pvt",
            image_size=16,
            num_encoder_blocks=2,
            depths=[1, 1],
            sequence_reduction_ratios=[2, 1],
            hidden_sizes=[4, 8],
            patch_sizes=[4, 2],
            strides=[4, 2],
            num_attention_heads=[1, 2],
            mlp_ratios=[2, 2],
            num_labels=3,
        ),
        images,
    ),
    "segformer": (
        _images(
            "Segformer",
            num_encoder_blocks=2,
            depths=[1, 1],
            sr_ratios=[2, 1],
            hidden_sizes=[4, 8],
            patch_sizes=[3, 3],
            strides=[2, 2],
            num_attention_heads=[1, 2],
            mlp_ratios=[2, 2],
            num_labels=3,
        ),
        images,
    ),
    "levit": (
        _images(
            "Levit",
            image_size=32,
            hidden_sizes=[8, 12, 16],
            num_attention_heads=[1, 1, 2],
            depths=[1, 1, 1],
            key_dim=[4, 4, 4],
            mlp_ratio=[1, 1, 1],
            attention_ratio=[1, 1, 1],
            down_ops=[["Subsample", 4, 2, 2, 1, 2], ["Subsample", 4, 3, 2, 1, 2]],
            num_labels=3,
        ),
        larger_images,
    ),
    "bit": (_images("Bit", embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_groups=2, num_labels=3), images),
    "focalnet": (
        _images(
            "FocalNet",
            image_size=16,
            patch_size=2,
            embed_dim=4,
            depths=[1, 1],
            focal_levels=[1, 1],
            focal_windows=[3, 3],
            num_labels=3,
        ),
        images,
    ),
    "siglip": (lambda: model("SiglipForImageClassification", "SiglipConfig", **clip_sizes())(), images),
    "vivit": (
        model("VivitForVideoClassification", "VivitConfig", **SIZES, image_size=8, num_frames=4, tubelet_size=[2, 4, 4]),
        numbers("pixel_values", 4, 3, 8, 8),
    ),
}
