"""`put-model`, `put-dataset`, `layers`, `methods`: what a job is made of."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from unitrank.cli.output import URL, AsJson, Seconds, Url, give, opened, say, seconds_of, show, value_of
from unitrank.errors import NotPossible
from unitrank.exporting import export
from unitrank_schemas.models import Model

app = typer.Typer()

Name = Annotated[str, typer.Argument(help="What it is called from now on.")]
Elsewhere = Annotated[str | None, typer.Option(help="Where it lies, instead of a file: s3://bucket/… and what else is allowed.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Until it is ready.")]


@app.command("put-model")
def put_model(
    name: Name,
    model: Annotated[
        str | None, typer.Argument(help="An archive, weights, or where the network is: `net.py:name`, `package.module:name`.")
    ] = None,
    example: Annotated[
        list[str] | None, typer.Option(help="Of a network: an input without its batch, 3x32x32, or int64:16 for ids.")
    ] = None,
    uri: Elsewhere = None,
    architecture: Annotated[str | None, typer.Option(help="What the weights are for.")] = None,
    arguments: Annotated[str | None, typer.Option(help="What the architecture is built with: a JSON object.")] = None,
    wait: Wait = True,
    timeout: Seconds = None,
    url: Url = URL,
    as_json: AsJson = False,
) -> None:
    """Upload a model and wait until its inspection says which layers a job may name."""
    seconds = seconds_of(timeout)
    built = None if arguments is None else value_of(arguments)
    if built is not None and not isinstance(built, dict):
        raise NotPossible(f"--arguments is {arguments!r}; expected a JSON object", code="invalid_request")
    with opened(url) as client, tempfile.TemporaryDirectory(prefix="unitrank-") as folder:
        source = None if model is None else _source(model, example or [], Path(folder))
        record = client.models.put(
            name,
            source,
            uri=uri,
            architecture=architecture,
            arguments=built,
            wait=wait,
            timeout=seconds,
        )
    if as_json:
        give(record)
    elif record.status == "ready":
        counts = f"{record.parameters:,} parameters, {len(record.layers or [])} layers"
        say(f"model {name}: {counts}; `unitrank layers {name}` names them")
    else:
        say(f"model {name}: {record.status}")


@app.command("put-dataset")
def put_dataset(
    name: Name,
    path: Annotated[Path | None, typer.Argument(help="An .npz or a safetensors file.")] = None,
    uri: Elsewhere = None,
    wait: Wait = True,
    timeout: Seconds = None,
    url: Url = URL,
    as_json: AsJson = False,
) -> None:
    """Upload a table of examples."""
    if (path is None) == (uri is None):
        raise NotPossible("give a file, or else --uri", code="invalid_request")
    seconds = seconds_of(timeout)
    with opened(url) as client:
        record = client.datasets.put(name, path, uri=uri, wait=wait, timeout=seconds)
    if as_json:
        give(record)
    else:
        fields = ", ".join(f"{field} {info.dtype}{info.shape[1:]}" for field, info in (record.fields or {}).items())
        say(f"dataset {name}: {record.status}" + (f", {record.examples} examples, {fields}" if fields else ""))


@app.command()
def layers(model: Annotated[str, typer.Argument(help="The model's name.")], url: Url = URL, as_json: AsJson = False) -> None:
    """Name every layer that a job may ask for."""
    with opened(url) as client:
        record: Model = client.models.wait(model)
    places = record.layers or []
    if as_json:
        give(places)
    else:
        rows = [(at.name, at.kind, "x".join(map(str, at.shape)), at.units, "cut" if at.cut else "") for at in places]
        show(("layer", "kind", "shape", "units", ""), rows)


@app.command()
def methods(url: Url = URL, as_json: AsJson = False) -> None:
    """List the methods with their formulas."""
    with opened(url) as client:
        cards = client.methods()
    if as_json:
        give(cards)
    else:
        show(("method", "formula", "cost", "summary"), [(card.name, card.formula, card.cost, card.summary) for card in cards])


def _source(model: str, example: list[str], folder: Path) -> Path:
    """The file; a network is exported into the folder."""
    if Path(model).is_file() or ":" not in model:
        return Path(model)
    from unitrank.cli.module_spec import example_of, network_of

    if not example:
        raise NotPossible("say what an input looks like without its batch: --example 3x32x32", code="invalid_request")
    with network_of(model) as network:
        export(network, [example_of(words) for words in example], folder / "model.pt2")
    return folder / "model.pt2"
