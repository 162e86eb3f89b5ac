"""Valid calls of operators of mathematics, and of in-place operators.

These are Fourier transforms, linear algebra, special functions, losses and sampling.

The text of a call is explained in `table`. `c[n,5]` is a tensor of complex numbers.
"""

_IN_PLACE = """acos_ acosh_ asin_ asinh_ atan_ atanh_ ceil_ cosh_ deg2rad_ erfinv_ exp2_ expm1_ fix_ frac_ log10_ log1p_ log2_
logical_not_ logit_ negative_ rad2deg_ round_ sgn_ sinh_ squeeze_ tan_ trunc_"""
_IN_PLACE_SCALAR = """
eq_.Scalar floor_divide_.Scalar fmod_.Scalar ge_.Scalar gt_.Scalar le_.Scalar lt_.Scalar multiply_.Scalar ne_.Scalar
remainder_.Scalar clip_"""
_IN_PLACE_PAIR = """atan2_ divide_.Tensor eq_.Tensor floor_divide_.Tensor fmod_.Tensor ge_.Tensor gt_.Tensor hypot_ le_.Tensor
logical_and_ logical_or_ logical_xor_ lt_.Tensor multiply_.Tensor ne_.Tensor remainder_.Tensor subtract_.Tensor
true_divide_.Tensor xlogy_.Tensor"""
_IN_PLACE_WHOLE = "__iand__.Scalar __ior__.Scalar __ixor__.Scalar bitwise_and_.Scalar bitwise_or_.Scalar bitwise_xor_.Scalar"
_IN_PLACE_WHOLE_PAIR = (
    """__iand__.Tensor __ior__.Tensor __ixor__.Tensor bitwise_and_.Tensor bitwise_or_.Tensor bitwise_xor_.Tensor"""
)
_SAME = """
angle arccos arccosh arcsin arcsinh arctan arctanh atleast_1d atleast_2d atleast_3d digamma fix i0 isneginf isposinf
isreal lgamma msort positive rad2deg rrelu signbit sinc special_digamma special_entr special_erf special_erfc
special_erfcx special_erfinv special_exp2 special_expit special_expm1 special_gammaln special_i0e special_i1
special_i1e special_log1p special_log_ndtr special_logit special_ndtr special_ndtri special_psi special_round
special_sinc"""
_PAIR = """arctan2 copysign.Tensor float_power.Tensor_Tensor hypot isclose isin.Tensor_Tensor ldexp.Tensor logaddexp2
special_xlog1py special_xlogy"""
_LOSS = """binary_cross_entropy_with_logits hinge_embedding_loss huber_loss kl_div l1_loss mse_loss smooth_l1_loss"""
_FOURIER = "fft_fft fft_hfft fft_ifft fft_ihfft fft_irfft fft_rfft"
_FOURIER_OF_IMAGES = "fft_fft2 fft_ifft2 fft_irfft2 fft_rfft2 fft_fftn fft_ifftn fft_irfftn fft_rfftn"
_WINDOWS = "bartlett_window blackman_window hamming_window hann_window kaiser_window fft_fftfreq fft_rfftfreq"
_PERIODIC = "bartlett_window.periodic blackman_window.periodic hamming_window.periodic hann_window.periodic kaiser_window.periodic"
_MATRIX = """cholesky_inverse det inverse linalg_cholesky linalg_det linalg_eigh linalg_eigvalsh linalg_inv linalg_matrix_exp
linalg_matrix_norm.str_ord linalg_pinv.atol_rtol_float linalg_pinv.atol_rtol_tensor linalg_qr linalg_slogdet
linalg_svd linalg_svdvals logdet matrix_exp pinverse slogdet"""

