"""The content of the pictures, read from the figures of matplotlib."""

from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from unitrank_plots import PICTURES, Choice, NoPicture
from unitrank_plots.figures import FIGURES, draw, rendered
from unitrank_plots.style import short
from unitrank_schemas.results import Result, Unit

COUNTS = [1, 4, 8]
SHAPE = [4, 2, 2]
RANKINGS = ("conductance", "gradient.mean_abs")
CLUSTERS = ("a", "$x^2$ & <b>")


def ablation(verdict: str) -> dict[str, Any]:
    return {"counts": COUNTS, "fractions": [0.1, 0.25, 0.5], "verdict": verdict}


def summary() -> dict[str, Any]:
    top = [{"unit": 0, "index": [0, 0, 0], "importance": 1.0, "spread": None}]
    return {
        "job": "j",
        "model": {"name": "net", "digest": "sha256:1"},
        "dataset": {"name": "data", "digest": "sha256:2"},
        "layer": {"name": "conv1", "at": "output", "cut": True, "units": "neuron", "shape": SHAPE, "count": 16},
        "clusters": [{"name": name, "examples": 4, "ranked_on": 2, "tested_on": 2} for name in CLUSTERS],
        "rankings": [
            {
                "id": id,
                "method": {"name": id.partition(".")[0]},
                "clusters": {name: {"top": top, "ablation": ablation("better_than_random")} for name in CLUSTERS},
                "specificity": {"matrix": [[0.9, 0.2], [0.1, None]], "selectivity": {"a": 0.8}},
                "seconds": 0.1,
            }
            for id in RANKINGS
        ],
        "leaderboard": [
            {"ranking": RANKINGS[0], "verdict": "better_than_random", "better_than_random": 2, "of": 2, "area": 0.8},
            {"ranking": RANKINGS[1], "verdict": "worse_than_random", "better_than_random": 0, "of": 2, "area": None},
        ],
        "comparisons": [
            {
                "a": RANKINGS[0],
                "b": RANKINGS[1],
                "difference": 0.2,
                "low": 0.1,
                "high": 0.3,
                "keep_difference": -0.1,
                "keep_low": -0.3,
                "keep_high": 0.1,
                "ahead": "a",
            },
        ],
        "warnings": [],
        "cost": {"seconds": 1.0, "forward_rows": 1, "backward_rows": 1, "device": "cpu", "peak_bytes": 0},
        "provenance": {"seed": 0, "version": "0", "torch": "2", "options": {}},
    }


@pytest.fixture
def result() -> Result:
    return Result.model_validate(summary())


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {"ablation/random": draw.normal(5, 1, (2, 9, 4)).astype(np.float32)}
    for id in RANKINGS:
        values = draw.normal(size=(2, 16)).astype(np.float32)
        arrays |= {
            f"importance/{id}": np.abs(values) if "abs" in id else values,
            f"spread/{id}": np.abs(values) / 2,
            f"ablation/{id}/most": draw.normal(3, 1, (2, 4)).astype(np.float32),
            f"ablation/{id}/least": draw.normal(6, 1, (2, 4)).astype(np.float32),
            f"ablation/{id}/keep": draw.normal(4, 1, (2, 4)).astype(np.float32),
            f"examples/{id}/a": draw.normal(size=(3, *SHAPE)).astype(np.float32),
        }
    return arrays


def of_classes(result: Result, arrays: dict[str, np.ndarray]) -> tuple[Result, dict[str, np.ndarray]]:
    """The result of a job that explains classes 0 and 1."""
    values = result.model_dump()
    for part, id in (("rankings", "id"), ("leaderboard", "ranking")):
        values[part] = [
            entry | {id: f"{entry[id]}@{number}", "target_class": number} for entry in values[part] for number in (0, 1)
        ]
    values["comparisons"] = [
        entry | {side: f"{entry[side]}@{number}" for side in ("a", "b")} for entry in values["comparisons"] for number in (0, 1)
    ]
    rankings = {f"{id}@{number}": id for id in (*RANKINGS, "random") for number in (0, 1)}
    classes = {
        name.replace(id, new, 1): array for name, array in arrays.items() for new, id in rankings.items() if id in name.split("/")
    }
    return Result.model_validate(values), classes


