"""The options, the output and the parsing that the commands share."""

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

from unitrank.client.sync import DEFAULT_URL, Client
from unitrank.errors import NotPossible

Url = Annotated[str, typer.Option(envvar="UNITRANK_URL", help="Address of the service. The API key is read from UNITRANK_KEY.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON to stdout.")]
Seconds = Annotated[
    str | None, typer.Option("--timeout", help="Stop waiting after this time, such as 90, 20m or 2h; the exit code is then 124.")
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of the job.")]
URL = DEFAULT_URL

WIDTH = 200

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


def open_client(url: str, **options: Any) -> Client:
    """A client with the key in UNITRANK_KEY.

    There is no option for the key, because other users can read command lines.
    """
    return Client(url, os.environ.get("UNITRANK_KEY"), **options)


def print_message(message: str) -> None:
    """Prints a message to stderr."""
    Console(stderr=True, soft_wrap=True).print(message, markup=False, highlight=False)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints a table to stderr."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        # Without a terminal there is no width to fit into.
        console = Console(stderr=True, highlight=False, width=WIDTH)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=any(columns))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    console.print(table)


def print_json(value: Any) -> None:
    """Prints one line of JSON to stdout."""
    sys.stdout.write(json.dumps(value, default=_plain, ensure_ascii=False) + "\n")


def parse_seconds(text: str | None) -> float | None:
    """The seconds of a duration such as 90, 90s, 20m or 2h. Raises NotPossible."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if match is None:
        raise NotPossible(f"the duration {text!r} is invalid: write 90, 90s, 20m or 2h", code="invalid_request")
    return float(match[1]) * UNITS[match[2]]


def parse_value(text: str) -> Any:
    """The value that the JSON text holds; the text itself if it is not JSON.

    Raises NotPossible for broken JSON: a text that begins like an object or a list.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        if text.lstrip().startswith(("{", "[")):
            raise NotPossible(
                f'{text!r} is not valid JSON: {error}; quote it for the shell, such as \'{{"name": "gradient"}}\'',
                code="invalid_request",
            ) from error
        return text


def read_request(path: Path) -> dict[str, Any]:
    """The fields of a job request in a JSON or YAML file; `-` is stdin. Raises NotPossible."""
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NotPossible(f"{path} cannot be read: {error}; give a JSON or YAML file, or - for stdin", code="no_file") from error
    value = _parsed(text, path)
    if not isinstance(value, dict):
        raise NotPossible(f"{path} holds a {type(value).__name__}; give an object with the fields of a job request")
    return value


def _parsed(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        import yaml
    except ImportError as error:
        raise NotPossible(f"{path} is not JSON, and YAML needs PyYAML: pip install pyyaml", code="not_installed") from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise NotPossible(f"{path} is neither valid JSON nor valid YAML: {error}", code="invalid_request") from error


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"a {type(value).__name__} has no JSON form")
