"""What the commands share: where the service is, whom they speak to, and what words stand for."""

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from unitrank.client.sync import HERE, Client
from unitrank.errors import NotPossible

Url = Annotated[str, typer.Option(envvar="UNITRANK_URL", help="Of the service. Its key is read from UNITRANK_KEY.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
Seconds = Annotated[str | None, typer.Option("--timeout", help="Give up waiting after 90, 20m or 2h; the exit code is then 124.")]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]
URL = HERE

WIDTH = 200

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


def opened(url: str, **options: Any) -> Client:
    """A client with the key of the environment: on a command line others could read it."""
    return Client(url, os.environ.get("UNITRANK_KEY"), **options)


def say(words: str) -> None:
    """A line for people."""
    Console(stderr=True, soft_wrap=True).print(words, markup=False, highlight=False)


def show(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table for people."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        # A table is not cut where no terminal says how wide it is.
        console = Console(stderr=True, highlight=False, width=WIDTH)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=any(columns))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    console.print(table)


def give(value: Any) -> None:
    """A line of JSON for programs."""
    sys.stdout.write(json.dumps(value, default=_plain, ensure_ascii=False) + "\n")


def seconds_of(words: str | None) -> float | None:
    """90, 90s, 20m or 2h as seconds. Raises NotPossible."""
    if words is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", words.strip())
    if match is None:
        raise NotPossible(f"{words!r} is no duration; write 90, 90s, 20m or 2h", code="invalid_request")
    return float(match[1]) * UNITS[match[2]]


def value_of(words: str) -> Any:
    """What the words are as JSON, or the words themselves."""
    try:
        return json.loads(words)
    except ValueError:
        return words


def document(path: Path) -> dict[str, Any]:
    """The object in a JSON or YAML file; `-` is stdin. Raises NotPossible."""
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NotPossible(f"{path} cannot be read: {error}", code="no_file") from error
    value = _parsed(text, path)
    if not isinstance(value, dict):
        raise NotPossible(f"{path} holds a {type(value).__name__}; expected an object with the fields of a request")
    return value


def _parsed(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        import yaml
    except ImportError as error:
        raise NotPossible(f"{path} is no JSON; to read YAML: pip install pyyaml", code="not_installed") from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise NotPossible(f"{path} is neither JSON nor YAML: {error}", code="invalid_request") from error


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"a {type(value).__name__} is no value of JSON")