def test_ablation_when_every_class_is_explained_then_the_curves_are_those_of_one_class(
    result: Result, arrays: dict[str, np.ndarray]
) -> None:
    classes = of_classes(result, arrays)
    first = RANKINGS[0]

    best, chosen = (FIGURES["ablation"](*classes, choice).axes[0] for choice in (Choice(), Choice(ranking=f"{first}@1")))

    assert [line.get_label() for line in best.lines if not str(line.get_label()).startswith("_")] == [f"{id}@0" for id in RANKINGS]
    assert [line.get_label() for line in chosen.lines if not str(line.get_label()).startswith("_")] == [f"{first}@1"]


@pytest.mark.parametrize("name", PICTURES)
def test_picture_when_every_class_is_explained_then_is_drawn(result: Result, arrays: dict[str, np.ndarray], name: str) -> None:
    assert rendered(draw(name, *of_classes(result, arrays), Choice(cluster="a", ranking=f"{RANKINGS[1]}@1")), "svg")


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("choice", [Choice(), Choice(cluster=CLUSTERS[1], ranking=RANKINGS[1])])
def test_picture_when_rendered_then_is_a_file_of_its_kind_and_equal_each_time(
    result: Result, arrays: dict[str, np.ndarray], name: str, choice: Choice
) -> None:
    png, svg = (rendered(draw(name, result, arrays, choice), form) for form in ("png", "svg"))

    assert png.startswith(b"\x89PNG")
    assert int.from_bytes(png[16:20], "big") >= 900
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert svg == rendered(draw(name, result, arrays, choice), "svg")
    assert b"<script" not in svg


def test_names_when_listed_then_each_can_be_drawn() -> None:
    assert list(FIGURES) == list(PICTURES)


def lines(figure: Figure) -> Iterator[np.ndarray]:
    for line in figure.axes[0].get_lines():
        yield np.asarray(line.get_ydata())


def test_ablation_when_of_one_cluster_then_shows_its_curves_and_the_band(result: Result, arrays: dict[str, np.ndarray]) -> None:
    figure = draw("ablation", result, arrays, Choice(cluster="a"))
    curves = list(lines(figure))

    for id in RANKINGS:
        for order in ("most", "least"):
            assert any(np.allclose(line, arrays[f"ablation/{id}/{order}"][0]) for line in curves)
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    low, high = np.quantile(arrays["ablation/random"][0].astype(float), [0.025, 0.975], axis=0)
    assert band[:, 1].min() == pytest.approx(low.min())
    assert band[:, 1].max() == pytest.approx(high.max())


def with_ablation(result: Result, **ablation: Any) -> Result:
    """The result of a job whose request had this ablation."""
    provenance = result.provenance.model_copy(update={"options": {"ablation": ablation}})
    return result.model_copy(update={"provenance": provenance})


def test_ablation_when_the_job_has_a_level_then_the_band_is_as_wide(result: Result, arrays: dict[str, np.ndarray]) -> None:
    figure = draw("ablation", with_ablation(result, level=0.5), arrays, Choice(cluster="a"))
    band = figure.axes[0].collections[0]
    low, high = np.quantile(arrays["ablation/random"][0].astype(float), [0.25, 0.75], axis=0)

    assert band.get_paths()[0].vertices[:, 1].min() == pytest.approx(low.min())
    assert band.get_paths()[0].vertices[:, 1].max() == pytest.approx(high.max())
    assert band.get_label() == "9 random orders, 50 %"


def test_ablation_when_only_the_least_go_first_then_each_curve_has_its_name(result: Result, arrays: dict[str, np.ndarray]) -> None:
    least = {name: values for name, values in arrays.items() if not name.endswith(("/most", "/keep"))}
    axes = draw("ablation", result, least, Choice()).axes[0]
    legend = axes.get_legend()

    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["9 random orders, 95 %", *RANKINGS]
    assert axes.get_xlabel().endswith("\nthin: the least important first")


