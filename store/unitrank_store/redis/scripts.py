"""Lua scripts, which Redis runs as one atomic step. Each is a file in its module's folder."""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from importlib.resources import files
from typing import Any

import redis
from redis.client import Pipeline
from redis.exceptions import NoScriptError


class LuaScript:
    """The script in the file `name` of a package.

    A script takes Redis keys and one JSON object. In Lua, `KEYS` holds the keys, and
    `cjson.decode(ARGV[1])` holds the arguments by name. cjson reads every number as a double, and
    an empty list as an empty table. Pass a number as text if the script stores it or joins it to
    text.
    """

    def __init__(self, package: str, name: str) -> None:
        self._package = package
        self._name = name

    def __call__(self, client: redis.Redis, keys: Sequence[str], **arguments: object) -> Any:
        """Run the script and return its reply. On a pipeline, queue the script and return None.

        An argument that is None is nil in Lua. Any: redis-py does not type a script's reply.
        """
        not_none = {name: value for name, value in arguments.items() if value is not None}
        count, parameters = len(keys), [*keys, json.dumps(not_none)]
        if isinstance(client, Pipeline):
            # Send the whole text. For a registered script, redis-py would send one more command
            # before each pipeline, to ask whether the server has the script.
            client.eval(self._text, count, *parameters)
            return None
        try:
            return client.evalsha(self._digest, count, *parameters)
        except NoScriptError:
            return client.eval(self._text, count, *parameters)

    @cached_property
    def _text(self) -> str:
        # Without comments: the server reads and hashes the text at each call on a pipeline. Lines
        # keep their numbers, for the server's error messages.
        lines = files(self._package).joinpath(self._name).read_text(encoding="utf-8").splitlines()
        return "\n".join("" if line.lstrip().startswith("--") else line for line in lines)

    @cached_property
    def _digest(self) -> str:
        # Redis names a script by the SHA-1 of its text.
        return hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()
