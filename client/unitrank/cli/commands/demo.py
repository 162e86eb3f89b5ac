"""`demo`: the complete workflow, from training a network to its verdict."""

from pathlib import Path
from typing import Annotated

import typer

from unitrank.cli.output import AsJson, print_json

app = typer.Typer()


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder to write the result to.")] = Path("demo-result"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the training and of the job.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Train a network on scanned digits, rank its units, and print the verdicts (30 seconds)."""
    from unitrank.cli import display
    from unitrank.server.demo import run

    result = run(output, seed, display.console(stderr=as_json))
    if as_json:
        print_json(result)
