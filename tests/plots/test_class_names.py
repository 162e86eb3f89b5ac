"""The names of classes in the texts of plots, of both kinds: pictures and values."""

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from tests.plots.test_figures import CLUSTERS, RANKINGS, arrays, of_classes, result
from unitrank_plots import PICTURES, Choice, NoPicture
from unitrank_plots.figures import draw
from unitrank_plots.values import values_of
from unitrank_schemas.results import Result

__all__ = ["arrays", "result"]

NAMES = {"0": "cat", "1": "dog"}
Labelled = tuple[Result, dict[str, np.ndarray]]


@pytest.fixture
def labelled(result: Result, arrays: dict[str, np.ndarray]) -> Labelled:
    """A result with clusters by label, which explains the classes 0 and 1."""
    explained, of_explained = of_classes(result, arrays)
    text = explained.model_dump_json()
    for number, name in enumerate(CLUSTERS):
        text = text.replace(json.dumps(name, ensure_ascii=False), f'"{number}"')
    values: dict[str, Any] = json.loads(text)
    values["provenance"]["options"] = {"clusters": {"by": "label"}}
    values["warnings"] = [{"code": "in_sample", "detail": "…", "cluster": "1", "ranking": f"{RANKINGS[0]}@1"}]
    # A side of a comparison has the name of the first cluster.
    values["comparisons"] = [each.model_dump() for each in explained.comparisons]
    renamed = {re.sub("/a$", "/0", name): array for name, array in of_explained.items()}
    return Result.model_validate(values), renamed


def texts(figure: Figure) -> Iterator[str]:
    return (each.get_text() for each in figure.findobj(Text) if isinstance(each, Text))


def numbers_alone(text: str) -> list[str]:
    """The rankings of a class whose name does not follow."""
    return re.findall(r"(?:conductance|abs)@\d(?! \((?:cat|dog)\))", text)


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("choice", [{}, {"ranking": f"{RANKINGS[0]}@1", "cluster": "1"}])
def test_plot_when_classes_have_names_then_every_text_has_them_and_the_numbers_stay(
    labelled: Labelled, name: str, choice: dict[str, str]
) -> None:
    plain, worded = (values_of(name, *labelled, Choice(**choice, classes=names)) for names in ({}, NAMES))
    picture = "\n".join(texts(draw(name, *labelled, Choice(**choice, classes=NAMES))))

    assert re.sub(r" \((cat|dog)\)", "", json.dumps(worded)) == json.dumps(plain)
    assert json.dumps(worded) != json.dumps(plain)
    assert "(cat)" in picture or "(dog)" in picture
    assert numbers_alone(json.dumps(worded)) == numbers_alone(picture) == []


def test_plot_when_its_cluster_is_not_there_then_the_error_has_the_names_of_requests(labelled: Labelled) -> None:
    with pytest.raises(NoPicture, match="the result has '0', '1'"):
        values_of("heatmap", *labelled, Choice(cluster="0 (cat)", classes=NAMES))
