"""docs/methods.md: its table is generated from the cards, and each method has a section."""

from pathlib import Path

from docs.generate import methods_table

from unitrank_schemas.methods import METHODS, card

PAGE = (Path(__file__).parents[1] / "docs" / "methods.md").read_text()


def test_table_when_compared_with_the_cards_then_is_equal() -> None:
    (committed,) = methods_table.TABLE.findall(PAGE)

    assert committed == methods_table.table(), "run: python docs/generate/methods_table.py"


def test_sections_when_compared_with_the_table_then_every_method_has_one() -> None:
    titles = {card(name).title for name in METHODS}

    assert {title for title in titles if f"\n## {title}\n" not in PAGE} == set()
