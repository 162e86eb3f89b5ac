"""Valid calls of each operator that an archive may contain.

A call is one line: the arguments of the operator, separated by spaces.

- `f[n,3]` is a tensor of floating-point numbers. n is the batch, and a tensor with n depends on the
  model's inputs; a tensor without n is a weight.
- `c[n,3]` is a tensor of complex numbers, `i7[n,3]` a tensor of whole numbers below 7, and `m[n,3]`
  a mask.
- `<f[3]|m[3]>` is a list of tensors.
- `name=` in front of an argument gives it by name. Other words are literals of Python.
"""

from tests.mutants.operators.analysis import ANALYSIS

_SAME = """abs abs_ absolute acos acosh alias argsort asin asinh atan atanh ceil celu celu_ clone contiguous cos cos_ cosh
deg2rad detach detach_ elu elu_ erf erf_ erfc erfinv exp exp2 exp_ expm1 floor floor_ frac gelu gelu_ hardshrink hardsigmoid
hardsigmoid_ hardswish hardswish_ hardtanh hardtanh_ isfinite isinf isnan leaky_relu leaky_relu_ lift_fresh lift_fresh_copy log
log10 log1p log2 log_ log_sigmoid logical_not logit mish mish_ nan_to_num nan_to_num_ neg neg_ negative ones_like real reciprocal
reciprocal_ relu relu6 relu6_ relu_ round rsqrt rsqrt_ selu selu_ sgn sigmoid sigmoid_ sign silu silu_ sin sin_ sinh softplus
softshrink sort sqrt sqrt_ square square_ tan tanh tanh_ trunc zero_ zeros_like"""
_REDUCED = """all amax amin aminmax any argmax argmin count_nonzero max mean median min norm.Scalar prod ravel std std.correction
sum var"""
_SQUARE = "diag fliplr flipud mT numpy_T t t_ trace tril tril_ triu triu_"
_SCALAR = """add.Scalar add_.Scalar clamp clamp_ clamp_max clamp_max_ clamp_min clamp_min_ clip div.Scalar div_.Scalar divide.Scalar
eq.Scalar fill.Scalar fill_.Scalar float_power.Tensor_Scalar floor_divide.Scalar fmod.Scalar full_like ge.Scalar greater.Scalar
greater_equal.Scalar gt.Scalar le.Scalar less.Scalar less_equal.Scalar lt.Scalar mul.Scalar mul_.Scalar multiply.Scalar ne.Scalar
not_equal.Scalar pow.Tensor_Scalar pow_.Scalar remainder.Scalar rsub.Scalar sub.Scalar sub_.Scalar subtract.Scalar
true_divide.Scalar"""
_PAIR = """add.Tensor add_.Tensor atan2 clamp.Tensor clamp_.Tensor clamp_max.Tensor clamp_min.Tensor copy copy_ cosine_similarity
dist div.Tensor div_.Tensor divide.Tensor eq.Tensor floor_divide fmax fmin fmod.Tensor ge.Tensor greater.Tensor
greater_equal.Tensor gt.Tensor heaviside le.Tensor less.Tensor less_equal.Tensor logaddexp logical_and logical_or logical_xor
lt.Tensor max.other maximum min.other minimum mul.Tensor mul_.Tensor multiply.Tensor ne.Tensor not_equal.Tensor pairwise_distance
pow.Tensor_Tensor pow_.Tensor remainder.Tensor rsub.Tensor sub.Tensor sub_.Tensor subtract.Tensor to.other true_divide.Tensor
type_as xlogy.Tensor"""
_WHOLE = "__and__.Scalar __or__.Scalar __xor__.Scalar bitwise_and.Scalar bitwise_or.Scalar bitwise_xor.Scalar"
_WHOLE_PAIR = "__and__.Tensor __or__.Tensor __xor__.Tensor bitwise_and.Tensor bitwise_or.Tensor bitwise_xor.Tensor"
_AXIS = """all.dim amax amin any.dim argmax argmin cummax cummin cumsum cumprod logcumsumexp log_softmax.int logsumexp max.dim
mean.dim median.dim min.dim prod.dim_int softmax.int squeeze.dim squeeze_.dim std.dim std_mean.dim sum.dim_IntList var.dim
var_mean.dim unbind.int unsqueeze unsqueeze_ argsort sort count_nonzero linalg_vector_norm"""

