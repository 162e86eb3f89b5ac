"""The allow-list of operators that a node may call.

The list covers ordinary networks.

An operator is named `torch.ops.aten.<name>.<overload>`. These operators are left out on purpose:

- `from_file` reads files of the host.
- `empty*` returns memory that other jobs have used.
- `set_`, `resize*`, `as_strided*`, `_unsafe_*` and operators on storage reach beyond the bounds of
  a tensor.
- `_upsample_bilinear2d_aa.default` writes beyond its bounds at a scale of 1e-10. torch.export gives
  the overload `.vec`, which computes the scale.
- Random numbers: the same job must give the same result.
- `item`, `nonzero` and others have a result whose size depends on the data.
- Higher-order and custom operators carry programs of their own. The one exception is a region
  without gradients, which `regions` replaces by its nodes.
"""

import re
from collections.abc import Iterable

from unitrank_engine.archive.errors import ArchiveError, escaped
from unitrank_engine.torch_private import returns_views

_ATEN = """
abs.default abs_.default absolute.default acos.default acosh.default adaptive_avg_pool1d.default
adaptive_avg_pool2d.default adaptive_avg_pool3d.default adaptive_max_pool1d.default adaptive_max_pool2d.default
adaptive_max_pool3d.default _adaptive_avg_pool2d.default _adaptive_avg_pool3d.default add.Scalar add.Tensor
add_.Scalar add_.Tensor addbmm.default addcdiv.default addcmul.default addmm.default addmv.default alias.default
all.default all.dim alpha_dropout.default amax.default amin.default aminmax.default any.default any.dim arange.default
arange.start arange.start_step argmax.default argmin.default argsort.default asin.default asinh.default atan.default
atan2.default atanh.default avg_pool1d.default avg_pool2d.default avg_pool3d.default baddbmm.default
batch_norm.default bilinear.default __and__.Scalar __and__.Tensor __or__.Scalar __or__.Tensor __xor__.Scalar
__xor__.Tensor bitwise_and.Scalar bitwise_and.Tensor bitwise_not.default bitwise_or.Scalar bitwise_or.Tensor
bitwise_xor.Scalar bitwise_xor.Tensor bmm.default broadcast_tensors.default broadcast_to.default bucketize.Tensor
cat.default cdist.default ceil.default celu.default celu_.default channel_shuffle.default chunk.default clamp.Tensor
clamp.default clamp_.Tensor clamp_.default clamp_max.Tensor clamp_max.default clamp_max_.default clamp_min.Tensor
clamp_min.default clamp_min_.default clip.default clone.default col2im.default concat.default concatenate.default
constant_pad_nd.default contiguous.default conv1d.default conv1d.padding conv2d.default conv2d.padding conv3d.default
conv3d.padding conv_transpose1d.default conv_transpose2d.input conv_transpose3d.input convolution.default copy.default
copy_.default cos.default cos_.default cosh.default cosine_similarity.default count_nonzero.default cross.default
cummax.default cummin.default cumprod.default cumsum.default deg2rad.default detach.default detach_.default
diag.default diag_embed.default diagonal.default diff.default dist.default div.Scalar div.Scalar_mode div.Tensor
div.Tensor_mode div_.Scalar div_.Scalar_mode div_.Tensor div_.Tensor_mode divide.Scalar divide.Tensor dot.default
dropout.default dropout_.default einsum.default elu.default elu_.default embedding.default embedding_bag.default
embedding_bag.padding_idx eq.Scalar eq.Tensor erf.default erf_.default erfc.default erfinv.default exp.default
exp2.default exp_.default expand.default expand_as.default expm1.default eye.default eye.m
feature_alpha_dropout.default feature_dropout.default fill.Scalar fill.Tensor fill_.Scalar fill_.Tensor
flatten.using_ints flip.default fliplr.default flipud.default float_power.Tensor_Scalar floor.default floor_.default
floor_divide.Scalar floor_divide.default fmax.default fmin.default fmod.Scalar fmod.Tensor frac.default full.default
full_like.default gather.default ge.Scalar ge.Tensor gelu.default gelu_.default glu.default greater.Scalar
greater.Tensor greater_equal.Scalar greater_equal.Tensor group_norm.default gru.input gru_cell.default gt.Scalar
gt.Tensor hardshrink.default hardsigmoid.default hardsigmoid_.default hardswish.default hardswish_.default
hardtanh.default hardtanh_.default heaviside.default hstack.default im2col.default index.Tensor index_add.default
index_copy.default index_fill.int_Scalar index_put.default index_put_.default index_select.default
instance_norm.default isfinite.default isinf.default isnan.default kthvalue.default layer_norm.default le.Scalar
le.Tensor leaky_relu.default leaky_relu_.default lerp.Scalar lerp.Tensor less.Scalar less.Tensor less_equal.Scalar
less_equal.Tensor lift_fresh.default lift_fresh_copy.default linalg_norm.default linalg_vector_norm.default
linear.default linspace.default log.default log10.default log1p.default log2.default log_.default log_sigmoid.default
log_softmax.int _log_softmax.default logaddexp.default logcumsumexp.default logical_and.default logical_not.default
logical_or.default logical_xor.default logit.default logsumexp.default lstm.input lstm_cell.default lt.Scalar
lt.Tensor mT.default masked_fill.Scalar masked_fill.Tensor masked_fill_.Scalar masked_fill_.Tensor
masked_scatter.default matmul.default max.default max.dim max.other max_pool1d.default max_pool2d.default
max_pool2d_with_indices.default max_pool3d.default max_pool3d_with_indices.default maximum.default mean.default
mean.dim median.default median.dim meshgrid.default meshgrid.indexing min.default min.dim min.other minimum.default
mish.default mish_.default mm.default moveaxis.int moveaxis.intlist movedim.int movedim.intlist mul.Scalar mul.Tensor
mul_.Scalar mul_.Tensor multiply.Scalar multiply.Tensor mv.default nan_to_num.default nan_to_num_.default
narrow.default _native_batch_norm_legit_no_training.default native_group_norm.default native_layer_norm.default
ne.Scalar ne.Tensor neg.default neg_.default negative.default new_full.default new_ones.default new_zeros.default
norm.Scalar norm.ScalarOpt_dim not_equal.Scalar not_equal.Tensor numpy_T.default one_hot.default ones.default
ones_like.default outer.default pad.default pairwise_distance.default permute.default pixel_shuffle.default
pixel_unshuffle.default polar.default pow.Scalar pow.Tensor_Scalar pow.Tensor_Tensor pow_.Scalar pow_.Tensor
prelu.default _prelu_kernel.default prod.default prod.dim_int ravel.default real.default reciprocal.default
reciprocal_.default reflection_pad1d.default reflection_pad2d.default reflection_pad3d.default relu.default
relu6.default relu6_.default relu_.default remainder.Scalar remainder.Tensor repeat.default repeat_interleave.self_int
replication_pad1d.default replication_pad2d.default replication_pad3d.default reshape.default reshape_as.default
rms_norm.default rnn_relu.input rnn_relu_cell.default rnn_tanh.input rnn_tanh_cell.default roll.default rot90.default
round.decimals round.default rsqrt.default rsqrt_.default rsub.Scalar rsub.Tensor scalar_tensor.default
scaled_dot_product_attention.default scatter.src scatter.value scatter_.src scatter_.value scatter_add.default
scatter_reduce.two searchsorted.Tensor select.int select_scatter.default selu.default selu_.default sgn.default
sigmoid.default sigmoid_.default sign.default silu.default silu_.default sin.default sin_.default sinh.default
slice.Tensor slice_scatter.default softmax.int _softmax.default _safe_softmax.default softplus.default
softshrink.default sort.default sort.stable split.Tensor split_with_sizes.default sqrt.default sqrt_.default
square.default square_.default squeeze.default squeeze.dim squeeze.dims squeeze_.dim stack.default std.correction
std.default std.dim std_mean.correction std_mean.dim sub.Scalar sub.Tensor sub_.Scalar sub_.Tensor subtract.Scalar
subtract.Tensor sum.default sum.dim_IntList swapaxes.default swapdims.default sym_numel.default sym_size.int t.default
t_.default take_along_dim.default tan.default tanh.default tanh_.default tensor_split.indices tensor_split.sections
tensordot.default threshold.default threshold_.default tile.default to.device to.dtype to.dtype_layout to.other
_to_copy.default topk.default trace.default transpose.int transpose_.default tril.default tril_.default
tril_indices.default triu.default triu_.default triu_indices.default true_divide.Scalar true_divide.Tensor
trunc.default type_as.default unbind.int unflatten.int unfold.default unsqueeze.default unsqueeze_.default
upsample_bicubic2d.default upsample_bicubic2d.vec upsample_bilinear2d.default upsample_bilinear2d.vec
upsample_linear1d.default upsample_linear1d.vec upsample_nearest1d.default upsample_nearest1d.vec
upsample_nearest2d.default upsample_nearest2d.vec upsample_nearest3d.default upsample_nearest3d.vec
upsample_trilinear3d.default upsample_trilinear3d.vec _upsample_nearest_exact1d.default _upsample_nearest_exact1d.vec
_upsample_nearest_exact2d.default _upsample_nearest_exact2d.vec _upsample_bilinear2d_aa.vec var.correction var.default
var.dim var_mean.correction var_mean.dim view.default view_as.default _weight_norm.default where.ScalarOther
where.ScalarSelf where.self xlogy.Tensor zero_.default zeros.default zeros_like.default _assert_scalar.default
_assert_tensor_metadata.default sym_constrain_range.default sym_constrain_range_for_size.default
"""
_SIZES = """
_operator.add _operator.sub _operator.mul _operator.floordiv _operator.truediv _operator.mod _operator.neg _operator.pos
_operator.eq _operator.ne _operator.lt _operator.le _operator.gt _operator.ge _operator.and_ _operator.or_
torch.sym_max torch.sym_min torch.sym_not torch.sym_int torch.sym_float torch.sym_ite math.trunc
"""

