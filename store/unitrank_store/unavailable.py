"""Recognises a store that cannot serve now, from the error that its server or the network gave.

redis-py has a class for most of these errors. It has none for `BUSY`, and none for the errors of
commands inside a Lua script: these are recognised by their text.
"""

import re

import redis

_NO_ANSWER = "does not answer"
_CREDENTIALS = "rejects the user name or the password of its address"
_FORBIDDEN = "forbids {} by its ACL; `unitrank doctor` prints the ACL that Unitrank needs"
_CLUSTER = "is in cluster mode, which Unitrank does not support"
_REPLICA = "is a replica, which accepts no writes; its address must lead to the master"
_LOST_MASTER = "is a replica that has lost its master"
_LOADING = "still reads its data from disk"
_BUSY = "is busy with a script"
_OLD = "is older than Redis 6.2, the oldest supported version"

_BY_CLASS: dict[type[Exception], str] = {
    redis.exceptions.AuthenticationError: _CREDENTIALS,
    redis.exceptions.AuthorizationError: _CREDENTIALS,
    redis.exceptions.BusyLoadingError: _LOADING,
    redis.exceptions.ConnectionError: _NO_ANSWER,
    redis.exceptions.TimeoutError: _NO_ANSWER,
    redis.exceptions.ReadOnlyError: _REPLICA,
    redis.exceptions.MasterDownError: _LOST_MASTER,
    redis.exceptions.ClusterDownError: _CLUSTER,
    redis.exceptions.AskError: _CLUSTER,
    redis.exceptions.TryAgainError: _CLUSTER,
    redis.exceptions.ClusterCrossSlotError: _CLUSTER,
}
"""Class of an error → the reason. The class nearest to the error's class counts."""

_BY_CODE = {
    "READONLY": _REPLICA,
    "MASTERDOWN": _LOST_MASTER,
    "CLUSTERDOWN": _CLUSTER,
    "CROSSSLOT": _CLUSTER,
    "LOADING": _LOADING,
    "BUSY": _BUSY,
}
"""Code of an error that redis-py does not turn into a class → the reason."""

# The code is the first word, or follows redis-py's "caused error: " in a pipeline, or the server's
# "because of: " after EXEC. In a script, Redis 6 writes it behind the script's line.
_CODE = re.compile(r"(?:^|caused error: |because of: |@user_script: ?\d+: -)([A-Z]+) ")
# If MULTI is forbidden, redis-py raises the error of the EXEC that it sends with MULTI.
_FORBIDDEN_BY_ACL = re.compile(
    r"[Nn]o permissions to |EXEC without MULTI|ACL failure in script|The user executing the script can't"
)
# redis-py sends HELLO first, and Redis 5 does not know it.
_UNKNOWN_HELLO = re.compile(r"unknown command .?HELLO")
_COMMAND = re.compile(r"run the '([\w|]+)' command")


def unavailable_reason(error: BaseException) -> str | None:
    """Return why the store cannot serve now, or None if the error has another cause.

    The reason continues a sentence that begins with "the store". It has no address and no password.
    """
    if not isinstance(error, redis.exceptions.RedisError):
        return None
    text = str(error)
    if is_forbidden(error):
        return _FORBIDDEN.format(_forbidden(text))
    by_class = next((_BY_CLASS[kind] for kind in type(error).__mro__ if kind in _BY_CLASS), None)
    if by_class is not None or not isinstance(error, redis.exceptions.ResponseError):
        return by_class
    if _UNKNOWN_HELLO.search(text):
        return _OLD
    code = _CODE.search(text)
    return _BY_CODE.get(code[1]) if code else None


def store_error(error: Exception) -> str:
    """Return the error of the store as words that follow "the store"."""
    return unavailable_reason(error) or f"answers with an error: {error}"


def is_forbidden(error: BaseException) -> bool:
    """Whether the server's ACL forbids the command, also that of a script or EXEC."""
    if isinstance(error, redis.exceptions.NoPermissionError):
        return True
    return isinstance(error, redis.exceptions.ResponseError) and _FORBIDDEN_BY_ACL.search(str(error)) is not None


def _forbidden(text: str) -> str:
    """Return the words for the command, key or channel that a server's error names."""
    if "EXEC without MULTI" in text:
        return "the command MULTI"
    if command := _COMMAND.search(text):
        return f"the command {command[1].replace('|', ' ').upper()}"
    if "channel" in text:
        return "a channel that it needs"
    return "a command that it needs" if "command or subcommand" in text else "a key that it needs"
