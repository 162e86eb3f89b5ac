"""The settings of the store, for the commands that start or open it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unitrank.errors import NotPossible
from unitrank.name_clashes import clash_of

if TYPE_CHECKING:
    from unitrank_store.settings import Settings

State = Annotated[
    Path | None,
    typer.Option(
        envvar="UNITRANK_STATE", help="Folder of the embedded store and of the blobs.", show_default="~/.local/state/unitrank"
    ),
]


def read_settings(**options: Any) -> "Settings":
    """Reads the settings. An option that is not None overrides its environment variable.

    Raises NotPossible if a setting is invalid, or the store's packages are not installed.
    """
    try:
        from unitrank_store.settings import BadSettings, Settings
    except ImportError as error:
        missing = f"the store's packages cannot be imported ({error}): pip install 'unitrank[store]'"
        raise NotPossible(clash_of(error) or missing) from error
    try:
        return Settings.read(**options)
    except BadSettings as error:
        raise NotPossible(str(error)) from error
