"""Finds environment variables that look like a setting and are misspelt."""

import difflib
import re
from collections.abc import Iterable
from typing import NamedTuple

from unitrank_store.settings import Settings

PREFIX = "UNITRANK_"
NO_SETTINGS = frozenset(
    f"{PREFIX}{name}" for name in ("DEVICE", "GPU", "KEY", "MNIST", "PICTURES", "PUBLISH", "TEST_SERVER", "URL", "WORKERS")
)
"""Variables of the command line, of docker-compose.yml, and of the tests and benchmarks."""
# Kubernetes sets these variables for a service whose name begins with `unitrank`.
_OF_KUBERNETES = re.compile(rf"{PREFIX}(\w+_)?(SERVICE_HOST|SERVICE_PORT|PORT_\d+_(TCP|UDP))(_\w+)?")


class UnknownVariable(NamedTuple):
    """A variable that no process reads. `nearest`: the most similar name of a setting, or None."""

    name: str
    nearest: str | None


def unknown_variables(names: Iterable[str]) -> list[UnknownVariable]:
    """Return the unknown ones among the names of variables, in alphabetical order."""
    settings = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | NO_SETTINGS
    return [
        UnknownVariable(name, _nearest(name.upper(), settings))
        for name in sorted(names)
        if name.upper().startswith(PREFIX) and name.upper() not in settings and not _OF_KUBERNETES.fullmatch(name)
    ]


def _nearest(name: str, settings: Iterable[str]) -> str | None:
    """Return the most similar setting. The common prefix does not count."""
    suffixes = sorted(setting.removeprefix(PREFIX) for setting in settings)
    matches = difflib.get_close_matches(name.removeprefix(PREFIX), suffixes, n=1)
    return f"{PREFIX}{matches[0]}" if matches else None
