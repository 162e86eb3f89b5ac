"""Operators that torch itself composes of other operators: each becomes those operators.

The contracts and the rules of methods then need to know the other operators only.
"""

import torch

from unitrank_engine.torch_private import OpOverload

aten = torch.ops.aten

_NAMES = """
adjoint.default arccos.default arccosh.default arcsin.default arcsinh.default arctan.default arctan2.default
arctanh.default atleast_1d.default atleast_2d.default atleast_3d.default cartesian_prod.default column_stack.default
conj_physical.default cosine_embedding_loss.default cumulative_trapezoid.dx cumulative_trapezoid.x diagflat.default
dsplit.array dsplit.int dstack.default fft_fft.default fft_fft2.default fft_fftn.default fft_fftshift.default
fft_hfft.default fft_ifft.default fft_ifft2.default fft_ifftn.default fft_ifftshift.default fft_ihfft.default
fft_irfft.default fft_irfft2.default fft_irfftn.default fft_rfft.default fft_rfft2.default fft_rfftn.default
fix.default float_power.Scalar float_power.Tensor_Tensor ger.default grid_sampler.default hinge_embedding_loss.default
hsplit.array hsplit.int imag.default inner.default isclose.default isreal.default kl_div.default l1_loss.default
linalg_diagonal.default linalg_matmul.default linalg_matrix_norm.default linalg_matrix_norm.str_ord linalg_norm.ord_str
linalg_vander.default linalg_vecdot.default mH.default margin_ranking_loss.default matrix_exp.default matrix_H.default msort.default
nanmean.default positive.default row_stack.default special_digamma.default special_erf.default special_erfc.default
special_erfinv.default special_exp2.default special_expit.default special_expm1.default special_gammaln.default
special_log1p.default special_log_softmax.default special_logit.default special_logsumexp.default special_ndtr.default
special_psi.default special_round.default special_sinc.default special_softmax.default special_xlogy.default
swapaxes_.default swapdims_.default trapezoid.dx trapezoid.x trapz.dx trapz.x triplet_margin_loss.default vsplit.array
vsplit.int vstack.default where.Scalar
"""


def _operator(name: str) -> OpOverload:
    packet, _, overload = name.partition(".")
    operator: OpOverload = getattr(getattr(aten, packet), overload)
    return operator


COMPOSITES: tuple[OpOverload, ...] = tuple(map(_operator, _NAMES.split()))
