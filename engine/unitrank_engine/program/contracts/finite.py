"""Checks that the values of real tensors are finite, for operators that NaN and infinity mislead.

`grid_sample` casts real numbers to positions. A matrix exponential takes the number of its steps
from the norm of the matrix. The solvers of LAPACK can run without an end.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from unitrank_engine.errors import EngineError
from unitrank_engine.program.contracts.invented import is_tolerated, laid_out, unrepeated

aten = torch.ops.aten

FINITE: dict[object, tuple[str, ...]] = {
    aten.grid_sampler_2d.default: ("grid",),
    aten.grid_sampler_3d.default: ("grid",),
    aten.linalg_solve.default: ("A", "B"),
    aten.linalg_solve_triangular.default: ("self", "B"),
    aten.cholesky_solve.default: ("self", "input2"),
    aten.linalg_householder_product.default: ("input", "tau"),
    **{
        operator: (operator._schema.arguments[0].name,)
        for operator in (
            aten.linalg_inv.default,
            aten.inverse.default,
            aten.linalg_cholesky.default,
            aten.cholesky_inverse.default,
            aten.linalg_svd.default,
            aten.linalg_svdvals.default,
            aten.linalg_eigh.default,
            aten.linalg_eigvalsh.default,
            aten.linalg_qr.default,
            aten.linalg_det.default,
            aten.det.default,
            aten.slogdet.default,
            aten.linalg_slogdet.default,
            aten.logdet.default,
            aten.linalg_pinv.default,
            aten.linalg_pinv.atol_rtol_tensor,
            aten.linalg_pinv.atol_rtol_float,
            aten.pinverse.default,
            aten.linalg_matrix_exp.default,
            aten.linalg_matrix_power.default,
            aten.matrix_power.default,
        )
    },
}
"""Operator → the arguments whose values must be finite."""


def finite(values: Tensor, user: str) -> Tensor:
    """`values`, unchanged.

    `user`: the operator that uses them.

    Raises EngineError `non_finite` for NaN and infinity; among `invented_values`, zeros take their
    place.
    """
    if not bool(values.isfinite().all()):
        fault = f"{user} gets NaN or infinity"
        if is_tolerated(fault):
            one = unrepeated(values)
            return laid_out(one.where(one.isfinite(), 0.0), one).expand(values.shape)
        raise EngineError(
            "non_finite",
            f"{fault}, which it cannot use; choose another baseline or fill, or change the model "
            "so that it divides by no zero and takes the logarithm of positive numbers only",
        )
    return values


@contextmanager
def naming_singular_matrices() -> Iterator[None]:
    """Raises EngineError `singular_matrix` for a matrix that torch cannot invert or factorise."""
    try:
        yield
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]  # torch documents the name
        raise EngineError(
            "singular_matrix",
            "the model inverts or factorises a matrix that is singular or not positive definite at the baseline, at an example or "
            "between them; choose another baseline or fill, such as 'mean', or add a small multiple of the identity to the matrix. "
            f"torch says: {str(error)[:300]}",
        ) from error
