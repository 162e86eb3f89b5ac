"""Checks configurations of Transformers.

A configuration is refused when it would load or run anything besides the library's own code.
"""

from typing import Any

from unitrank_schemas.checks import excerpt

LARGEST = 2**25
"""The largest accepted number in a configuration. Vocabularies and position counts are smaller."""
CODE = "code or weights from outside the library; use only classes of the library"
LOADED = "something that is loaded by name; write its whole configuration as backbone_config"
REFUSED = {
    "auto_map": CODE,
    "quantization_config": "quantized weights; save them in full precision",
    "compression_config": "quantized weights; save them in full precision",
    "peft_config": "adapters; merge them into the weights and save the merged model",
    "adapter_config": "adapters; merge them into the weights and save the merged model",
    "backbone": LOADED,
    "use_timm_backbone": LOADED,
    "use_pretrained_backbone": LOADED,
    "use_kernels": CODE,
    "kernel_config": CODE,
    "fusion_config": CODE,
    "distributed_config": "several devices; use one device",
    "transformers_weights": "weights from a file; leave the key out, because the weights are uploaded",
}
IMPLEMENTATIONS = {
    "attn_implementation": ("eager", "sdpa"),
    "experts_implementation": ("eager", "batched_mm", "grouped_mm"),
}


def check_config(value: Any, at: str) -> None:
    """Raises ValueError when a key or number of the configuration is refused, at any depth.

    `value`: the configuration, or a part of it.
    `at`: the path of that part, for the message.
    """
    if isinstance(value, list):
        for index, item in enumerate(value):
            check_config(item, f"{at}[{index}]")
    if type(value) is int and abs(value) > LARGEST:
        raise ValueError(f"{at} is {value}; expected at most {LARGEST}")
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        if key in ("id2label", "label2id") and isinstance(item, dict):
            continue
        where = f"{at}.{key}"
        if item and key in REFUSED:
            raise ValueError(f"{where} asks for {REFUSED[key]}")
        for name, allowed in IMPLEMENTATIONS.items():
            if key.startswith((name, f"_{name}")) and item and item is not True and item not in allowed:
                raise ValueError(f"{where} is {excerpt(item)}; expected {' or '.join(allowed)}")
        if key == "model_type" and str(item).startswith("timm"):
            raise ValueError(f"{where} is {excerpt(item)}; networks of timm are loaded by name and are not supported")
        check_config(item, where)
