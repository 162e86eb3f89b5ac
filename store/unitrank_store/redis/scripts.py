"""Lua scripts: each lies beside the module that runs it, and takes its keys and one JSON object."""

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
    """The script `name` of the folder that `package` names.

    In Lua the keys are KEYS, and `cjson.decode(ARGV[1])` holds the arguments by name. cjson reads every number as a double, and
    an empty list as an empty table: numbers that the script stores or joins to text are handed in as strings.
    """

    def __init__(self, package: str, name: str) -> None:
        self._package = package
        self._name = name

    def __call__(self, client: redis.Redis, keys: Sequence[str], **arguments: object) -> Any:
        """The script's reply, or None from a pipeline, which runs the script later. An argument that is None is nil in Lua.

        Any: redis-py types no script's reply.
        """
        present = {name: value for name, value in arguments.items() if value is not None}
        count, words = len(keys), [*keys, json.dumps(present)]
        if isinstance(client, Pipeline):
            # As text: redis-py asks before each pipeline whether the server still knows a registered script.
            client.eval(self._text, count, *words)
            return None
        try:
            return client.evalsha(self._digest, count, *words)
        except NoScriptError:
            return client.eval(self._text, count, *words)

    @cached_property
    def _text(self) -> str:
        return files(self._package).joinpath(self._name).read_text(encoding="utf-8")

    @cached_property
    def _digest(self) -> str:
        # The name that the protocol gives a script.
        return hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()
