"""`export`: writes a network as an archive."""

from pathlib import Path
from typing import Annotated

import typer

from unitrank.cli.output import AsJson, give, say
from unitrank.errors import NotPossible
from unitrank.exporting import export, export_folder
from unitrank_schemas.models import Manifest

app = typer.Typer()


@app.command("export")
def export_model(
    module: Annotated[
        str,
        typer.Argument(
            help="Where the network is: `net.py:name`, `package.module:name`, or a folder of Transformers' save_pretrained."
        ),
    ],
    path: Annotated[Path, typer.Argument(help="The archive that is written, such as net.pt2.")],
    example: Annotated[
        list[str] | None,
        typer.Option(
            help="An input without its batch, in the order of forward: 3x32x32, or int64:16 for token ids; of a folder the first."
        ),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="A safetensors file with the network's weights.")] = None,
    position: Annotated[int | None, typer.Option(help="Of a folder: the token whose answer counts.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a network as an archive that the service lets in, and name its layers.

    The name is a torch.nn.Module, or something that returns one when it is called without arguments.
    """
    if Path(module).is_dir():
        manifest = _folder(Path(module), path, example or [], weights, position)
    else:
        manifest = _named(module, path, example or [], weights, position)
    if as_json:
        give(manifest)
    for layer in [] if as_json else manifest.layers:
        print(layer.name, layer.kind, "x".join(map(str, layer.shape)), "cut" if layer.cut else "", sep="\t")
    say(f"{path}: {manifest.parameters} parameters, {len(manifest.layers)} layers")


def _named(module: str, path: Path, example: list[str], weights: Path | None, position: int | None) -> Manifest:
    from unitrank.cli.module_spec import example_of, load_weights, network_of

    if not example:
        raise NotPossible("say what an input looks like without its batch: --example 3x32x32")
    if position is not None:
        raise NotPossible("--position is for a folder of Transformers; let forward return one row of answers an example")
    with network_of(module) as network:
        if weights is not None:
            load_weights(network, weights)
        return export(network, [example_of(words) for words in example], path)


def _folder(folder: Path, path: Path, example: list[str], weights: Path | None, position: int | None) -> Manifest:
    from unitrank.cli.module_spec import example_of

    if weights is not None or len(example) > 1:
        raise NotPossible(
            f"{folder} is a folder, which has its weights and needs no --weights; one --example says its input's shape"
        )
    shape = [int(size) for size in example_of(example[0]).shape[1:]] if example else None
    return export_folder(folder, path, shape=shape, position=position)
