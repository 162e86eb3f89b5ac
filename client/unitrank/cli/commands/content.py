"""`unitrank put-model`, `put-dataset`, `layers`, `methods`, `row`, `statistics`."""

import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from unitrank.cli.output import (
    URL,
    AsJson,
    Seconds,
    Url,
    open_client,
    parse_seconds,
    parse_value,
    print_json,
    print_message,
    print_table,
)
from unitrank.client.requests import PictureOptions
from unitrank.errors import NotPossible
from unitrank.exporting import export
from unitrank.model_archives import is_mlflow
from unitrank_schemas.datasets import Dataset
from unitrank_schemas.models import Layer, Model

app = typer.Typer()

UNDONE = "that the dataset's values have already; the picture shows the values before it. Repeat it for each channel."


class Channels(StrEnum):
    """The axis of the colours of an image."""

    first = "first"
    last = "last"
    none = "none"


Name = Annotated[str, typer.Argument(help="Name in the service.")]
SourceUri = Annotated[
    str | None,
    typer.Option(
        "--uri",
        help="Read it from this URI instead of uploading a file; allowed locations are set in UNITRANK_SOURCES of the service.",
    ),
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is ready.")]


@app.command("put-model")
def put_model(
    name: Name,
    model: Annotated[
        str | None,
        typer.Argument(
            help="An archive, a safetensors file, a network (`net.py:name`, `package.module:name`), or a PyTorch model of MLflow "
            "(`models:/name/version`)."
        ),
    ] = None,
    example: Annotated[
        list[str] | None,
        typer.Option(
            help="Only for a network: shape of an input without the batch, such as 3x32x32 or int64:16; repeat it for each input."
        ),
    ] = None,
    uri: SourceUri = None,
    hub: Annotated[
        str | None,
        typer.Option(help="A Transformers model instead: a folder that save_pretrained wrote, or an id on the Hugging Face hub."),
    ] = None,
    architecture: Annotated[
        str | None, typer.Option(help="Name of an installed architecture that these weights belong to.")
    ] = None,
    arguments: Annotated[str | None, typer.Option(help="Arguments of the architecture, as a JSON object.")] = None,
    wait: Wait = True,
    timeout: Seconds = None,
    url: Url = URL,
    as_json: AsJson = False,
) -> None:
    """Upload a model, and wait until the service has inspected it.

    Prints NAME@DIGEST, which names this content in a job even if the name gets another content.
    """
    if [model, uri, hub].count(None) != 2:
        raise NotPossible("give one of a model, --uri and --hub", code="invalid_request")
    seconds = parse_seconds(timeout)
    parsed = None if arguments is None else parse_value(arguments)
    if parsed is not None and not isinstance(parsed, dict):
        raise NotPossible(
            f"--arguments {arguments!r} is invalid: give a JSON object, such as '{{\"hidden\": 16}}'", code="invalid_request"
        )
    with open_client(url) as client, tempfile.TemporaryDirectory(prefix="unitrank-") as folder:
        source = None if model is None else _source(model, example or [], Path(folder))
        record = client.models.put(
            name,
            source,
            _examples(example) if example and is_mlflow(model) else None,
            uri=uri,
            hub=hub,
            architecture=architecture,
            arguments=parsed,
            wait=wait,
            timeout=seconds,
        )
    if as_json:
        print_json(record)
        return
    _print_exact_name(record)
    if record.status == "ready":
        counts = f"{record.parameters:,} parameters, {len(record.layers or [])} layers"
        print_message(f"model {name}: {counts}; `unitrank layers {name}` lists them")
    else:
        print_message(f"model {name}: {record.status}")


@app.command("put-dataset")
def put_dataset(
    name: Name,
    path: Annotated[
        Path | None,
        typer.Argument(
            help="An .npz, safetensors, .npy, CSV or Parquet file, or a folder with one sub-folder of images for each class."
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="FIELD=COLUMN, or FIELD=COLUMN,COLUMN,… to stack columns; repeat it. Default: each column is a field."),
    ] = None,
    uri: SourceUri = None,
    wait: Wait = True,
    timeout: Seconds = None,
    url: Url = URL,
    as_json: AsJson = False,
) -> None:
    """Upload a dataset, and wait until it is ready.

    Prints NAME@DIGEST, which names this content in a job even if the name gets another content.
    """
    if (path is None) == (uri is None):
        raise NotPossible("give either a file or --uri, and not both", code="invalid_request")
    seconds, columns = parse_seconds(timeout), _columns(column or [])
    with open_client(url) as client:
        record = client.datasets.put(name, path, uri=uri, columns=columns, wait=wait, timeout=seconds)
    if as_json:
        print_json(record)
        return
    _print_exact_name(record)
    fields = ", ".join(f"{field} {info.dtype}{info.shape[1:]}" for field, info in (record.fields or {}).items())
    print_message(f"dataset {name}: {record.status}" + (f", {record.examples} examples, {fields}" if fields else ""))


@app.command()
def layers(model: Annotated[str, typer.Argument(help="Name of the model.")], url: Url = URL, as_json: AsJson = False) -> None:
    """List the layers of a model that a job may name."""
    with open_client(url) as client:
        record: Model = client.models.wait(model)
    layers = record.layers or []
    if as_json:
        print_json(layers)
    else:
        rows = [(layer.name, layer.kind, "x".join(map(str, layer.shape)), layer.units, _properties(layer)) for layer in layers]
        print_table(("layer", "kind", "shape", "units", ""), rows)


def _properties(layer: Layer) -> str:
    return ", ".join(text for text in ("cut" if layer.cut else "", layer.heads_in_words) if text)


@app.command()
def methods(url: Url = URL, as_json: AsJson = False) -> None:
    """List the attribution methods with their formulas and costs."""
    with open_client(url) as client:
        cards = client.methods()
    if as_json:
        print_json(cards)
    else:
        print_table(
            ("method", "formula", "cost", "summary"), [(card.name, card.formula, card.cost, card.summary) for card in cards]
        )


def _print_exact_name(record: Model | Dataset) -> None:
    """Prints the name with the digest. An import that is not finished has no digest."""
    print(f"{record.name}@{record.digest}" if record.digest else record.name)


def _columns(texts: list[str]) -> dict[str, str | list[str]] | None:
    """Field → the column or columns that it is made of; None without texts."""
    for text in texts:
        field, equals, names = text.partition("=")
        if not field or not equals or not all(names.split(",")):
            raise NotPossible(
                f"--column {text!r} is invalid: give FIELD=COLUMN or FIELD=COLUMN,COLUMN,…, such as x=age,height",
                code="invalid_request",
            )
    pairs = [text.split("=", 1) for text in texts]
    return {field: names.split(",") if "," in names else names for field, names in pairs} or None


def _source(model: str, example: list[str], folder: Path) -> str | Path:
    """The path of the file to upload, or a URI of MLflow. A network is exported into the folder."""
    if is_mlflow(model):
        return model
    if model.endswith(".py"):
        raise NotPossible(
            f"{model} is a file of Python code; name the network in it, such as {model}:network", code="invalid_request"
        )
    if Path(model).is_file() or ":" not in model:
        return Path(model)
    from unitrank.cli.module_spec import network_of

    if not example:
        raise NotPossible(
            "--example is missing; give the shape of an input without the batch, such as --example 3x32x32", code="invalid_request"
        )
    with network_of(model) as network:
        export(network, _examples(example), folder / "model.pt2")
    return folder / "model.pt2"


def _examples(shapes: list[str]) -> list[Any]:
    """Example inputs of these shapes."""
    from unitrank.cli.module_spec import example_of

    return [example_of(shape) for shape in shapes]


@app.command()
def row(
    dataset: Annotated[str, typer.Argument(help="Name of the dataset.")],
    row: Annotated[int, typer.Argument(min=0, help="Number of the row, from 0.")],
    picture: Annotated[Path | None, typer.Option(help="Write the row's image to this file, as PNG.", metavar="FILE")] = None,
    field: Annotated[str | None, typer.Option(help="Field with the image.", show_default="the first one with images")] = None,
    channels: Annotated[
        Channels | None, typer.Option(help="Axis of the colours, where the shape could mean more than one.")
    ] = None,
    scale: Annotated[list[float] | None, typer.Option(help=f"The scale {UNDONE}")] = None,
    mean: Annotated[list[float] | None, typer.Option(help=f"The mean {UNDONE}")] = None,
    std: Annotated[list[float] | None, typer.Option(help=f"The std {UNDONE}")] = None,
    url: Url = URL,
) -> None:
    """Print the values of one row as JSON, or write its image to a file."""
    axis: Any = channels and channels.value  # Any: the values of the enumeration are those of the literal
    options: PictureOptions = {"field": field, "channels": axis, "scale": scale or None, "mean": mean or None, "std": std or None}
    if picture is None and any(value is not None for value in options.values()):
        raise NotPossible("--field, --channels, --scale, --mean and --std need --picture FILE", code="invalid_request")
    with open_client(url) as client:
        if picture is None:
            print_json(client.datasets.row(dataset, row))
        else:
            picture.write_bytes(client.datasets.picture(dataset, row, **options))


@app.command()
def statistics(
    dataset: Annotated[str, typer.Argument(help="Name of the dataset.")], url: Url = URL, as_json: AsJson = False
) -> None:
    """Show the class balance and the range of each field of a dataset."""
    with open_client(url) as client:
        about = client.datasets.statistics(dataset)
    if as_json:
        print_json(about)
        return
    rows = []
    for name, field in about.fields.items():
        values = ", ".join(f"{each.value}: {each.rows}" for each in field.values or ())
        numbers = ("–" if number is None else f"{number:.4g}" for number in (field.low, field.mean, field.high))
        rows.append((name, f"{field.rows} of {about.examples}", *numbers, values or "–"))
    print_table(("field", "rows read", "low", "mean", "high", "value: rows"), rows)
