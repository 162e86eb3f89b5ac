"""Takes off the wrappers that training puts around a network, such as `DataParallel`.

A wrapper computes what its inner network computes. Without the wrapper, the names of layers have no
prefix such as `module.`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

INNER = {
    "torch.nn.parallel.data_parallel.DataParallel": "module",
    "torch.nn.parallel.distributed.DistributedDataParallel": "module",
    "torch.distributed.fsdp.fully_sharded_data_parallel.FullyShardedDataParallel": "_fsdp_wrapped_module",
    "torch.optim.swa_utils.AveragedModel": "module",
    "torch._dynamo.eval_frame.OptimizedModule": "_orig_mod",
    "lightning.fabric.wrappers._FabricModule": "_original_module",
    "lightning_fabric.wrappers._FabricModule": "_original_module",
    "peft.peft_model.PeftModel": "base_model",
    "peft.tuners.tuners_utils.BaseTuner": "model",
}
"""Class of a wrapper → the attribute that holds its inner network."""
PEFT = "peft.peft_model.PeftModel"
TUNER = "peft.tuners.tuners_utils.BaseTuner"


@contextmanager
def unwrapped(module: nn.Module) -> Iterator[nn.Module]:
    """Yields the inner network, inside which no part has a wrapper.

    At the end, each wrapped part is where it was.
    """
    root = inner_of(module)
    replaced: list[tuple[nn.Module, str, nn.Module]] = []
    try:
        for owner in list(root.modules()):
            for name, part in list(owner.named_children()):
                inner = inner_of(part)
                if inner is not part:
                    replaced.append((owner, name, part))
                    owner._modules[name] = inner
        yield root
    finally:
        for owner, name, part in replaced:
            owner._modules[name] = part


def inner_of(module: nn.Module) -> nn.Module:
    """The network inside all wrappers around it; the module itself if it is not a wrapper."""
    while (attribute := _attribute(module)) is not None:
        module = getattr(module, attribute)
    return module


def _attribute(module: nn.Module) -> str | None:
    """The attribute with the inner network, or None if the module is not a wrapper."""
    if module._forward_hooks or module._forward_pre_hooks:
        # A hook of the user changes what the wrapper computes.
        return None
    names = _class_names(module)
    if PEFT in names and TUNER not in _class_names(module.base_model):
        # Prompt learning: the wrapper puts learned vectors in front of the input.
        return None
    return next((INNER[name] for name in names if name in INNER), None)


def _class_names(module: object) -> list[str]:
    return [f"{kind.__module__}.{kind.__qualname__}" for kind in type(module).__mro__]
