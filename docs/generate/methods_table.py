"""The table of `methods.md`, made from the cards that `GET /v1/methods` serves.

`python docs/generate/methods_table.py` writes the table into the page; a test compares it with the
cards.
"""

import re
from pathlib import Path

from unitrank_schemas.methods import METHODS, MethodCard, card

PAGE = "methods.md"
TABLE = re.compile(r"(?<=<!-- made by methods_table.py -->\n\n).*?(?=\n\n<!-- end -->)", re.DOTALL)


def table() -> str:
    """A row for each method: its name with a link to its section, and the fields of its card."""
    rows = ["| method | score of a unit | passes of an example | complete | source |", "|---|---|---|---|---|"]
    return "\n".join([*rows, *(_row(card(name)) for name in METHODS)])


def _row(method: MethodCard) -> str:
    anchor = re.sub(r"[^\w -]", "", method.title.lower()).replace(" ", "-")
    complete = "at every cut" if method.complete else "no"
    source = re.sub(r"arXiv:(\d{4}\.\d{5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", method.source)
    cells = [f"[`{method.name}`](#{anchor})", method.formula, method.cost, complete, source]
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


if __name__ == "__main__":
    page = Path(__file__).parents[1] / PAGE
    page.write_text(TABLE.sub(lambda _: table(), page.read_text(encoding="utf-8")), encoding="utf-8")