def many(result: Result, arrays: dict[str, np.ndarray], count: int, name: str = "r{}") -> tuple[Result, dict[str, np.ndarray]]:
    """The result with `count` rankings, each a copy of the first one."""
    ids = [name.format(number) for number in range(count)]
    more = {name.replace(RANKINGS[0], id): values for id in ids for name, values in arrays.items() if f"/{RANKINGS[0]}" in name}
    rankings = [result.rankings[0].model_copy(update={"id": id}) for id in ids]
    leaders = [result.leaderboard[0].model_copy(update={"ranking": id}) for id in ids]
    return result.model_copy(update={"rankings": rankings, "leaderboard": leaders}), {**arrays, **more}


@pytest.mark.parametrize(("name", "most"), [("ablation", 8), ("leaderboard", 20), ("agreement", 20)])
def test_picture_when_it_leaves_rankings_out_then_its_title_says_so(
    result: Result, arrays: dict[str, np.ndarray], name: str, most: int
) -> None:
    titles = [draw(name, *many(result, arrays, count), Choice()).get_suptitle().replace("\n", " ") for count in (most, most + 1)]

    assert "the first" not in titles[0]
    assert titles[1].endswith(f"; the first {most} of {most + 1} rankings")


def test_ablation_when_of_all_clusters_then_shows_the_mean(result: Result, arrays: dict[str, np.ndarray]) -> None:
    figure = draw("ablation", result, arrays, Choice(ranking=RANKINGS[0]))

    assert any(np.allclose(line, arrays[f"ablation/{RANKINGS[0]}/most"].mean(0)) for line in lines(figure))
    assert not any(np.allclose(line, arrays[f"ablation/{RANKINGS[1]}/most"].mean(0)) for line in lines(figure))


def test_importance_when_drawn_then_names_the_top_units_in_order(result: Result, arrays: dict[str, np.ndarray]) -> None:
    figure = draw("importance", result, arrays, Choice(cluster="a"))
    named = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    order = np.argsort(-arrays[f"importance/{RANKINGS[0]}"][0], kind="stable")

    assert named[0] == ",".join(map(str, np.unravel_index(order[0], SHAPE)))
    assert len(named) == 15
    assert np.allclose(next(iter(figure.axes[1].get_lines())).get_ydata(), arrays[f"importance/{RANKINGS[0]}"][0][order])


def test_importance_when_a_control_is_first_then_the_first_other_ranking_is_drawn(arrays: dict[str, np.ndarray]) -> None:
    controlled = summary()
    controlled["rankings"][0]["method"] = {"name": "weight_norm"}

    figure = draw("importance", Result.model_validate(controlled), arrays, Choice(cluster="a"))

    curve = next(iter(figure.axes[1].get_lines())).get_ydata()
    assert np.allclose(curve, np.sort(arrays[f"importance/{RANKINGS[1]}"][0])[::-1])


def drawn_map(figure: Figure) -> tuple[np.ndarray, str, float]:
    """The numbers of the heatmap, the name of its colours, and the value at their centre."""
    image = figure.axes[0].get_images()[-1]
    low, high = image.get_clim()
    return np.asarray(image.get_array()), image.get_cmap().name, (low + high) / 2


def test_heatmap_when_scores_have_signs_then_is_centred_at_zero(result: Result, arrays: dict[str, np.ndarray]) -> None:
    values, colours, centre = drawn_map(draw("heatmap", result, arrays, Choice(cluster="a", channel=1)))

    assert np.allclose(values, arrays[f"importance/{RANKINGS[0]}"][0].reshape(SHAPE)[1])
    assert (colours, centre) == ("RdBu_r", 0.0)


def test_heatmap_when_scores_are_magnitudes_then_is_viridis_from_zero(result: Result, arrays: dict[str, np.ndarray]) -> None:
    values, colours, _ = drawn_map(draw("heatmap", result, arrays, Choice(cluster="a", ranking=RANKINGS[1])))

    assert np.allclose(values, arrays[f"importance/{RANKINGS[1]}"][0].reshape(SHAPE).sum(0))
    assert colours == "viridis"


