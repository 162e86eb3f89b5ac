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

from unitrank_engine.archive.description.reasons import reason, spelling
from unitrank_engine.archive.errors import ArchiveError, escaped
from unitrank_engine.torch_private import returns_views

_ATEN = """
abs.default abs_.default absolute.default acos.default acos_.default acosh.default acosh_.default
adaptive_avg_pool1d.default _adaptive_avg_pool2d.default adaptive_avg_pool2d.default _adaptive_avg_pool3d.default
adaptive_avg_pool3d.default adaptive_max_pool1d.default adaptive_max_pool2d.default adaptive_max_pool3d.default
add.Scalar add.Tensor add_.Scalar add_.Tensor addbmm.default addbmm_.default addcdiv.default addcdiv_.default
addcmul.default addcmul_.default addmm.default addmm_.default addmv.default addr.default adjoint.default
affine_grid_generator.default alias.default all.default all.dim all.dims alpha_dropout.default amax.default
amin.default aminmax.default __and__.Scalar __and__.Tensor angle.default any.default any.dim any.dims arange.default
arange.start arange.start_step arccos.default arccosh.default arcsin.default arcsinh.default arctan.default
arctan2.default arctanh.default argmax.default argmin.default argsort.default asin.default asin_.default asinh.default
asinh_.default _assert_scalar.default _assert_tensor_metadata.default atan.default atan2.default atan2_.default
atan_.default atanh.default atanh_.default atleast_1d.default atleast_2d.default atleast_3d.default avg_pool1d.default
avg_pool2d.default avg_pool3d.default baddbmm.default baddbmm_.default bartlett_window.default bartlett_window.periodic
batch_norm.default bilinear.default binary_cross_entropy.default binary_cross_entropy_with_logits.default
bitwise_and.Scalar bitwise_and.Tensor bitwise_and_.Scalar bitwise_and_.Tensor bitwise_left_shift.Scalar_Tensor
bitwise_left_shift.Tensor bitwise_left_shift.Tensor_Scalar bitwise_not.default bitwise_not_.default bitwise_or.Scalar
bitwise_or.Tensor bitwise_or_.Scalar bitwise_or_.Tensor bitwise_right_shift.Scalar_Tensor bitwise_right_shift.Tensor
bitwise_right_shift.Tensor_Scalar bitwise_xor.Scalar bitwise_xor.Tensor bitwise_xor_.Scalar bitwise_xor_.Tensor
blackman_window.default blackman_window.periodic block_diag.default bmm.default broadcast_tensors.default
broadcast_to.default bucketize.Tensor cartesian_prod.default cat.default cdist.default ceil.default ceil_.default
celu.default celu_.default channel_shuffle.default cholesky_inverse.default cholesky_solve.default chunk.default
clamp.Tensor clamp.default clamp_.Tensor clamp_.default clamp_max.Tensor clamp_max.default clamp_max_.default
clamp_min.Tensor clamp_min.default clamp_min_.default clip.default clip_.default clone.default col2im.default
column_stack.default complex.default concat.default concatenate.default _conj.default conj.default
conj_physical.default constant_pad_nd.default contiguous.default conv1d.default conv1d.padding conv2d.default
conv2d.padding conv3d.default conv3d.padding conv_transpose1d.default conv_transpose2d.input conv_transpose3d.input
convolution.default copy.default copy_.default copysign.Scalar copysign.Tensor cos.default cos_.default cosh.default
cosh_.default cosine_embedding_loss.default cosine_similarity.default count_nonzero.default cross.default
cummax.default cummin.default cumprod.default cumprod_.default cumsum.default cumsum_.default cumulative_trapezoid.dx
cumulative_trapezoid.x deg2rad.default deg2rad_.default det.default detach.default detach_.default diag.default
diag_embed.default diagflat.default diagonal.default diagonal_scatter.default diff.default digamma.default dist.default
div.Scalar div.Scalar_mode div.Tensor div.Tensor_mode div_.Scalar div_.Scalar_mode div_.Tensor div_.Tensor_mode
divide.Scalar divide.Tensor divide_.Tensor dot.default dropout.default dropout_.default dsplit.array dsplit.int
dstack.default einsum.default elu.default elu_.default embedding.default embedding_bag.default
embedding_bag.padding_idx eq.Scalar eq.Tensor eq_.Scalar eq_.Tensor erf.default erf_.default erfc.default
erfinv.default erfinv_.default exp.default exp2.default exp2_.default exp_.default expand.default expand_as.default
expm1.default expm1_.default eye.default eye.m feature_alpha_dropout.default feature_dropout.default fft_fft.default
fft_fft2.default fft_fftfreq.default fft_fftn.default fft_fftshift.default fft_hfft.default fft_ifft.default
fft_ifft2.default fft_ifftn.default fft_ifftshift.default fft_ihfft.default fft_irfft.default fft_irfft2.default
fft_irfftn.default fft_rfft.default fft_rfft2.default fft_rfftfreq.default fft_rfftn.default fill.Scalar fill.Tensor
fill_.Scalar fill_.Tensor fix.default fix_.default flatten.using_ints flip.default fliplr.default flipud.default
float_power.Scalar float_power.Tensor_Scalar float_power.Tensor_Tensor floor.default floor_.default floor_divide.Scalar
floor_divide.default floor_divide_.Scalar floor_divide_.Tensor fmax.default fmin.default fmod.Scalar fmod.Tensor
fmod_.Scalar fmod_.Tensor frac.default frac_.default full.default full_like.default gather.default ge.Scalar ge.Tensor
ge_.Scalar ge_.Tensor gelu.default gelu_.default ger.default glu.default greater.Scalar greater.Tensor
greater_equal.Scalar greater_equal.Tensor grid_sampler.default group_norm.default gru.input gru_cell.default gt.Scalar
gt.Tensor gt_.Scalar gt_.Tensor hamming_window.default hamming_window.periodic hann_window.default hann_window.periodic
hardshrink.default hardsigmoid.default hardsigmoid_.default hardswish.default hardswish_.default hardtanh.default
hardtanh_.default heaviside.default hinge_embedding_loss.default histc.default hsplit.array hsplit.int hstack.default
huber_loss.default hypot.default hypot_.default i0.default __iand__.Scalar __iand__.Tensor im2col.default imag.default
index.Tensor index_add.default index_add_.default index_copy.default index_copy_.default index_fill.int_Scalar
index_fill.int_Tensor index_fill_.int_Scalar index_fill_.int_Tensor index_put.default index_put_.default
index_reduce.default index_reduce_.default index_select.default inner.default instance_norm.default inverse.default
__ior__.Scalar __ior__.Tensor isclose.default isfinite.default isin.Tensor_Tensor isinf.default isnan.default
isneginf.default isposinf.default isreal.default istft.default __ixor__.Scalar __ixor__.Tensor kaiser_window.beta
kaiser_window.default kaiser_window.periodic kl_div.default kthvalue.default l1_loss.default layer_norm.default
ldexp.Tensor le.Scalar le.Tensor le_.Scalar le_.Tensor leaky_relu.default leaky_relu_.default lerp.Scalar lerp.Tensor
lerp_.Scalar lerp_.Tensor less.Scalar less.Tensor less_equal.Scalar less_equal.Tensor lgamma.default lift_fresh.default
lift_fresh_copy.default linalg_cholesky.default linalg_cross.default linalg_det.default linalg_diagonal.default
linalg_eigh.default linalg_eigvalsh.default linalg_householder_product.default linalg_inv.default linalg_matmul.default
linalg_matrix_exp.default linalg_matrix_norm.default linalg_matrix_norm.str_ord linalg_matrix_power.default
linalg_multi_dot.default linalg_norm.default linalg_norm.ord_str linalg_pinv.atol_rtol_float
linalg_pinv.atol_rtol_tensor linalg_pinv.default linalg_qr.default linalg_slogdet.default linalg_solve.default
linalg_solve_triangular.default linalg_svd.default linalg_svdvals.default linalg_vander.default linalg_vecdot.default
linalg_vector_norm.default linear.default linspace.default log.default log10.default log10_.default log1p.default
log1p_.default log2.default log2_.default log_.default log_sigmoid.default _log_softmax.default log_softmax.int
logaddexp.default logaddexp2.default logcumsumexp.default logdet.default logical_and.default logical_and_.default
logical_not.default logical_not_.default logical_or.default logical_or_.default logical_xor.default
logical_xor_.default logit.default logit_.default logspace.default logsumexp.default __lshift__.Scalar
__lshift__.Tensor lstm.input lstm_cell.default lt.Scalar lt.Tensor lt_.Scalar lt_.Tensor mH.default mT.default
margin_ranking_loss.default masked_fill.Scalar masked_fill.Tensor masked_fill_.Scalar masked_fill_.Tensor
masked_scatter.default masked_scatter_.default matmul.default matrix_H.default matrix_exp.default matrix_power.default
max.default max.dim max.other max_pool1d.default max_pool2d.default max_pool2d_with_indices.default max_pool3d.default
max_pool3d_with_indices.default max_unpool2d.default max_unpool3d.default maximum.default mean.default mean.dim
median.default median.dim meshgrid.default meshgrid.indexing min.default min.dim min.other minimum.default mish.default
mish_.default mm.default mode.default moveaxis.int moveaxis.intlist movedim.int movedim.intlist mse_loss.default
msort.default mul.Scalar mul.Tensor mul_.Scalar mul_.Tensor multiply.Scalar multiply.Tensor multiply_.Scalar
multiply_.Tensor mv.default mvlgamma.default nan_to_num.default nan_to_num_.default nanmean.default nanmedian.default
nanmedian.dim nanquantile.default nanquantile.scalar nansum.default narrow.default
_native_batch_norm_legit_no_training.default native_group_norm.default native_layer_norm.default ne.Scalar ne.Tensor
ne_.Scalar ne_.Tensor neg.default neg_.default negative.default negative_.default new_full.default new_ones.default
new_zeros.default norm.Scalar norm.ScalarOpt_dim not_equal.Scalar not_equal.Tensor numpy_T.default one_hot.default
ones.default ones_like.default __or__.Scalar __or__.Tensor outer.default pad.default pairwise_distance.default
permute.default pinverse.default pixel_shuffle.default pixel_unshuffle.default polar.default polygamma.default
positive.default pow.Scalar pow.Tensor_Scalar pow.Tensor_Tensor pow_.Scalar pow_.Tensor prelu.default
_prelu_kernel.default prod.default prod.dim_int quantile.default quantile.scalar rad2deg.default rad2deg_.default
range.default range.step ravel.default real.default reciprocal.default reciprocal_.default reflection_pad1d.default
reflection_pad2d.default reflection_pad3d.default relu.default relu6.default relu6_.default relu_.default
remainder.Scalar remainder.Tensor remainder_.Scalar remainder_.Tensor renorm.default repeat.default
repeat_interleave.self_Tensor repeat_interleave.self_int replication_pad1d.default replication_pad2d.default
replication_pad3d.default reshape.default reshape_as.default resolve_conj.default resolve_neg.default rms_norm.default
rnn_relu.input rnn_relu_cell.default rnn_tanh.input rnn_tanh_cell.default roll.default rot90.default round.decimals
round.default round_.default row_stack.default rrelu.default __rshift__.Scalar __rshift__.Tensor rsqrt.default
rsqrt_.default rsub.Scalar rsub.Tensor _safe_softmax.default scalar_tensor.default scaled_dot_product_attention.default
scatter.reduce scatter.src scatter.value scatter.value_reduce scatter_.reduce scatter_.src scatter_.value
scatter_.value_reduce scatter_add.default scatter_add_.default scatter_reduce.two scatter_reduce_.two
searchsorted.Tensor select.int select_scatter.default selu.default selu_.default sgn.default sgn_.default
sigmoid.default sigmoid_.default sign.default signbit.default silu.default silu_.default sin.default sin_.default
sinc.default sinh.default sinh_.default slice.Tensor slice_scatter.default slogdet.default smooth_l1_loss.default
_softmax.default softmax.int softplus.default softshrink.default sort.default sort.stable special_digamma.default
special_entr.default special_erf.default special_erfc.default special_erfcx.default special_erfinv.default
special_exp2.default special_expit.default special_expm1.default special_gammaln.default special_i0e.default
special_i1.default special_i1e.default special_log1p.default special_log_ndtr.default special_log_softmax.default
special_logit.default special_logsumexp.default special_ndtr.default special_ndtri.default special_psi.default
special_round.default special_sinc.default special_softmax.default special_xlog1py.default special_xlogy.default
split.Tensor split_with_sizes.default sqrt.default sqrt_.default square.default square_.default squeeze.default
squeeze.dim squeeze.dims squeeze_.default squeeze_.dim squeeze_.dims stack.default std.correction std.default std.dim
std_mean.correction std_mean.dim stft.center stft.default sub.Scalar sub.Tensor sub_.Scalar sub_.Tensor subtract.Scalar
subtract.Tensor subtract_.Tensor sum.default sum.dim_IntList swapaxes.default swapaxes_.default swapdims.default
swapdims_.default sym_constrain_range.default sym_constrain_range_for_size.default sym_numel.default sym_size.int
t.default t_.default take.default take_along_dim.default tan.default tan_.default tanh.default tanh_.default
tensor_split.indices tensor_split.sections tensordot.default threshold.default threshold_.default tile.default
to.device to.dtype to.dtype_layout to.other _to_copy.default topk.default trace.default transpose.int
transpose_.default trapezoid.dx trapezoid.x trapz.dx trapz.x tril.default tril_.default tril_indices.default
triplet_margin_loss.default triu.default triu_.default triu_indices.default true_divide.Scalar true_divide.Tensor
true_divide_.Tensor trunc.default trunc_.default type_as.default unbind.int unflatten.int unfold.default
unsqueeze.default unsqueeze_.default upsample_bicubic2d.default upsample_bicubic2d.vec _upsample_bicubic2d_aa.vec
upsample_bilinear2d.default upsample_bilinear2d.vec _upsample_bilinear2d_aa.vec upsample_linear1d.default
upsample_linear1d.vec upsample_nearest1d.default upsample_nearest1d.vec upsample_nearest2d.default
upsample_nearest2d.vec upsample_nearest3d.default upsample_nearest3d.vec _upsample_nearest_exact1d.default
_upsample_nearest_exact1d.vec _upsample_nearest_exact2d.default _upsample_nearest_exact2d.vec
_upsample_nearest_exact3d.default _upsample_nearest_exact3d.vec upsample_trilinear3d.default upsample_trilinear3d.vec
var.correction var.default var.dim var_mean.correction var_mean.dim vdot.default view.default view_as.default
view_as_complex.default view_as_real.default vsplit.array vsplit.int vstack.default _weight_norm.default where.Scalar
where.ScalarOther where.ScalarSelf where.self xlogy.Scalar_Other xlogy.Scalar_Self xlogy.Tensor xlogy_.Tensor
__xor__.Scalar __xor__.Tensor zero_.default zeros.default zeros_like.default
"""
_SIZES = """
_operator.add _operator.sub _operator.mul _operator.floordiv _operator.truediv _operator.mod _operator.neg _operator.pos
_operator.eq _operator.ne _operator.lt _operator.le _operator.gt _operator.ge _operator.and_ _operator.or_
torch.sym_max torch.sym_min torch.sym_not torch.sym_int torch.sym_float torch.sym_ite math.trunc
"""

