"""Which operators keep a straight line straight: behind the last nonlinearity every delta method is exact."""

from torch import fx

from worker.program.functional import operator_name
from worker.program.places import SHAPE_ONLY

_NAMES = """
    linear addmm mm conv1d conv2d conv3d convolution conv_transpose1d conv_transpose2d conv_transpose3d
    reshape view permute transpose t flatten squeeze unsqueeze unflatten movedim clone contiguous expand alias detach
    cat stack slice select split split_with_sizes chunk constant_pad_nd pad to _to_copy
    add sub neg mean sum avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d
    dropout batch_norm _native_batch_norm_legit_no_training
"""
LINEAR = frozenset(f"aten::{name}" for name in _NAMES.split())

PRODUCTS = frozenset({"aten::mul", "aten::div", "aten::matmul", "aten::bmm"})
"""Linear as long as only one factor depends on h."""


def is_linear(node: fx.Node, dependent: set[fx.Node]) -> bool:
    """Whether the node is an affine function of the nodes in `dependent`, all others held."""
    name = operator_name(node)
    if name in PRODUCTS:
        left, right = node.args[0] in dependent, node.args[1] in dependent
        return left != right and not (name == "aten::div" and right)
    return name in LINEAR or "getitem" in str(node.target) or bool(SHAPE_ONLY.match(name))