@pytest.mark.parametrize("axis", [0, 1, 2, None])
def test_heatmap_when_channels_are_on_any_axis_then_are_summed(
    result: Result, arrays: dict[str, np.ndarray], axis: int | None
) -> None:
    shape = [2, 2, 2]
    shape[axis or 0] = 4
    moved = result.model_copy(update={"layer": result.layer.model_copy(update={"shape": shape, "channel_axis": axis})})
    scores = arrays[f"importance/{RANKINGS[0]}"][0].reshape(shape)
    summed, third = (draw("heatmap", moved, arrays, Choice(cluster="a", channel=channel)) for channel in (None, 3))

    assert np.allclose(drawn_map(summed)[0], scores.sum(axis or 0))
    assert summed.get_suptitle().endswith("\nsum over channels")
    assert np.allclose(drawn_map(third)[0], scores.take(3, axis or 0))
    assert third.get_suptitle().endswith("\nchannel 3")


def test_heatmap_when_there_is_one_channel_then_speaks_of_no_sum(result: Result, arrays: dict[str, np.ndarray]) -> None:
    alone = result.model_copy(update={"layer": result.layer.model_copy(update={"shape": [1, 4, 4], "channel_axis": 0})})

    assert draw("heatmap", alone, arrays, Choice(cluster="a")).get_suptitle() == "conductance at layer conv1, cluster a"


def test_heatmap_when_the_result_holds_a_heatmap_then_draws_this_heatmap(result: Result, arrays: dict[str, np.ndarray]) -> None:
    arrays[f"heatmap/{RANKINGS[0]}"] = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    figure = draw("heatmap", result, arrays, Choice(cluster=CLUSTERS[1]))
    values, _, _ = drawn_map(figure)

    assert values.tolist() == [[6, 7], [8, 9], [10, 11]]
    assert figure.get_suptitle().endswith("\nmean over channels")


def test_heatmap_when_of_an_example_then_shows_its_scores(result: Result, arrays: dict[str, np.ndarray]) -> None:
    values, _, _ = drawn_map(draw("heatmap", result, arrays, Choice(cluster="a", example=2, channel=3)))

    assert np.allclose(values, arrays[f"examples/{RANKINGS[0]}/a"][2, 3])


def test_heatmap_when_over_an_input_then_both_are_seen(result: Result, arrays: dict[str, np.ndarray]) -> None:
    figure = draw("heatmap", result, arrays, Choice(background=np.eye(8)))
    behind, before = figure.axes[0].get_images()

    assert np.asarray(behind.get_array()).tolist() == np.eye(8).tolist()
    assert np.max(before.get_alpha()) < 1
    assert np.argmax(before.get_alpha()) == np.argmax(np.abs(before.get_array()))
    assert behind.get_extent() == before.get_extent()


def test_heatmap_when_the_layer_is_dense_then_is_one_row(result: Result, arrays: dict[str, np.ndarray]) -> None:
    dense = result.model_copy(update={"layer": result.layer.model_copy(update={"shape": [16]})})

    assert drawn_map(draw("heatmap", dense, arrays, Choice()))[0].shape == (1, 16)


def test_leaderboard_when_drawn_then_colours_say_the_verdict(result: Result, arrays: dict[str, np.ndarray]) -> None:
    axes = draw("leaderboard", result, arrays, Choice()).axes[0]

    assert [round(bar.get_width(), 3) for bar in axes.patches] == [0.8, 0.0]
    assert [to_hex(bar.get_facecolor()) for bar in axes.patches] == ["#0072b2", "#d55e00"]
    assert [text.get_text().strip() for text in axes.texts] == ["2 of 2 clusters", "0 of 2 clusters, no area"]


def test_leaderboard_when_no_ranking_was_tested_then_raises_no_picture(result: Result, arrays: dict[str, np.ndarray]) -> None:
    untested = [leader.model_copy(update={"verdict": None}) for leader in result.leaderboard]

    with pytest.raises(NoPicture, match="not tested by ablation") as caught:
        draw("leaderboard", result.model_copy(update={"leaderboard": untested}), arrays, Choice())
    assert caught.value.code == "no_ablation"


