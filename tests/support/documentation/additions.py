"""Edits that add one of each kind of extension to the sources.

They change only files that `docs/extending.md` names.
"""

Edit = tuple[str, str]
"""A text of a file and its replacement.

If the first text is empty, the replacement is a new file.
"""

SCHEMAS, ENGINE, SERVICE, PLOTS = (
    "api_schemas/unitrank_schemas",
    "engine/unitrank_engine",
    "service/unitrank_service",
    "plots/unitrank_plots",
)

ADDITIONS: dict[str, dict[str, list[Edit]]] = {
    "method": {
        f"{SCHEMAS}/methods/gradient.py": [
            (
                "\nFamily = Gradient",
                '''
class GradientSize(MethodBase):
    """The absolute gradient."""

    title = "Gradient size"
    summary = "Size of the slope of the target in the unit, without its sign."
    formula = "|∂F/∂h|"
    source = "none"
    cost = "as gradient"

    name: Literal["gradient_size"] = "gradient_size"


Family = GradientSize | Gradient''',
            )
        ],
        f"{ENGINE}/methods/gradient.py": [
            (
                "\nFAMILY: dict[str, type[ScoringMethod]] = {",
                '''
class GradientSizeMethod(ScoringMethod):
    """s = |∂F/∂h|."""

    @classmethod
    def points(cls, entry: MethodBase) -> dict[float, bool]:
        return {1.0: True}

    def scores(self) -> Float[Tensor, "rows *place"]:
        return self._gradient.abs()

    def visit(self, point: Point) -> None:
        self._gradient = point.gradient


FAMILY: dict[str, type[ScoringMethod]] = {
    "gradient_size": GradientSizeMethod,''',
            )
        ],
    },
    "kind of clusters": {
        f"{SCHEMAS}/jobs/clusters.py": [
            (
                "\nClusters = Annotated[All |",
                '''
class Halves(ClusterKind):
    """Two clusters: the rows before `start`, and the rows from `start` on."""

    form_label = "rows before and after"
    controls = (FormControl("start", "First row of the second half", default="1"),)

    by: Literal["halves"]
    start: int = Field(ge=1)
    limit: Limit | None = LIMIT

    def count(self, request: "JobRequest", facts: Facts) -> int:
        return 2

    def flaws(self, request: "JobRequest", facts: Facts) -> Iterator[Flaw]:
        if facts.fields is not None and self.start >= facts.examples:
            yield Flaw("/clusters/start", "member_out_of_range", f"row {self.start} of {facts.examples}")


Clusters = Annotated[Halves | All |''',
            )
        ],
        f"{ENGINE}/job/clusters/finders.py": [
            (
                "\nFINDERS: ",
                """
def _halves(request: JobRequest, table: Table, forward: Forward, streams: RandomStreams) -> NamedRows:
    start = request.clusters.start
    return [("before", np.arange(start)), ("after", np.arange(start, table.examples))]


FINDERS: """,
            ),
            ("    schema.All: _all,\n", "    schema.All: _all,\n    schema.Halves: _halves,\n"),
        ],
    },
    "format of models": {
        f"{SCHEMAS}/models.py": [
            (
                "\nMODEL_FORMATS: ",
                '''
class Widths(ModelFormat):
    """A text file with the weights of one linear unit."""

    key = "widths"
    bytes_are = "numbers, separated by commas"
    parameters = ("bias",)

    bias: float


MODEL_FORMATS: ''',
            ),
            ("in (Archive, Architecture)", "in (Archive, Architecture, Widths)"),
            ("    architecture: Architecture | None", "    widths: Widths | None = None\n    architecture: Architecture | None"),
        ],
        f"{SERVICE}/contents/model_formats.py": [
            ("    def format(self)", "    bias: float | None = None\n\n    def format(self)"),
            (
                "import Architecture, Archive, ModelFormat\n",
                "import Architecture, Archive, ModelFormat, Widths\nfrom unitrank_schemas.problems import Invalid\n",
            ),
            (
                "import check_weights, installed\n",
                "import check_weights, installed\nfrom unitrank_service.errors import InvalidBody\n",
            ),
            (
                "\nFORMATS: ",
                """
def _check(path: Path) -> None:
    if path.read_bytes().count(b",") == 0:
        raise InvalidBody([Invalid(pointer="", detail="the file has a single number; at least two are needed", code="bad_widths")])


FORMATS: """,
            ),
            (
                "    Architecture: FormatEntry(",
                "    Widths: FormatEntry(lambda options: None if options.bias is None else Widths(bias=options.bias), _check),\n"
                "    Architecture: FormatEntry(",
            ),
        ],
        f"{ENGINE}/models/formats.py": [
            (
                "\nINSPECTIONS: ",
                """
def _widths(format: Any, source: Path, target: Path) -> Json:
    import torch

    weights = torch.tensor([[float(text) for text in source.read_text().split(",")]])
    unit = torch.nn.Linear(weights.shape[1], 1)
    unit.load_state_dict({"weight": weights, "bias": torch.tensor([format.bias])})
    return exporting.export(unit, torch.zeros(2, weights.shape[1]), target).model_dump(mode="json")


INSPECTIONS: """,
            ),
            ("    Archive: lambda", "    Widths: _widths,\n    Archive: lambda"),
            ("import Architecture, Archive, ModelFormat", "import Architecture, Archive, ModelFormat, Widths"),
            ("import architectures, inspection", "import architectures, exporting, inspection"),
        ],
    },
    "plot": {
        f"{PLOTS}/sizes.py": [
            (
                "",
                '''"""A bar for each cluster: its number of examples."""

from unitrank_plots.style import figure


def sizes(result, arrays, choice):
    drawing, (axes,) = figure(3)
    axes.bar([cluster.name for cluster in result.clusters], [cluster.examples for cluster in result.clusters])
    return drawing
''',
            )
        ],
        f"{PLOTS}/__init__.py": [("PICTURES = {", 'PICTURES = {\n    "sizes": "unitrank_plots.sizes:sizes",')],
    },
    "resource": {
        f"{SCHEMAS}/greetings.py": [
            (
                "",
                '''"""Greetings."""

from unitrank_schemas.base import Schema


class Greeting(Schema):
    """A greeting."""

    text: str
''',
            )
        ],
        f"{SERVICE}/routes/greetings.py": [
            (
                "",
                '''"""Greetings."""

from fastapi import APIRouter, Request, Response

from unitrank_schemas.greetings import Greeting
from unitrank_service.http.requests import Route
from unitrank_service.http.responses import answer
from unitrank_service.openapi.descriptions import problems

router = APIRouter(prefix="/v1/greetings", tags=["greetings"], route_class=Route)
EXAMPLE = {200: {"content": {"application/json": {"example": {"text": "hello mnist"}}}}}


@router.get("/{name}", response_model=Greeting, responses={**problems(401, 403), **EXAMPLE})
async def greet(request: Request, name: str) -> Response:
    """Greet by name."""
    return answer(request, Greeting(text=f"hello {name}"))
''',
            )
        ],
        f"{SERVICE}/routes/__init__.py": [
            ("ROUTERS = [", "ROUTERS = [\n    greetings.router,"),
            ("    datasets,\n", "    datasets,\n    greetings,\n"),
        ],
    },
}
COUNTS = {"method": 2, "kind of clusters": 2, "format of models": 3, "plot": 2, "resource": 3}

