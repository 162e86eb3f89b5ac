"""The graph of a model's layers on its page."""

from typing import Any

import httpx

from tests.service.conftest import MANIFEST, Served, ready_model
from unitrank_service.web.layer_graph import GAP, HEIGHT, MOST_LAYERS, layer_graph


def layers(**after: list[str] | None) -> list[dict[str, Any]]:
    return [{"name": name, "after": sources} for name, sources in after.items()]


def test_graph_when_a_layer_skips_another_then_both_lead_to_their_sum() -> None:
    graph = layer_graph(layers(input=[], left=["input"], right=["input"], sum=["left", "right", "input"]))

    assert graph
    assert [box.y for box in graph.boxes] == [2 + row * (HEIGHT + GAP) for row in (0, 1, 1, 2)]
    assert graph.boxes[1].x < graph.boxes[2].x
    assert graph.boxes[0].x == graph.boxes[3].x
    assert len(graph.lines) == 5


def test_graph_when_the_inspection_is_older_then_is_a_chain() -> None:
    graph = layer_graph([{"name": "a"}, {"name": "b"}, {"name": "c"}])

    assert graph
    assert len(graph.lines) == 2
    assert len({box.x for box in graph.boxes}) == 1


def test_graph_when_there_are_too_many_layers_then_is_left_out() -> None:
    assert layer_graph([{"name": str(number)} for number in range(MOST_LAYERS + 1)]) is None
    assert layer_graph([]) is None


def test_model_when_opened_then_each_layer_of_the_graph_starts_a_job(
    client: httpx.Client, browser: httpx.Client, served: Served
) -> None:
    ready_model(client, served)

    page = browser.get("/models/net").text

    for layer in MANIFEST["layers"]:
        link = page.split(f'<a href="/new?model=net&amp;layer={layer["name"]}">', 1)[1]
        assert f">{layer['name']}</text>" in link.split("</a>")[0]
        assert layer["kind"] in link.split("</a>")[0]