REGION = "torch.ops.higher_order.wrap_with_set_grad_enabled"
"""The operator that torch.export writes for the lines under `torch.no_grad()`."""
IN_PLACE = re.compile(r"torch\.ops\.aten\.(\w*[^_]_|__i\w+__)\.\w+")
"""Operators that change their argument `self`, which later nodes may read.

For example `aten.relu_.default` and `aten.__ior__.Tensor`.
"""

# Operators that can return their argument or a view of it, which their schemas do not say.
_RETURN_ARGUMENT = """
alpha_dropout atleast_1d atleast_2d atleast_3d broadcast_tensors cartesian_prod channel_shuffle conj_physical dropout einsum
feature_alpha_dropout feature_dropout meshgrid type_as
"""

_added: set[str] = set()

OPERATORS = frozenset(f"torch.ops.aten.{name}" for name in _ATEN.split()) | frozenset(_SIZES.split())

# run_decompositions({}) writes _unsafe_view after a matrix product. Its argument is contiguous
# there, so a plain view gives the same result.
_REWRITTEN = {
    "torch.ops.aten._unsafe_view.default": "torch.ops.aten.view.default",
    "torch.ops.aten.unsafe_chunk.default": "torch.ops.aten.chunk.default",
    "torch.ops.aten.unsafe_split.Tensor": "torch.ops.aten.split.Tensor",
    # Memory without values is never read by a model that gives the same result each time.
    "torch.ops.aten.empty.memory_format": "torch.ops.aten.zeros.default",
    "torch.ops.aten.empty_like.default": "torch.ops.aten.zeros_like.default",
    "torch.ops.aten.new_empty.default": "torch.ops.aten.new_zeros.default",
}


