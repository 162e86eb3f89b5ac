"""The picture that compares the layers of a job, read from the figure of matplotlib."""

from typing import Any

import numpy as np
import pytest

from tests.service.results import layered
from unitrank_plots import LAYERED, Choice, NoPicture
from unitrank_plots.figures import draw_layers, rendered
from unitrank_plots.values import OF_LAYERS, values_of_layers
from unitrank_schemas.results import LayeredResult


def result(**changes: Any) -> LayeredResult:
    return LayeredResult.model_validate(layered.summary("j") | changes)


def test_layers_when_drawn_then_the_bars_are_the_values() -> None:
    assert set(LAYERED) == set(OF_LAYERS)
    figure = draw_layers("layers", result(), Choice())
    panels = values_of_layers("layers", result(), Choice())["panels"]

    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["conv1", "fc"]
    for axes, panel in zip(figure.axes, panels, strict=True):
        widths = [patch.get_width() for patch in axes.patches]  # type: ignore[attr-defined]
        np.testing.assert_allclose(widths, np.array(panel["values"]) * (100 if "share" in panel["y"]["label"] else 1))
    assert rendered(figure, "svg") == rendered(draw_layers("layers", result(), Choice()), "svg")


def test_layers_when_clusters_are_classes_then_the_title_names_them() -> None:
    provenance = {"seed": 0, "version": "0", "torch": "2", "options": {"clusters": {"by": "label"}}}
    choice = Choice(cluster="a", classes={"a": "cat"})

    assert values_of_layers("layers", result(provenance=provenance), choice)["title"].endswith("cluster a (cat)")
    with pytest.raises(NoPicture, match="cluster 'cat' not found; the result has 'a', '=b'"):
        values_of_layers("layers", result(provenance=provenance), Choice(cluster="cat", classes={"a": "cat"}))


def test_layers_when_nothing_was_tested_then_there_is_no_picture() -> None:
    parts = {name: layered.part(name) for name in ("conv1", "fc")}
    for part in parts.values():
        for ranking in part["rankings"]:
            ranking["overall"] = None

    with pytest.raises(NoPicture, match="not tested by ablation"):
        draw_layers("layers", result(layers=parts), Choice())


def test_layers_when_there_are_many_then_all_are_drawn_and_missing_values_are_dashes() -> None:
    part = layered.part("fc")
    part["rankings"][0]["specificity"] = None
    many = {f"block.{number}.mlp": part for number in range(64)}

    figure = draw_layers("layers", result(layers=many, joint=None), Choice())

    assert len(figure.axes[0].get_yticklabels()) == 64
    assert [text.get_text() for text in figure.axes[1].texts] == ["–"] * 64
    assert len(values_of_layers("layers", result(layers=many), Choice())["panels"]) == 2