@pytest.mark.parametrize("count", [1, 2, 20])
def test_leaderboard_when_it_has_a_legend_then_the_legend_covers_no_text(
    result: Result, arrays: dict[str, np.ndarray], count: int
) -> None:
    figure = draw("leaderboard", *many(result, arrays, count), Choice())
    rendered(figure, "png")
    legend = figure.legends[0].get_window_extent()

    assert not any(legend.overlaps(text.get_window_extent()) for text in figure.axes[0].texts)
    assert not any(legend.overlaps(bar.get_window_extent()) for bar in figure.axes[0].patches)


def test_name_when_long_then_keeps_its_beginning_and_end() -> None:
    first, second = (short(f"encoder.layers.{number}.attention.output.dense-{number}") for number in (1, 2))

    assert first != second
    assert len(first) == 28
    assert short("conv1") == "conv1"


@pytest.mark.parametrize("name", PICTURES)
def test_picture_when_names_are_long_then_nothing_is_cut(result: Result, arrays: dict[str, np.ndarray], name: str) -> None:
    many_rankings, all_arrays = many(result, arrays, 12, "a-very-long-name-of-a-ranking-number-{}")
    layer = result.layer.model_copy(update={"name": "encoder.layers.11.attention.output"})
    clusters = [cluster.model_copy(update={"name": f"the cluster of number {row}"}) for row, cluster in enumerate(result.clusters)]
    figure = draw(name, many_rankings.model_copy(update={"layer": layer, "clusters": clusters}), all_arrays, Choice())
    rendered(figure, "png")

    drawn, page = figure.get_tightbbox(), figure.bbox_inches
    assert min(drawn.x0, drawn.y0, page.x1 - drawn.x1, page.y1 - drawn.y1) > -0.01


def test_agreement_when_drawn_then_is_spearmans(result: Result, arrays: dict[str, np.ndarray]) -> None:
    from scipy.stats import spearmanr

    values, _, _ = drawn_map(draw("agreement", result, arrays, Choice(cluster="a")))
    expected = spearmanr(*(arrays[f"importance/{id}"][0] for id in RANKINGS)).statistic

    assert values[0, 1] == pytest.approx(expected)
    assert values[0, 0] == pytest.approx(1)


def test_agreement_when_a_ranking_has_no_order_then_there_is_none(result: Result, arrays: dict[str, np.ndarray]) -> None:
    arrays[f"importance/{RANKINGS[1]}"] = np.ones_like(arrays[f"importance/{RANKINGS[1]}"])
    axes = draw("agreement", result, arrays, Choice()).axes[0]

    assert [text.get_text() for text in axes.texts] == ["1.00", "–", "–", "–"]


def test_importance_when_of_very_many_units_then_draws_some_from_first_to_last(
    result: Result, arrays: dict[str, np.ndarray]
) -> None:
    values = np.random.default_rng(0).normal(size=(2, 50_000)).astype(np.float32)
    layer = result.layer.model_copy(update={"shape": [50_000], "count": 50_000})
    figure = draw("importance", result.model_copy(update={"layer": layer}), {f"importance/{RANKINGS[0]}": values}, Choice())
    curve = next(iter(figure.axes[1].get_lines()))
    ranks, values_drawn = np.asarray(curve.get_xdata()), np.asarray(curve.get_ydata())

    assert (ranks[0], ranks[-1], len(ranks)) == (1, 50_000, 2000)
    assert np.allclose(values_drawn, np.sort(values[0])[::-1][ranks - 1])


@pytest.mark.parametrize(
    ("name", "choice", "code"),
    [
        ("ablation", Choice(cluster="none"), "cluster_not_found"),
        ("importance", Choice(ranking="none"), "ranking_not_found"),
        ("heatmap", Choice(channel=4), "channel_not_found"),
        ("heatmap", Choice(example=3), "example_not_found"),
        ("heatmap", Choice(cluster=CLUSTERS[1], example=0), "no_examples"),
    ],
)
def test_picture_when_its_data_are_missing_then_the_error_names_the_choices(
    result: Result, arrays: dict[str, np.ndarray], name: str, choice: Choice, code: str
) -> None:
    with pytest.raises(NoPicture) as caught:
        draw(name, result, arrays, choice)

    assert caught.value.code == code


