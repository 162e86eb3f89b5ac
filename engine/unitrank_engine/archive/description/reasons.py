"""The reason why an operator is not on the list of operators, and what to write instead."""

import re

_REASONS = {
    r"(rand|randn|randint|randperm|bernoulli|multinomial|normal|uniform|exponential|poisson|binomial|geometric|cauchy|log_normal"
    r"|native_dropout|rrelu_with_noise)(_like)?_?": "it draws random numbers, and a job must give the same result each time; "
    "keep fixed numbers in a buffer, or make the numbers an input of the model",
    r"nonzero(_numpy)?|argwhere|masked_select|_?unique\w*|bincount": "the size of its result depends on values; "
    "use a mask and torch.where, which keep the size",
    r"item|_local_scalar_dense|equal|allclose|is_nonzero": "it takes a value out of a tensor; "
    "compute with tensors: x / x.max() instead of x / x.max().item()",
    r"as_strided\w*|set_|resize\w*|_resize\w*|unfold_copy": "it can reach beyond the memory of its tensor; "
    "use slices, reshape, expand or unfold",
    r"view\.dtype": "it reads the bits of numbers as numbers of another type; convert the numbers with .to(dtype)",
    r"from_file": "it reads a file; load the tensor before, and keep it in a buffer",
    r"linalg_eig|linalg_eigvals|_linalg_eigvals|eig": "the eigenvalues of a matrix that is not symmetric "
    "have no fixed order; use torch.linalg.eigh or torch.linalg.svdvals",
    r"linalg_lstsq|lstsq": "torch cannot export it; use torch.linalg.pinv(A) @ B",
    r"linalg_lu\w*|lu\w*|_lu\w*|triangular_solve": "torch.linalg.solve and torch.linalg.solve_triangular "
    "do the same work; use these",
    r"cholesky": "it is the old name of torch.linalg.cholesky; use the new name",
    r"cross_entropy_loss|nll_loss\w*|ctc_loss\w*|multi\w*_margin_loss": "it is a loss with labels, and a job "
    "gives the labels itself; return the logits from forward",
    r"pdist|_pdist_forward": "it has no axis for the batch; use torch.cdist(x, x), which has one",
    r"embedding_renorm_": "it changes the weights while the model runs; "
    "leave out max_norm, and shorten the rows of the table once before the export",
    r"fill_diagonal_": "use x.masked_fill(torch.eye(n, dtype=torch.bool), value), which gives the same values",
    r"segment_reduce": "use scatter_reduce or index_add, which give the same values",
    r"put_?": "use torch.scatter or an index, which give the same values",
    r"igammac?|special_zeta|special_bessel_\w+|special_modified_\w+|special_\w+_polynomial_\w+|nextafter|frexp": "torch has no "
    "derivative of it, or only a part; compute the value with other functions",
    r"\w*quantiz\w*|q_\w+|int_repr|dequantize": "quantised numbers have no gradients; "
    "export the network before it is quantised, or without its observers (torch.ao.quantization.disable_fake_quant)",
    r"\w*sparse\w*|to_dense": "sparse tensors cannot be used; store the tensor as a dense one (x.to_dense())",
}
"""Pattern of the operator's name, with or without its overload → the reason."""

_USUAL = "its arguments are not checked, so it can be unsafe"
_CUSTOM = "it is an operator of a library or of your own; write it with functions of torch"
_PROGRAM = (
    "regions under torch.no_grad() are the only higher-order operators that are allowed; "
    "torch.cond and loops cannot be used; for an autocast region, call run_decompositions({}) on the exported program "
    "before torch.export.save"
)
_NAMESPACES = ("linalg", "special", "fft")


def reason(target: str) -> str:
    """Why the operator is refused and what to write, as a part of a sentence.

    `target`: the operator, such as `torch.ops.aten.rand.default`.
    """
    if target.startswith("torch.ops.higher_order."):
        return _PROGRAM
    if not target.startswith("torch.ops.aten."):
        return _CUSTOM
    name = target.removeprefix("torch.ops.aten.")
    return known_reason(target) or (
        f"{_USUAL}; use other functions of torch, or allow the operator: set UNITRANK_OPERATORS=aten.{name} "
        "for the process that exports the network, and ask the person who runs the service to set it too"
    )


def known_reason(target: str) -> str | None:
    """The reason of the table, or None for an operator that has no reason of its own."""
    name = target.removeprefix("torch.ops.aten.")
    for pattern, text in _REASONS.items():
        if re.fullmatch(pattern, name) or re.fullmatch(pattern, name.partition(".")[0]):
            return text
    return None


def spelling(target: str) -> str:
    """The operator as a user writes it, in brackets behind a space; empty where that is unknown."""
    name = target.removeprefix("torch.ops.aten.").partition(".")[0]
    if name == target.partition(".")[0] or not re.fullmatch(r"[a-z]\w*[a-z0-9]_?", name):
        return ""
    space, _, rest = name.partition("_")
    if name.endswith("_"):
        return f" (Tensor.{name})"
    return f" (torch.{space}.{rest})" if space in _NAMESPACES and rest else f" (torch.{name})"