ANALYSIS: dict[str, tuple[str, ...]] = {
    _IN_PLACE: ("f[n,5]", "f[7]"),
    _IN_PLACE_SCALAR: ("f[n,5] 2",),
    _IN_PLACE_PAIR: ("f[n,5] f[5]", "f[3,5] f[3,1]"),
    _IN_PLACE_WHOLE: ("i7[n,5] 3",),
    _IN_PLACE_WHOLE_PAIR: ("i7[n,5] i7[5]",),
    "bitwise_not_": ("i7[n,5]",),
    "addbmm_": ("f[3,5] f[2,3,4] f[2,4,5]",),
    "addcdiv_ addcmul_": ("f[n,5] f[5] f[n,1] value=0.5",),
    "addmm_": ("f[3,5] f[3,4] f[4,5]",),
    "baddbmm_": ("f[n,3,5] f[n,3,4] f[n,4,5]",),
    "cumprod_ cumsum_": ("f[n,3,5] 1", "f[3,5] -1"),
    "lerp_.Scalar": ("f[n,5] f[5] 0.5",),
    "lerp_.Tensor": ("f[n,5] f[5] f[n,1]",),
    "masked_scatter_": ("f[n,5] m[n,5] f[n,5]", "f[6] m[6] f[6]"),
    "squeeze_.dims": ("f[n,1,5,1] [1,3]",),
    "swapaxes_ swapdims_": ("f[n,3,5] 1 2",),
    "index_add_ index_copy_": ("f[n,5] 1 i5[3] f[n,3]", "f[6,5] 0 i6[3] f[3,5]"),
    "index_fill.int_Tensor index_fill_.int_Tensor": ("f[n,5] 1 i5[3] f[]",),
    "index_fill_.int_Scalar": ("f[n,5] 1 i5[3] 2.0",),
    "index_reduce index_reduce_": ("f[n,5] 1 i5[3] f[n,3] 'mean'", "f[6,5] 0 i6[3] f[3,5] 'amax'"),
    "scatter_add_": ("f[n,5] 1 i5[n,3] f[n,3]", "f[7] 0 i7[4] f[4]"),
    "scatter.reduce scatter_.reduce": ("f[n,5] 1 i5[n,3] f[n,3] reduce='add'", "f[7] 0 i7[4] f[4] reduce='multiply'"),
    "scatter.value_reduce scatter_.value_reduce": ("f[n,5] 1 i5[n,3] 2.0 reduce='add'",),
    "scatter_reduce_.two": ("f[n,5] 1 i5[n,3] f[n,3] 'amax'", "f[7] 0 i7[4] f[4] 'mean'"),
    "take": ("f[7] i7[4]", "f[7,3] i7[n]"),
    "repeat_interleave.self_Tensor": ("f[n,3] i3[3] 1 output_size=3", "f[7] i2[7] output_size=5"),
    "max_unpool2d": ("f[n,3,2,4] i20[n,3,2,4] [4,5]", "f[3,2,4] i20[3,2,4] [4,5]"),
    "max_unpool3d": ("f[n,2,2,3,2] i40[n,2,2,3,2] [3,5,4] [1,2,2] [0,0,0]",),
    _SAME: ("f[n,5]", "f[7]"),
    _PAIR: ("f[n,5] f[5]", "f[3,5] f[3,1]"),
    "addr": ("f[3,5] f[3] f[5]",),
    "adjoint mH": ("f[n,3,5]", "c[n,3,5]", "f[3,5]"),
    "matrix_H": ("f[3,5]", "c[3,5]"),
    "all.dims any.dims": ("f[n,3,5] [1,2]", "m[n,3,5] [2]"),
    "bitwise_left_shift.Tensor bitwise_right_shift.Tensor __lshift__.Tensor __rshift__.Tensor": ("i7[n,5] i7[5]",),
    "bitwise_left_shift.Tensor_Scalar bitwise_right_shift.Tensor_Scalar __lshift__.Scalar __rshift__.Scalar": ("i7[n,5] 2",),
    "bitwise_left_shift.Scalar_Tensor bitwise_right_shift.Scalar_Tensor": ("2 i7[n,5]",),
    "block_diag column_stack": ("<f[3,5]|f[3,5]>", "<f[2]|f[2]>"),
    "cartesian_prod": ("<f[5]|f[3]>",),
    "dstack row_stack vstack": ("<f[3,5]|f[3,5]>",),
    "copysign.Scalar xlogy.Scalar_Other": ("f[n,5] 2.0",),
    "float_power.Scalar xlogy.Scalar_Self": ("2.0 f[n,5]",),
    "polygamma": ("1 f[n,5]", "0 f[7]"),
    "mvlgamma": ("f[n,5] 2",),
    "diagflat": ("f[5]", "f[5] -1"),
    "diagonal_scatter": ("f[n,4,3] f[n,3] 0 1 2",),
    "dsplit.array hsplit.array": ("f[n,4,6] [1,3]",),
    "dsplit.int hsplit.int": ("f[n,4,6] 2",),
    "vsplit.array": ("f[4,6] [1,3]",),
    "vsplit.int": ("f[4,6] 2",),
    "ger": ("f[3] f[5]",),
    "inner": ("f[n,5] f[3,5]",),
    "vdot": ("f[7] f[7]", "c[7] c[7]"),
    "histc": ("f[7] 5 -1 1", "f[n,5] 10"),
    "kaiser_window.beta": ("5 True 3.0",),
    _WINDOWS: ("5",),
    _PERIODIC: ("5 False",),
    "logspace": ("0.0 1.0 7",),
    "range": ("0.0 5.0",),
    "range.step": ("0.0 5.0 2.0",),
    _LOSS: ("f[n,5] f[n,5] reduction=0", "f[7] f[7]"),
    "binary_cross_entropy": ("f[n,5] f[n,5] None 0", "f[7] f[7]"),
    "cosine_embedding_loss": ("f[n,5] f[n,5] f[n] 0.1 0",),
    "margin_ranking_loss": ("f[n] f[n] f[n] 0.1 0",),
    "triplet_margin_loss": ("f[n,5] f[n,5] f[n,5] 1.0 2.0 1e-6 False 0",),
    "cumulative_trapezoid.dx trapezoid.dx trapz.dx": ("f[n,5] dim=1",),
    "cumulative_trapezoid.x trapezoid.x trapz.x": ("f[n,5] f[5] dim=1",),
    "mode nanmedian.dim": ("f[n,5] 1",),
    "nanmean nansum": ("f[n,5] [1]", "f[3,5]"),
    "nanmedian": ("f[n,5]", "f[7]"),
    "nanquantile quantile": ("f[n,5] f[2] 1",),
    "nanquantile.scalar quantile.scalar": ("f[n,5] 0.25 1", "f[7] 0.5"),
    "renorm": ("f[n,3,5] 2 1 1.0",),
    "special_log_softmax special_softmax special_logsumexp": ("f[n,5] 1",),
    "where.Scalar": ("m[n,5] 1.0 0.5", "m[7] 1 0"),
    "affine_grid_generator": ("f[2,2,3] [2,1,4,5] False", "f[2,3,4] [2,1,3,4,5] True"),
    "grid_sampler": (
        "f[n,2,4,5] f[n,3,2,2] 0 0 False",
        "f[n,2,4,5] f[n,3,2,2] 1 1 True",
        "f[n,2,4,5] f[n,3,2,2] 2 2 False",
        "f[n,2,3,4,5] f[n,2,3,2,3] 0 2 True",
        "f[2,3,40,50] f[2,9,16,2] 0 1 False",
    ),
    "_upsample_bicubic2d_aa.vec": ("f[n,2,4,5] None False [1.7,2.2]", "f[n,2,6,7] [3,4] True None"),
    "_upsample_nearest_exact3d": ("f[n,2,3,4,5] [5,7,9]",),
    "_upsample_nearest_exact3d.vec": ("f[n,2,3,4,5] None [1.7,2.0,1.2]",),
    "complex": ("f[n,5] f[n,5]", "f[3,5] f[5]"),
    "view_as_complex": ("f[n,5,2]",),
    "view_as_real imag": ("c[n,5]",),
    "_conj": ("c[n,5]",),
    "conj conj_physical resolve_conj resolve_neg": ("c[n,5]", "f[n,5]"),
    _FOURIER: ("f[n,8]", "f[n,3,5] 7 1 'ortho'"),
    "fft_fftshift fft_ifftshift": ("c[n,5] [1]", "f[n,3,5]"),
    _FOURIER_OF_IMAGES: ("f[n,4,6] None [1,2]", "f[n,4,6] [3,8] [1,2] 'forward'"),
    "stft": ("f[n,20] 8 4 6 f[6] False True True", "f[n,20] 8 None None None True False True"),
    "stft.center": ("f[n,20] 8 4 8 f[8] True 'reflect' False True True",),
    "istft": ("c[n,5,6] 8 2 8 f[8] True False True", "c[n,8,6] 8 4 None None False False False 20"),
    _MATRIX: ("f[n,4,4]", "f[5,5]"),
    "cholesky_solve": ("f[n,4,2] f[n,4,4]",),
    "linalg_cross": ("f[n,3] f[n,3]",),
    "linalg_diagonal": ("f[n,3,5]",),
    "linalg_householder_product": ("f[n,5,3] f[n,3]", "f[5,5] f[5]"),
    "linalg_matmul": ("f[n,3,4] f[4,5]",),
    "linalg_matrix_norm": ("f[n,3,5] 2.0",),
    "linalg_matrix_power matrix_power": ("f[n,4,4] 3", "f[5,5] -2"),
    "linalg_multi_dot": ("<f[3,5]|f[5,4]|f[4,2]>",),
    "linalg_norm.ord_str": ("f[n,3,5] 'fro' [1,2]",),
    "linalg_pinv": ("f[n,4,3] 1e-3",),
    "linalg_solve": ("f[n,4,4] f[n,4,2]", "f[5,5] f[5]"),
    "linalg_solve_triangular": ("f[n,4,4] f[n,4,2] upper=True", "f[5,5] f[5,3] upper=False unitriangular=True"),
    "linalg_vander": ("f[n,3]",),
    "linalg_vecdot": ("f[n,5] f[n,5]", "c[n,5] c[n,5]"),
}
"""As the groups of `table`."""
