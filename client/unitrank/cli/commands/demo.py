"""`demo`: the complete workflow, from training a network to its verdict."""

from pathlib import Path
from typing import Annotated

import typer

from unitrank.cli.output import AsJson, give

app = typer.Typer()


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder that the result is written to.")] = Path("demo-result"),
    seed: Annotated[int, typer.Option(min=0, help="Of the network's training and of the job.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Train a small network on scanned digits, and see which of its units matter: the whole way through in half a minute."""
    from unitrank.cli import display
    from unitrank.server.demo import run

    result = run(output, seed, display.console(stderr=as_json))
    if as_json:
        give(result)