_GROUPS: dict[str, tuple[str, ...]] = {
    _SAME: ("f[n,5]", "f[7]"),
    _REDUCED: ("f[n,5]", "f[3,5]"),
    _SQUARE: ("f[5,5]", "f[3,7]"),
    _SCALAR: ("f[n,5] 2",),
    "div.Scalar_mode div_.Scalar_mode": ("f[n,5] 2 rounding_mode='floor'",),
    "div.Tensor_mode div_.Tensor_mode": ("f[n,5] f[5] rounding_mode='trunc'",),
    _PAIR: ("f[n,5] f[5]", "f[3,5] f[3,1]"),
    _WHOLE: ("i7[n,5] 3",),
    _WHOLE_PAIR: ("i7[n,5] i7[5]",),
    _AXIS: ("f[n,3,5] 1", "f[3,5] -1"),
    "std_mean.correction var_mean.correction var.correction": ("f[n,3,5] [1] correction=1",),
    "adaptive_avg_pool1d adaptive_max_pool1d": ("f[n,3,9] [4]",),
    "adaptive_avg_pool2d _adaptive_avg_pool2d adaptive_max_pool2d": ("f[n,3,7,9] [4,5]",),
    "adaptive_avg_pool3d _adaptive_avg_pool3d adaptive_max_pool3d": ("f[n,2,5,6,7] [3,2,4]",),
    "addbmm": ("f[3,5] f[n,3,4] f[n,4,5]",),
    "baddbmm": ("f[n,3,5] f[n,3,4] f[n,4,5]",),
    "addcdiv addcmul": ("f[n,5] f[5] f[n,1] value=0.5",),
    "addmm": ("f[5] f[n,4] f[4,5]",),
    "addmv": ("f[3] f[3,4] f[4]",),
    "alpha_dropout dropout dropout_ feature_alpha_dropout feature_dropout": ("f[n,5] 0.5 False",),
    "arange": ("5",),
    "arange.start": ("2 9",),
    "arange.start_step": ("2 9 3",),
    "avg_pool1d": ("f[n,3,9] [3] [2] [1]",),
    "avg_pool2d": ("f[n,3,7,9] [3,2] [2,1] [1,1]",),
    "avg_pool3d": ("f[n,2,5,6,7] [3,2,2] [2,1,1] [1,1,1]",),
    "max_pool1d": ("f[n,3,9] [3] [2] [1] [2]", "f[n,3,2] [2] [1] [1] [2]"),
    "max_pool2d max_pool2d_with_indices": ("f[n,3,7,9] [3,2] [2,1] [1,1] [2,3]", "f[n,3,2,4096] [2,1] [1,1] [1,0] [2,1]"),
    "max_pool3d max_pool3d_with_indices": ("f[n,2,5,6,7] [3,2,2] [2,1,1] [1,1,1] [1,2,3]", "f[n,2,3,2,4] 2 1 1 2"),
    "batch_norm": ("f[n,3,4] f[3] f[3] f[3] f[3] False 0.1 1e-5 False",),
    "_native_batch_norm_legit_no_training": ("f[n,3,4] f[3] f[3] f[3] f[3] 0.1 1e-5",),
    "bilinear": ("f[n,3] f[n,4] f[5,3,4] f[5]",),
    "bitwise_not": ("i7[n,5]", "m[n,5]"),
    "bmm": ("f[n,3,4] f[n,4,5]",),
    "broadcast_tensors": ("<f[n,5]|f[5]>",),
    "broadcast_to expand": ("f[3,1] [3,5]", "f[1,5] [-1,-1]"),
    "bucketize.Tensor": ("f[n,5] f[7]", "i9[n,5] i9[7]"),
    "cat concat concatenate": ("<f[n,5]|f[n,3]> 1", "<f[2,3]|f[4,3]>"),
    "hstack": ("<f[n,5]|f[n,3]>",),
    "stack": ("<f[n,5]|f[n,5]> 1",),
    "cdist": ("f[n,3,4] f[n,5,4]", "f[n,3,4] f[5,4] 1.0"),
    "channel_shuffle": ("f[n,6,3,3] 2",),
    "chunk": ("f[n,7] 3 1",),
    "col2im": ("f[n,12,12] [4,5] [2,2] [1,1] [0,0] [1,1]",),
    "im2col": ("f[n,3,5,6] [2,2] [1,1] [0,0] [1,1]",),
    "constant_pad_nd": ("f[n,3,5] [1,2] 0.5", "f[n,3,5] [-1,-2]"),
    "pad": (
        "f[n,3,5] [1,2] 'circular'",
        "f[1,3,5] [3,-2] 'circular'",
        "f[n,3,5] [2,1] 'reflect'",
        "f[n,3,5] [2,1] 'replicate'",
        "f[n,3,5,6] [2,1,1,2] 'reflect'",
    ),
    "conv1d": ("f[n,4,9] f[6,2,3] f[6] [2] [1] [1] 2", "f[n,4,9] f[6,4,3]"),
    "conv1d.padding": ("f[n,4,9] f[6,4,3] f[6] padding='same'",),
    "conv2d": ("f[n,4,7,8] f[6,2,3,2] f[6] [2,1] [1,0] [1,2] 2", "f[n,4,7,8] f[4,1,3,3] None [1,1] [1,1] [1,1] 4"),
    "conv2d.padding": ("f[n,4,7,8] f[6,4,3,2] f[6] padding='valid'",),
    "conv3d": ("f[n,2,5,5,6] f[3,2,2,2,3] f[3]",),
    "conv3d.padding": ("f[n,2,5,5,6] f[3,2,2,2,3] f[3] padding='same'",),
    "conv_transpose1d": ("f[n,4,5] f[4,3,3] f[3] [2] [1] [1]",),
    "conv_transpose2d.input": ("f[n,4,3,5] f[4,3,3,2] f[3] [2,1] [1,0] [1,0]",),
    "conv_transpose3d.input": ("f[n,2,3,3,4] f[2,3,2,2,2] f[3]",),
    "convolution": ("f[n,4,7,8] f[6,2,3,2] f[6] [2,1] [1,0] [1,1] False [0,0] 2", "f[n,4,5] f[4,3,3] None [2] [1] [1] True [1] 1"),
    "cross": ("f[n,3] f[n,3] 1",),
    "diff": ("f[n,5] 1 1",),
    "diag_embed diagonal": ("f[n,3,4]", "f[3,5] 1"),
    "dot": ("f[7] f[7]",),
    "outer": ("f[5] f[7]",),
    "einsum": ("'bi,ij->bj' <f[n,5]|f[5,3]>",),
    "embedding": ("f[7,3] i7[n,4]", "f[7,3] i7[n] 1"),
    "embedding_bag": ("f[7,3] i7[6] i1[3]", "f[7,3] i7[6] i1[3] False 1", "f[7,3] i7[n] i1[1]"),
    "embedding_bag.padding_idx": ("f[7,3] i7[6] i1[3] False 2 False None True 1",),
    "expand_as view_as reshape_as": ("f[1,5] f[1,5]",),
    "eye": ("5",),
    "eye.m": ("5 3",),
    "fill.Tensor fill_.Tensor": ("f[n,5] f[]",),
    "flatten.using_ints": ("f[n,3,5] 1 2",),
    "unflatten.int": ("f[n,6] 1 [2,3]",),
    "flip": ("f[n,3,5] [1,2]",),
    "full": ("[3,5] 2.5",),
    "ones zeros": ("[3,5]",),
    "gather": ("f[n,5] 1 i5[n,3]", "f[7] 0 i7[4]", "f[6,5] 0 i6[n,3]"),
    "take_along_dim": ("f[n,5] i5[n,3] 1", "f[7] i7[4]"),
    "glu": ("f[n,6] 1",),
    "group_norm": ("f[n,6,4] 3 f[6] f[6]",),
    "native_group_norm": ("f[2,6,4] f[6] f[6] 2 6 4 3 1e-5",),
    "instance_norm": ("f[n,3,5] f[3] f[3] None None True 0.1 1e-5 False",),
    "layer_norm": ("f[n,3,5] [5] f[5] f[5]",),
    "native_layer_norm": ("f[n,3,5] [5] f[5] f[5] 1e-5",),
    "rms_norm": ("f[n,3,5] [5] f[5]",),
    "lstm.input": (
        "f[n,4,3] <f[1,n,5]|f[1,n,5]> <f[20,3]|f[20,5]|f[20]|f[20]> True 1 0.0 False False True",
        "f[n,4,3] <f[2,n,5]|f[2,n,5]> <f[20,3]|f[20,5]|f[20,3]|f[20,5]> False 1 0.0 False True True",
    ),
    "gru.input": ("f[n,4,3] f[1,n,5] <f[15,3]|f[15,5]|f[15]|f[15]> True 1 0.0 False False True",),
    "rnn_relu.input rnn_tanh.input": ("f[n,4,3] f[1,n,5] <f[5,3]|f[5,5]|f[5]|f[5]> True 1 0.0 False False True",),
    "lstm_cell": ("f[n,3] <f[n,5]|f[n,5]> f[20,3] f[20,5] f[20] f[20]",),
    "gru_cell": ("f[n,3] f[n,5] f[15,3] f[15,5] f[15] f[15]",),
    "rnn_relu_cell rnn_tanh_cell": ("f[n,3] f[n,5] f[5,3] f[5,5] f[5] f[5]",),
    "index.Tensor": ("f[n,5,4] <i5[n]|i4[n]>", "f[7,3] <i7[n,4]>", "f[6,5] <i6[4]|i5[4]>", "f[6,3] <i6[4]|i3[]>", "f[6,3] <m[6]>"),
    "index_put index_put_": (
        "f[6,5] <i6[4]> f[4,5]",
        "f[6,5] <i6[4]|i5[4]> f[4] True",
        "f[n,5] <None|m[5]> f[]",
        "f[n,5] <None|i5[3]> f[n,3]",
    ),
    "index_add index_copy": ("f[n,5] 1 i5[3] f[n,3]", "f[6,5] 0 i6[3] f[3,5]"),
    "index_fill.int_Scalar": ("f[n,5] 1 i5[3] 2.0",),
    "index_select": ("f[n,5] 1 i5[3]", "f[7,3] 0 i7[n]"),
    "kthvalue topk": ("f[n,5] 2 1",),
    "lerp.Scalar": ("f[n,5] f[5] 0.5",),
    "lerp.Tensor": ("f[n,5] f[5] f[n,1]",),
    "linalg_norm": ("f[n,5] 2.0 [1]",),
    "norm.ScalarOpt_dim": ("f[n,5] 2 [1]",),
    "linear": ("f[n,5] f[4,5] f[4]", "f[n,3,5] f[4,5]"),
    "linspace": ("0.0 1.0 7",),
    "_log_softmax _softmax": ("f[n,5] 1 False",),
    "_safe_softmax": ("f[n,5] 1",),
    "masked_fill.Scalar masked_fill_.Scalar": ("f[n,5] m[n,5] 2.0",),
    "masked_fill.Tensor masked_fill_.Tensor": ("f[n,5] m[n,5] f[]",),
    "masked_scatter": ("f[n,5] m[n,5] f[n,5]", "f[6] m[6] f[6]"),
    "matmul": ("f[n,3,4] f[4,5]", "f[n,4] f[4]"),
    "mm": ("f[n,4] f[4,5]",),
    "mv": ("f[n,4] f[4]",),
    "meshgrid": ("<f[5]|f[3]>",),
    "meshgrid.indexing": ("<f[5]|f[3]> indexing='xy'",),
    "moveaxis.int movedim.int swapaxes swapdims transpose.int transpose_": ("f[n,3,5] 1 2",),
    "moveaxis.intlist movedim.intlist": ("f[n,3,5] [1,2] [2,1]",),
    "permute": ("f[n,3,5] [0,2,1]",),
    "narrow": ("f[n,7] 1 2 3",),
    "new_full": ("f[n,5] [3,4] 2.0",),
    "new_ones new_zeros": ("f[n,5] [3,4]",),
    "one_hot": ("i5[n] 5",),
    "pixel_shuffle": ("f[n,8,3,3] 2",),
    "pixel_unshuffle": ("f[n,2,6,6] 2",),
    "polar": ("f[n,5] f[n,5]",),
    "pow.Scalar": ("2.0 f[n,5]",),
    "prelu": ("f[n,3,4] f[3]",),
    "_prelu_kernel": ("f[n,3] f[1,3]",),
    "reflection_pad1d replication_pad1d": ("f[n,3,5] [2,1]", "f[3,5] [-1,2]"),
    "reflection_pad2d replication_pad2d": ("f[n,3,5,6] [2,1,1,2]",),
    "reflection_pad3d replication_pad3d": ("f[n,2,4,5,6] [2,1,1,2,1,1]",),
    "repeat tile": ("f[3,5] [2,2]",),
    "repeat_interleave.self_int": ("f[n,5] 2 1",),
    "reshape view": ("f[n,6] [-1,2,3]",),
    "roll": ("f[n,5] [2] [1]",),
    "rot90": ("f[n,3,5] 1 [1,2]",),
    "round.decimals": ("f[n,5] decimals=2",),
    "scalar_tensor": ("2.0",),
    "scaled_dot_product_attention": ("f[n,2,5,4] f[n,2,7,4] f[n,2,7,4]", "f[n,2,5,4] f[n,2,5,4] f[n,2,5,3] None 0.0 True"),
    "scatter.src scatter_.src scatter_add": ("f[n,5] 1 i5[n,3] f[n,3]", "f[7] 0 i7[4] f[4]"),
    "scatter.value scatter_.value": ("f[n,5] 1 i5[n,3] 2.0",),
    "scatter_reduce.two": ("f[n,5] 1 i5[n,3] f[n,3] 'amax'", "f[7] 0 i7[4] f[4] 'mean'"),
    "searchsorted.Tensor": ("f[7] f[n,5]", "f[3,7] f[3,5]", "f[7] f[4] sorter=i7[7]"),
    "select.int": ("f[n,5] 1 2",),
    "select_scatter": ("f[n,5] f[n] 1 2",),
    "slice.Tensor": ("f[n,7] 1 1 5 2",),
    "slice_scatter": ("f[n,7] f[n,2] 1 1 5 2",),
    "sort.stable": ("f[n,5] stable=True dim=1",),
    "split.Tensor": ("f[n,7] 3 1",),
    "split_with_sizes": ("f[n,7] [3,4] 1",),
    "squeeze": ("f[n,1,5]", "f[1,5]"),
    "squeeze.dims": ("f[n,1,5,1] [1,3]",),
    "tensor_split.indices": ("f[n,7] [2,5] 1",),
    "tensor_split.sections": ("f[n,7] 3 1",),
    "tensordot": ("f[n,3,4] f[4,3,5] [1,2] [1,0]",),
    "threshold threshold_": ("f[n,5] 0.0 1.0",),
    "to.device": ("f[n,5] 'cpu' torch.float64",),
    "to.dtype": ("f[n,5] torch.int64",),
    "to.dtype_layout _to_copy": ("f[n,5] dtype=torch.float64",),
    "tril_indices triu_indices": ("4 5 1",),
    "unfold": ("f[n,7] 1 3 2",),
    "upsample_bicubic2d upsample_bilinear2d": ("f[n,2,4,5] [7,9] False",),
    "upsample_bicubic2d.vec upsample_bilinear2d.vec _upsample_bilinear2d_aa.vec": (
        "f[n,2,4,5] None False [1.7,2.2]",
        "f[n,2,6,7] [3,4] True None",
    ),
    "upsample_linear1d": ("f[n,2,5] [9] False",),
    "upsample_linear1d.vec": ("f[n,2,5] None False [1.7]",),
    "upsample_trilinear3d": ("f[n,2,3,4,5] [5,7,9] False",),
    "upsample_trilinear3d.vec": ("f[n,2,3,4,5] None False [1.7,2.0,1.2]",),
    "upsample_nearest1d _upsample_nearest_exact1d": ("f[n,2,5] [9]",),
    "upsample_nearest1d.vec _upsample_nearest_exact1d.vec": ("f[n,2,5] None [1.7]",),
    "upsample_nearest2d _upsample_nearest_exact2d": ("f[n,2,4,5] [7,9]",),
    "upsample_nearest2d.vec _upsample_nearest_exact2d.vec": ("f[n,2,4,5] None [1.7,2.2]",),
    "upsample_nearest3d": ("f[n,2,3,4,5] [5,7,9]",),
    "upsample_nearest3d.vec": ("f[n,2,3,4,5] None [1.7,2.0,1.2]",),
    "_weight_norm": ("f[6,4] f[6,1]", "f[6,4] f[1,4] 1"),
    "where.ScalarOther": ("m[n,5] f[n,5] 2.0",),
    "where.ScalarSelf": ("m[n,5] 2.0 f[n,5]",),
    "where.self": ("m[n,5] f[n,5] f[5]",),
    "sym_size.int": ("f[n,5] 0",),
    "sym_numel": ("f[n,5]",),
}

CALLS: dict[str, list[str]] = {}
"""The operator as `name.overload` → its calls."""
for _names, _calls in (_GROUPS | ANALYSIS).items():
    for _name in _names.split():
        CALLS.setdefault(_name if "." in _name else f"{_name}.default", []).extend(_calls)
