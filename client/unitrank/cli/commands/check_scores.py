"""`unitrank check-scores`: is there a bug in the code that made these scores?"""

from pathlib import Path
from typing import Annotated, Any

import typer

from unitrank.cli.commands.jobs import parse_clusters
from unitrank.cli.output import URL, AsJson, Seconds, Url, open_client, parse_seconds, print_json
from unitrank.cli.set_fields import with_fields
from unitrank.errors import NotPossible
from unitrank.score_checks.local import check_scores
from unitrank.score_checks.score_check import ScoreCheck

app = typer.Typer()


@app.command("check-scores")
def check(
    scores: Annotated[
        Path,
        typer.Argument(
            help="An .npy, .npz or safetensors file with one array, a score for each unit, or with one array for each cluster. The "
            "number of scores decides what the units are: neurons, channels, attention heads or positions."
        ),
    ],
    model: Annotated[
        str, typer.Option(help="The network, `net.py:name` or `package.module:name`; or the name of a model in the service.")
    ],
    data: Annotated[
        str, typer.Option(help="The examples that made the scores: an .npz or safetensors file; or a dataset in the service.")
    ],
    layer: Annotated[str, typer.Option(help="Layer whose units have the scores; `unitrank layers` lists layers and their heads.")],
    at: Annotated[str, typer.Option(help="`output` or `input` of the layer.")] = "output",
    clusters: Annotated[
        str | None, typer.Option(help="Groups of examples, as in `submit`.", show_default="all, or label for several arrays")
    ] = None,
    made_on: Annotated[
        str | None, typer.Option(help="Boolean field of the rows that made the scores; `none` if no row of the data made them.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Any other field of a job, such as --set target.class=3."),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Safetensors file with the network's weights.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N, for a network of a file.")] = "cpu",
    timeout: Seconds = None,
    url: Url = URL,
    as_json: AsJson = False,
) -> None:
    """Find the known scores that your scores are, the likely bug, and the verdict on your scores.

    With a network of a file, the computation runs in this process; else the service computes.
    """
    request: dict[str, Any] = with_fields({"at": at, "made_on": made_on}, set_ or [])
    if clusters:
        request["clusters"] = parse_clusters(clusters)
    if is_network(model):
        answer = _local(model, data, layer, scores, weights, {**request, "device": device})
    else:
        if weights is not None:
            raise NotPossible(f"--weights is only for a network of a file, such as net.py:make; {model!r} is a name in the service")
        with open_client(url) as client:
            answer = client.within(parse_seconds(timeout)).check_scores(model, data, layer, scores, **request)
    if as_json:
        print_json(answer.as_json())
    else:
        print(answer)


def is_network(model: str) -> bool:
    """Whether the text names a network in a file or module, and not a model of the service."""
    return ":" in model and "@sha256:" not in model


def _local(model: str, data: str, layer: str, scores: Path, weights: Path | None, request: dict[str, Any]) -> ScoreCheck:
    from unitrank.cli.module_spec import load_weights, network_of

    with network_of(model) as network:
        if weights is not None:
            load_weights(network, weights)
        return check_scores(network, data, layer, scores, **request)