REGION = "torch.ops.higher_order.wrap_with_set_grad_enabled"
"""The operator that torch.export writes for the lines under `torch.no_grad()`."""
IN_PLACE = re.compile(r"torch\.ops\.aten\.\w*[^_]_\.\w+")
"""Operators that change a tensor that later nodes may read, such as `aten.relu_.default`."""

# Operators that can return their argument or a view of it, which their schemas do not say.
_RETURN_ARGUMENT = """
alpha_dropout broadcast_tensors channel_shuffle dropout einsum feature_alpha_dropout feature_dropout meshgrid type_as
"""

_added: set[str] = set()

OPERATORS = frozenset(f"torch.ops.aten.{name}" for name in _ATEN.split()) | frozenset(_SIZES.split())

# run_decompositions({}) writes _unsafe_view after a matrix product. Its argument is contiguous
# there, so a plain view gives the same result.
_REWRITTEN = {"torch.ops.aten._unsafe_view.default": "torch.ops.aten.view.default"}


def allow_operators(names: Iterable[str]) -> None:
    """Adds operators to the allow-list of this process.

    `names`: operators that the person who runs the service trusts, such as `aten.histc.default`.

    Raises ValueError for a name that torch does not know.
    """
    import torch

    for name in names:
        operator, _, overload = name.removeprefix("aten.").partition(".")
        if not name.startswith("aten.") or not hasattr(getattr(torch.ops.aten, operator, None), overload or "?"):
            raise ValueError(
                f"operator {escaped(name)} is not known to torch {torch.__version__}; "
                "expected aten.<name>.<overload>, such as aten.histc.default"
            )
        _added.add(f"torch.ops.{name}")


def check_operator(target: str) -> str:
    """The operator that the node calls in the clean archive.

    Raises ArchiveError `operator_refused`.
    """
    target = _REWRITTEN.get(target, target)
    if target in OPERATORS or target in _added or target == REGION:
        return target
    advice = (
        "only the operators that ordinary networks need are allowed; "
        "the person who runs the service can add this operator to UNITRANK_OPERATORS"
    )
    if target.startswith("torch.ops.higher_order."):
        advice = (
            "regions under torch.no_grad() are the only higher-order operators that are allowed; "
            "torch.cond and loops cannot be used; for an autocast region, call run_decompositions({}) on the exported program "
            "before torch.export.save"
        )
    raise ArchiveError("operator_refused", f"operator {escaped(target)} is not allowed: {advice}")


def may_return_argument(target: str) -> bool:
    """Whether a result of the operator can share memory with an argument."""
    import torch

    name, _, overload = target.removeprefix("torch.ops.aten.").partition(".")
    operator = getattr(getattr(torch.ops.aten, name, None), overload or "?", None)
    return operator is None or name in _RETURN_ARGUMENT.split() or returns_views(operator)
