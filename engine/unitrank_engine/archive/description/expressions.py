"""Checks symbolic sizes: only arithmetic on symbols reaches torch.

A symbolic size is a size that is not fixed when the model is exported, such as that of the batch.
torch evaluates its text with sympy's parser, which could run any code.

The accepted grammar is the one that sympy's srepr prints and torch.export saves. For example,
`Add(Mul(Integer(2), Symbol('s77', positive=True, integer=True)), Integer(1))` is 2 * s77 + 1.
"""

import ast
import re
from math import comb, prod
from typing import NoReturn

from unitrank_engine.archive.errors import ArchiveError, escaped

SYMBOL = re.compile(r"s[0-9]{1,6}")

_ALPHABET = re.compile(r"[A-Za-z0-9(),= '-]{1,2000}")
_DEPTH = 32
_SUMS = {"Add", "Mul", "Max", "Min"}
_QUOTIENTS = {"Mod", "PythonMod", "FloorDiv", "CleanDiv", "CeilDiv", "ModularIndexing"}
_COMPARISONS = {"Equality", "Unequality", "LessThan", "StrictLessThan", "GreaterThan", "StrictGreaterThan"}
_FUNCTIONS = _SUMS | _QUOTIENTS | _COMPARISONS | {"And", "Or", "Not"}
_ASSUMPTIONS = frozenset({"integer", "positive", "nonnegative", "negative", "nonpositive", "zero", "nonzero", "real"})
_MAX_EXPONENT = 8
_MAX_TERMS = 256


def check_expression(text: str) -> str:
    """The text, unchanged.

    Raises ArchiveError `expression_refused` when the text is more than arithmetic.
    """
    if not _ALPHABET.fullmatch(text):
        _refuse(text)
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        _refuse(text)
    # sympy expands the products that it divides: (s0 + … + s39)^8 has 300 million terms.
    if not _is_arithmetic(tree, _DEPTH) or _terms(tree) > _MAX_TERMS:
        _refuse(text)
    return text


def check_symbol(text: str) -> str:
    """The text, unchanged.

    Raises ArchiveError `expression_refused` when the text is not the name of one symbol.
    """
    if not SYMBOL.fullmatch(text):
        _refuse(text)
    return text


def _refuse(text: str) -> NoReturn:
    raise ArchiveError(
        "expression_refused",
        f"symbolic size {escaped(text)} is not accepted; expected at most {_MAX_TERMS} terms of sums, products, quotients, "
        "remainders and comparisons of symbols s0, s1, …",
    )


def _is_arithmetic(node: ast.expr, depth: int, power: bool = True) -> bool:
    if depth == 0 or not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return False
    match node.func.id:
        case "Symbol":
            return _is_symbol(node)
        case "Integer":
            return not node.keywords and len(node.args) == 1 and _integer(node.args[0]) is not None
        case "Pow":
            return power and _is_power(node, depth)
        case name:
            inner = all(_is_arithmetic(argument, depth - 1, power) for argument in node.args)
            return name in _FUNCTIONS and not node.keywords and inner


def _is_symbol(node: ast.Call) -> bool:
    named = len(node.args) == 1 and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
    return (
        named
        and SYMBOL.fullmatch(ast.literal_eval(node.args[0])) is not None
        and all(word.arg in _ASSUMPTIONS and _is_truth(word.value) for word in node.keywords)
    )


def _is_truth(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, bool)


def _is_power(node: ast.Call, depth: int) -> bool:
    # The exponent must be small and fixed, and no power may be inside a power: sympy would compute
    # 9 ** 9 ** 9 digit by digit.
    if node.keywords or len(node.args) != 2:
        return False
    base, exponent = node.args
    fixed = isinstance(exponent, ast.Call) and isinstance(exponent.func, ast.Name) and exponent.func.id == "Integer"
    if not fixed or not _is_arithmetic(exponent, depth - 1):
        return False
    value = _integer(exponent.args[0]) if isinstance(exponent, ast.Call) else None
    return value is not None and abs(value) <= _MAX_EXPONENT and _is_arithmetic(base, depth - 1, power=False)


def _terms(node: ast.expr) -> int:
    """The largest number of terms that a checked expression has once all products are expanded."""
    assert isinstance(node, ast.Call)
    assert isinstance(node.func, ast.Name)
    name = node.func.id
    if name in ("Symbol", "Integer"):
        return 1
    if name == "Pow":
        exponent = abs(_integer(node.args[1].args[0]) or 0) if isinstance(node.args[1], ast.Call) else 0
        return comb(_terms(node.args[0]) + exponent - 1, exponent)
    inner = [_terms(argument) for argument in node.args]
    return prod(inner) if name == "Mul" else sum(inner)


def _integer(node: ast.expr) -> int | None:
    sign = 1
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node, sign = node.operand, -1
    if isinstance(node, ast.Constant) and type(node.value) is int and node.value < 1 << 63:
        return sign * node.value
    return None