PROGRAM = """
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from fastapi.testclient import TestClient
from torch import nn

import unitrank
from unitrank_engine.models import formats
from unitrank_service.app import create_app
from unitrank_store.settings import Settings

torch.manual_seed(0)
x = torch.randn(6, 3)
network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))

result = unitrank.rank(network, "1", x, methods=["gradient_size"], clusters={"by": "halves", "start": 2}, target={"class": 0})
assert [(cluster.name, cluster.examples) for cluster in result.clusters] == [("before", 2), ("after", 4)], result.clusters
expected = network[2].weight[0].abs().detach().numpy()
np.testing.assert_allclose(result.arrays["importance/gradient_size"], [expected, expected], rtol=1e-5)
bars = result.plot("sizes").axes[0].patches
assert [bar.get_height() for bar in bars] == [2, 4]
try:
    unitrank.rank(network, "1", x, clusters={"by": "halves", "start": 6})
    raise AssertionError
except unitrank.InvalidRequest as error:
    assert error.code == "member_out_of_range", error.code

settings = Settings(redis_url=sys.argv[1], state=sys.argv[2])
app = create_app(settings)
with TestClient(app, base_url="http://127.0.0.1") as http:
    assert http.get("/v1/greetings/you").json() == {"text": "hello you"}
    page = http.get("/openapi.json").json()
    answers = page["paths"]["/v1/greetings/{name}"]["get"]["responses"]["200"]["content"]["application/json"]
    assert answers["schema"] == {"$ref": "#/components/schemas/Greeting"} and answers["example"], answers
    assert "gradient_size" in [card["name"] for card in http.get("/v1/methods").json()["items"]]
    assert ".when-halves" in http.get("/static/page.css").text
    sent = {"content": b"1,2,3", "headers": {"Content-Type": "application/octet-stream"}}
    put = http.put("/v1/models/net?bias=0.5", **sent)
    assert put.status_code == 202 and put.json()["widths"] == {"bias": 0.5}, put.text
    wrong = http.put("/v1/models/net?bias=1", content=b"1", headers=sent["headers"])
    assert wrong.json()["code"] == "bad_widths", wrong.text
    record = app.state.backend.models.get("net")
    with tempfile.TemporaryDirectory() as folder:
        manifest = formats.inspect(record.format, app.state.backend.blobs.path(record.blob), Path(folder, "net.pt2"))
    assert manifest["parameters"] == 4
"""
