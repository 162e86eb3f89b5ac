"""`unitrank export`: writes a network as an archive."""

from pathlib import Path
from typing import Annotated

import typer

from unitrank.cli.output import AsJson, print_json, print_message
from unitrank.errors import NotPossible
from unitrank.exporting import export, export_folder, refuse_file
from unitrank_schemas.models import Manifest

app = typer.Typer()


@app.command("export")
def export_model(
    module: Annotated[
        str,
        typer.Argument(
            help="The network: `net.py:name`, `package.module:name`, or a folder that Transformers' save_pretrained wrote."
        ),
    ],
    path: Annotated[Path, typer.Argument(help="Archive to write, such as net.pt2.")],
    example: Annotated[
        list[str] | None,
        typer.Option(
            help="Shape of an input without the batch: 3x32x32, or int64:16 for token ids; repeat it for each input of forward."
        ),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Safetensors file with the network's weights.")] = None,
    position: Annotated[int | None, typer.Option(help="Only for a folder: index of the token whose output is explained.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a network as an archive that the service accepts, and print its layers.

    `name` is a torch.nn.Module, or a function without arguments that returns one.
    """
    if Path(module).is_dir():
        manifest = _folder(Path(module), path, example or [], weights, position)
    else:
        manifest = _named(module, path, example or [], weights, position)
    if as_json:
        print_json(manifest)
    for layer in [] if as_json else manifest.layers:
        print(layer.name, layer.kind, "x".join(map(str, layer.shape)), "cut" if layer.cut else "", sep="\t")
    print_message(f"{path}: {manifest.parameters:,} parameters, {len(manifest.layers)} layers")


def _named(module: str, path: Path, example: list[str], weights: Path | None, position: int | None) -> Manifest:
    from unitrank.cli.module_spec import example_of, load_weights, network_of

    if Path(module).is_file():
        refuse_file(Path(module))
    if not example:
        raise NotPossible("--example is missing; give the shape of an input without the batch, such as --example 3x32x32")
    if position is not None:
        raise NotPossible(
            "--position is only for a folder of Transformers; for a network let forward return one output per example"
        )
    with network_of(module) as network:
        if weights is not None:
            load_weights(network, weights)
        return export(network, [example_of(shape) for shape in example], path)


def _folder(folder: Path, path: Path, example: list[str], weights: Path | None, position: int | None) -> Manifest:
    from unitrank.cli.module_spec import example_of

    if weights is not None or len(example) > 1:
        raise NotPossible(f"{folder} is a folder, which contains its weights: leave out --weights, and give at most one --example")
    shape = [int(size) for size in example_of(example[0]).shape[1:]] if example else None
    return export_folder(folder, path, shape=shape, position=position)
