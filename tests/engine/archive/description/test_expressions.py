"""Only arithmetic reaches sympy."""

import pytest
import sympy
from sympy import srepr
from torch.utils._sympy.functions import CeilDiv, FloorDiv, Max, Mod

from unitrank_engine.archive.description.expressions import check_expression, check_symbol
from unitrank_engine.archive.errors import ArchiveError

S = sympy.Symbol("s77", positive=True, integer=True)
T = sympy.Symbol("s3", positive=True, integer=True)


@pytest.mark.parametrize(
    "expression",
    [S, 2 * S + 1, S * T - 3, FloorDiv(S - 1, 2) + 1, Mod(S, 8), Max(S, T), CeilDiv(S, 4), S**2, sympy.Eq(S, T), S > 4],
    ids=str,
)
def test_check_expression_of_what_torch_saves_passes(expression: sympy.Basic) -> None:
    """Sizes that convolutions, concatenations and windows have, and comparisons of them, pass."""
    text = srepr(expression)

    assert check_expression(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s77",
        "1",
        "__import__('os').system('id')",
        "Symbol('s77').__class__",
        "Symbol('__import__')",
        "Symbol('s77', integer=open('x'))",
        "Symbol('s77', cls=True)",
        "Symbol(Symbol('s77'))",
        "Symbol",
        "Integer('1')",
        "Integer(1.5)",
        "Integer(True)",
        "Integer(99999999999999999999)",
        "Add(1, 2)",
        "Add(*Integer(1))",
        "Add(Integer(1), evaluate=False)",
        "Lambda(Symbol('s1'), Integer(1))",
        "Function('open')('x')",
        "sympify('1')",
        "Integer(1) if Integer(1) else Integer(2)",
        "[Integer(1)]",
        "(Integer(1), Integer(2))",
        "Integer(1)\n",
        "Integer(1)#",
        "Pow(Integer(9), Pow(Integer(9), Integer(9)))",
        "Pow(Pow(Integer(9), Integer(8)), Integer(8))",
        "Pow(Symbol('s1'), Integer(1000))",
        "Pow(Symbol('s1'), Symbol('s1'))",
        "Add(" * 60 + "Integer(1)" + ")" * 60,
        "(" * 999 + "1" + ")" * 999,
        "-" * 1999 + "1",
        "Integer(" + "1" * 3000 + ")",
        "Integér(1)",
    ],
)
def test_check_expression_of_anything_else_refuses_it(text: str) -> None:
    """Calls, names, attributes, large powers and deep nesting never reach sympy's parser."""
    with pytest.raises(ArchiveError) as refusal:
        check_expression(text)
    assert refusal.value.code == "expression_refused"


@pytest.mark.parametrize("text", ["s", "x", "s1234567", "u0", "s1 ", "s1+s2", "S1", "s١"])
def test_check_symbol_of_another_name_refuses_it(text: str) -> None:
    """A symbol is the letter s and a short number."""
    with pytest.raises(ArchiveError):
        check_symbol(text)
