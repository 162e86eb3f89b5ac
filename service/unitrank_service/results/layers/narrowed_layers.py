"""Selects a part of each layer in a layered summary."""

from collections.abc import Iterator
from contextlib import ExitStack

from unitrank_schemas.layer_arrays import names_of_layer
from unitrank_schemas.results import JOINT
from unitrank_service.http.responses import encoded
from unitrank_service.results.layers.layer_parts import LONG_LISTS, parts_of, shared_of
from unitrank_service.results.outline import Outline
from unitrank_service.results.stored_result import StoredResult
from unitrank_service.results.summary import Selection, list_in_pieces, narrowed, warnings_about


def narrowed_layers(stored: StoredResult, selection: Selection) -> Iterator[bytes]:
    """Yield the summary as JSON, with the selected part of each layer and of `joint`.

    Raises HttpProblem for a cluster, or for a ranking that no layer has.
    """
    with ExitStack() as files:
        file = files.enter_context(stored.summary_file())
        outline = Outline.of(file)
        selection.check(outline.summary)
        arrays = files.enter_context(stored.array_file()) if selection.top is not None else None
        shared = shared_of(file)
        clusters, rankings = selection.clusters(shared), selection.rankings(outline.summary)
        yield encoded({name: value for name, value in shared.items() if name not in LONG_LISTS})[:-1]
        yield b',"clusters":'
        yield from list_in_pieces([each for each in shared["clusters"] if each["name"] in clusters])
        yield b',"warnings":'
        yield from list_in_pieces(warnings_about(shared["warnings"], clusters, rankings))
        yield b',"layers":{'
        is_first, has_joint = True, False
        for name, part in parts_of(file, stored.summary_scratch):
            with part:
                of_part = Outline.of(part)
                has_joint = name == JOINT and bool(of_part.summary["layer"].get("parts"))
                yield b'},"joint":' if has_joint else b"," * (not is_first) + encoded(name) + b":"
                names = names_of_layer(name, stored.parts, arrays.arrays) if arrays else {}
                of_layer = arrays.select(names) if arrays and selection.needs_arrays(of_part) else None
                without = [key for key in shared if key != "warnings"]
                yield from narrowed(of_part, part, selection, of_layer, without)
                is_first = False
        yield b"}" if has_joint else b'},"joint":null}'
