"""The settings of the store, for the commands that start it or open it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unitrank.errors import NotPossible
from unitrank.name_clashes import clash_of

if TYPE_CHECKING:
    from unitrank_store.settings import Settings

State = Annotated[
    Path | None,
    typer.Option(envvar="UNITRANK_STATE", help="Folder of the store and the blobs.", show_default="~/.local/state/unitrank"),
]


def read_settings(**options: Any) -> "Settings":
    """The settings, with the options that are not None in the place of variables. Raises NotPossible."""
    try:
        from unitrank_store.settings import BadSettings, Settings
    except ImportError as error:
        needs = f"this installation lacks the store: pip install 'unitrank[store]' ({error})"
        raise NotPossible(clash_of(error) or needs) from error
    try:
        return Settings.read(**options)
    except BadSettings as error:
        raise NotPossible(str(error)) from error
