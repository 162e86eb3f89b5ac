"""The file `openapi.json`: the document that the service answers at `/openapi.json`.

`python docs/generate/openapi.py` writes the file; a test compares it with the code. Other projects
generate clients from the file without a running service.
"""

import json
import tomllib
from pathlib import Path

from unitrank_service.app import create_app
from unitrank_store.settings import Settings

FILE = Path(__file__).parents[1] / "openapi.json"
PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def text() -> str:
    """The content of the file."""
    # The application sends nothing to the store before it starts.
    document = create_app(Settings(redis_url="redis://127.0.0.1:1")).openapi()
    # An environment in use may have been installed at an earlier version.
    document["info"]["version"] = tomllib.loads(PROJECT.read_text())["project"]["version"]
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