def allow_operators(names: Iterable[str]) -> None:
    """Adds operators to the allow-list of this process.

    `names`: operators that the person who runs the service trusts, such as
    `aten.special_bessel_j0.default`.

    Raises ValueError for a name that torch does not know.
    """
    import torch

    for name in names:
        operator, _, overload = name.removeprefix("aten.").partition(".")
        if not name.startswith("aten.") or not hasattr(getattr(torch.ops.aten, operator, None), overload or "?"):
            raise ValueError(
                f"operator {escaped(name)} is not known to torch {torch.__version__}; "
                "expected aten.<name>.<overload>, such as aten.special_bessel_j0.default"
            )
        _added.add(f"torch.ops.{name}")


def check_operator(target: str) -> str:
    """The operator that the node calls in the clean archive.

    Raises ArchiveError `operator_refused`.
    """
    target = _REWRITTEN.get(target, target)
    if target in OPERATORS or target in _added or target == REGION:
        return target
    written, why = spelling(target), reason(target)
    raise ArchiveError("operator_refused", f"operator {escaped(target)}{written} is not allowed: {why}")


def may_return_argument(target: str) -> bool:
    """Whether a result of the operator can share memory with an argument."""
    import torch

    name, _, overload = target.removeprefix("torch.ops.aten.").partition(".")
    operator = getattr(getattr(torch.ops.aten, name, None), overload or "?", None)
    return operator is None or name in _RETURN_ARGUMENT.split() or returns_views(operator)
