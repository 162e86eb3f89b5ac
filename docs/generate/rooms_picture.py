"""The picture of the rooms in `architecture.md`, drawn from the imports of the code.

MkDocs calls `on_files` when it builds the site. `python docs/generate/rooms_picture.py` writes the
same picture to `docs/rooms.svg`, which GitHub shows; a test compares the file with the imports.
"""

import ast
import io
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import networkx as nx
from matplotlib.figure import Figure
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOMS = {
    "unitrank": "client/",
    "unitrank_service": "service/",
    "unitrank_worker": "worker/",
    "unitrank_plots": "plots/",
    "unitrank_store": "store/",
    "unitrank_engine": "engine/",
    "unitrank_schemas": "api_schemas/",
    "unitrank_tables": "tables/",
}
"""Each package with its folder at the top of the repository, in the order of their columns."""
PICTURE = "rooms.svg"
AT_START, ON_DEMAND = "#3f51b5", "#9e9e9e"
DETERMINISTIC = {"svg.hashsalt": "unitrank", "svg.fonttype": "none"}
WIDTH, HEIGHT = 9.0, 4.6
"""Inches."""
COLUMN, BOX_HEIGHT, LOWEST, HIGHEST = 0.34, 0.12, 0.22, 0.9
"""Shares of the picture: between two columns, a box, the centres of the lowest and the highest
boxes.
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The files of the site with a picture that is drawn now."""
    committed = files.get_file_from_path(PICTURE)
    if committed is not None:
        files.remove(committed)
    root = Path(config.config_file_path).parent
    files.append(File.generated(config, PICTURE, content=draw(imports(root))))
    return files


def imports(root: Path) -> nx.DiGraph:
    """The graph of rooms. An edge leads from the importing room to the imported one.

    The edge's `at_start` says whether a module imports the room when the module is loaded, rather
    than in a function.
    """
    graph: nx.DiGraph = nx.DiGraph()
    graph.add_nodes_from(ROOMS)
    for room, folder in ROOMS.items():
        for path in sorted((root / folder / room).rglob("*.py")):
            for imported, at_start in _imported(ast.parse(path.read_text(encoding="utf-8"))):
                if imported in ROOMS and imported != room:
                    earlier = graph.get_edge_data(room, imported, {"at_start": False})["at_start"]
                    graph.add_edge(room, imported, at_start=at_start or earlier)
    return graph


def draw(graph: nx.DiGraph) -> str:
    """The picture as SVG.

    Each arrow's id is `importing-imported`; an arrow that other arrows imply is left out.
    """
    positions = _positions(graph)
    with mpl.rc_context(DETERMINISTIC):
        figure = Figure(figsize=(WIDTH, HEIGHT))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        for room, imported, at_start in _not_implied(graph):
            arrow = axes.annotate(
                "",
                xy=_edge_of_box(positions[imported], 1),
                xytext=_edge_of_box(positions[room], -1),
                arrowprops={
                    "arrowstyle": "-|>",
                    "color": AT_START if at_start else ON_DEMAND,
                    "linestyle": "solid" if at_start else "dashed",
                },
            )
            assert arrow.arrow_patch is not None
            arrow.arrow_patch.set_gid(f"{room}-{imported}")
        for room, (x, y) in positions.items():
            text = f"{ROOMS[room]}\n{room}"
            box = {"boxstyle": "round,pad=0.6", "facecolor": "#e8eaf6", "edgecolor": AT_START}
            axes.text(x, y, text, ha="center", va="center", fontsize=10, bbox=box)
        axes.text(0.02, 0.02, "solid: imported when the room is loaded", fontsize=9, color=AT_START)
        axes.text(0.38, 0.02, "dashed: imported by the functions that need it", fontsize=9, color="#616161")
        svg = io.StringIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
    # matplotlib ends lines with blanks.
    return "\n".join(line.rstrip() for line in svg.getvalue().splitlines()) + "\n"


def _imported(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """The first name of each imported module, and whether the import is at the top level of its
    file.
    """
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        for name in names:
            yield name.partition(".")[0], id(node) in top


def _not_implied(graph: nx.DiGraph) -> list[tuple[str, str, bool]]:
    """The edges without those that a longer path implies.

    A dashed path does not imply a solid edge.
    """
    at_start = [(room, imported) for room, imported, solid in graph.edges(data="at_start") if solid]
    solid, solid_or_dashed = nx.transitive_reduction(nx.DiGraph(at_start)), nx.transitive_reduction(graph)
    return [
        (room, imported, (room, imported) in at_start)
        for room, imported in graph.edges
        if solid.has_edge(room, imported) or ((room, imported) not in at_start and solid_or_dashed.has_edge(room, imported))
    ]


def _positions(graph: nx.DiGraph) -> dict[str, tuple[float, float]]:
    """The centre of each room's box. A room is drawn above all rooms that it imports."""
    layers = [sorted(layer, key=list(ROOMS).index) for layer in nx.topological_generations(graph.reverse())]
    step = (HIGHEST - LOWEST) / max(len(layers) - 1, 1)
    return {
        room: (0.5 + COLUMN * (column - (len(layer) - 1) / 2), LOWEST + step * row)
        for row, layer in enumerate(layers)
        for column, room in enumerate(layer)
    }


def _edge_of_box(centre: tuple[float, float], direction: int) -> tuple[float, float]:
    """The middle of the upper (1) or the lower (-1) edge of a box."""
    return centre[0], centre[1] + direction * BOX_HEIGHT / 2


if __name__ == "__main__":
    docs = Path(__file__).parents[1]
    (docs / PICTURE).write_text(draw(imports(docs.parent)), encoding="utf-8")
