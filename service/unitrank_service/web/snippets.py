"""A job's request as code to copy: JSON, curl and Python, without fields that have their default
value.
"""

import json
import pprint
import shlex
from typing import Any

from unitrank_schemas.base import Schema
from unitrank_schemas.jobs import WILDCARD, JobRequest
from unitrank_schemas.methods import METHODS

Json = dict[str, Any]

MOST_NUMBERS = 1000
"""A request with more given numbers is not written as code."""


PRINT = """\
    for leader in result["leaderboard"]:
        print(leader["verdict"], leader["ranking"], leader["area"])"""
PRINT_LAYERS = """\
    for layer, part in result["layers"].items():
        for leader in part["leaderboard"]:
            print(layer, leader["verdict"], leader["ranking"], leader["area"])"""
"""The end of the script for a list of layers."""


def short(request: Json) -> Json:
    """An equal request that has only the fields that differ from their defaults."""
    shortened: Json = {}
    for name, field in JobRequest.model_fields.items():
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        plain = default.model_dump(mode="json") if isinstance(default, Schema) else default
        if name in request and (field.is_required() or request[name] != plain):
            shortened[name] = _without_defaults(request[name], plain)
    shortened["methods"] = [_method(entry) for entry in request["methods"]]
    return shortened


def snippets(request: Json, base: str, *, key: bool) -> dict[str, str] | None:
    """The request as JSON, for curl and for Python; None for a request that contains its data.

    `base`: the address of the service. `key`: whether the service requires an API key.
    """
    if not isinstance(request["dataset"], str) or any(map(_is_large, request["methods"])):
        return None
    shortened = short(request)
    return {"json": as_json(shortened), "curl": as_curl(shortened, base, key), "python": as_python(shortened, base, key)}


def as_json(request: Json) -> str:
    """The request as indented JSON."""
    return json.dumps(request, indent=2, ensure_ascii=False)


def as_curl(request: Json, base: str, key: bool) -> str:
    """A command for a shell."""
    authorization = "  -H 'Authorization: Bearer '\"$UNITRANK_KEY\" \\\n" if key else ""
    body = shlex.quote(as_json(request))
    return f"curl -sS {shlex.quote(f'{base}/v1/jobs')} \\\n  -H 'Content-Type: application/json' \\\n{authorization}  -d {body}"


def as_python(request: Json, base: str, key: bool) -> str:
    """A script that needs only httpx: it posts the request, waits, and prints the leaderboard."""
    authorization = ', headers={"Authorization": f"Bearer {os.environ[\'UNITRANK_KEY\']}"}' if key else ""
    imports = "import os\n\nimport httpx" if key else "import httpx"
    show = PRINT_LAYERS if isinstance(request["layer"], list) or WILDCARD in request["layer"] else PRINT
    return f"""{imports}

request = {pprint.pformat(request, width=100, sort_dicts=False)}

with httpx.Client(base_url={base!r}{authorization}, timeout=90) as client:
    answer = client.post("/v1/jobs", json=request).raise_for_status()
    path = f"/v1/jobs/{{answer.json()['id']}}"
    while (job := client.get(path, params={{"wait": 60}}).json())["finished_at"] is None:
        print(job["status"], job["progress"])
    result = client.get(f"{{path}}/result").raise_for_status().json()
{show}"""


def _is_large(entry: Json | str) -> bool:
    """Whether the entry has more given numbers than a reader can use."""
    importance = entry.get("importance") or [] if isinstance(entry, dict) else []
    lists = importance.values() if isinstance(importance, dict) else [importance]
    return sum(map(len, lists)) > MOST_NUMBERS


def _without_defaults(options: Any, default: Any) -> Any:
    """The options that differ from the default, if both are objects of one kind."""
    if not isinstance(options, dict) or not isinstance(default, dict):
        return options
    kind = [name for name in ("by", "kind") if name in options]
    return {name: value for name, value in options.items() if name in kind or name not in default or value != default[name]}


def _method(entry: Json | str) -> Any:
    if isinstance(entry, str):
        return entry
    schema = METHODS[entry["name"]]
    defaults = {name: field.get_default() for name, field in schema.model_fields.items()}
    statistic = entry.get("statistic", "mean")
    default_ids = {entry["name"] if statistic == "mean" else f"{entry['name']}.{statistic}", None}
    options = {name: value for name, value in entry.items() if name != "id" and (name == "name" or value != defaults.get(name))}
    if entry.get("id") not in default_ids:
        options["id"] = entry["id"]
    return entry["name"] if set(options) == {"name"} else options