def test_picture_when_the_job_had_none_of_it_then_says_so(result: Result, arrays: dict[str, np.ndarray]) -> None:
    del arrays["ablation/random"]
    alone = result.model_copy(update={"rankings": result.rankings[:1]})

    with pytest.raises(NoPicture, match="no ablation"):
        draw("ablation", result, arrays, Choice())
    with pytest.raises(NoPicture, match="one ranking"):
        draw("agreement", alone, arrays, Choice())


def test_ablation_when_units_were_kept_then_the_second_axes_have_these_curves(
    result: Result, arrays: dict[str, np.ndarray]
) -> None:
    figure = draw("ablation", result, arrays, Choice(cluster="a"))
    without = draw("ablation", result, {name: each for name, each in arrays.items() if not name.endswith("keep")}, Choice())

    kept = [np.asarray(line.get_ydata()) for line in figure.axes[1].get_lines()]
    for id, curve in zip(RANKINGS, kept, strict=True):
        np.testing.assert_allclose(curve, arrays[f"ablation/{id}/keep"][0])
    assert len(without.axes) == 1


def test_importance_when_the_summary_has_intervals_then_they_are_the_bars(result: Result, arrays: dict[str, np.ndarray]) -> None:
    values = arrays[f"importance/{RANKINGS[0]}"][0].astype(float)
    order = np.argsort(-values, kind="stable")[:15]
    top = [
        Unit(
            unit=int(unit),
            index=[0, 0, 0],
            importance=values[unit],
            importance_low=values[unit] - 0.25,
            importance_high=values[unit] + 0.5,
        )
        for unit in order
    ]
    ranking = result.rankings[0]
    clusters = ranking.clusters | {"a": ranking.clusters["a"].model_copy(update={"top": top})}
    whole = result.model_copy(update={"rankings": [ranking.model_copy(update={"clusters": clusters}), result.rankings[1]]})
    lines = draw("importance", whole, arrays, Choice(cluster="a")).axes[0].collections[0]

    ends = np.array([segment[:, 0] for segment in lines.get_segments()])
    np.testing.assert_allclose(ends, np.stack([values[order] - 0.25, values[order] + 0.5], axis=1))


def test_comparisons_when_drawn_then_each_pair_has_its_interval(result: Result, arrays: dict[str, np.ndarray]) -> None:
    removed, kept = draw("comparisons", result, arrays, Choice()).axes[:2]

    assert np.asarray(removed.get_lines()[0].get_xdata()).tolist() == [0.1, 0.3]
    assert np.asarray(removed.get_lines()[1].get_xdata()).tolist() == [0.2]
    assert np.asarray(kept.get_lines()[0].get_xdata()).tolist() == [-0.3, 0.1]
    assert [label.get_text() for label in removed.get_yticklabels()] == ["conductance − gradient.m…n_abs"]


def test_comparisons_when_there_are_none_then_there_is_no_picture(result: Result, arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(NoPicture) as refused:
        draw("comparisons", result.model_copy(update={"comparisons": []}), arrays, Choice())

    assert refused.value.code == "one_ranking"


def test_specificity_when_drawn_then_the_matrix_is_that_of_the_result(result: Result, arrays: dict[str, np.ndarray]) -> None:
    axes = draw("specificity", result, arrays, Choice(ranking=RANKINGS[1])).axes[0]

    assert np.ma.filled(np.ma.asarray(axes.get_images()[0].get_array()), np.nan)[:, 0].tolist() == [0.9, 0.1]
    assert sorted(text.get_text() for text in axes.texts) == ["0.10", "0.20", "0.90", "–"]


def test_specificity_when_it_was_not_tested_then_there_is_no_picture(result: Result, arrays: dict[str, np.ndarray]) -> None:
    rankings = [ranking.model_copy(update={"specificity": None}) for ranking in result.rankings]
    with pytest.raises(NoPicture) as refused:
        draw("specificity", result.model_copy(update={"rankings": rankings}), arrays, Choice())

    assert refused.value.code == "no_specificity"
