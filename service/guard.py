"""Who may do what: keys with scopes; without keys only this machine, unless the operator insists."""

import ipaddress

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from service.backend import Backend, backend_of
from service.errors import Refused
from store.keys import ANYONE, Key
from store.settings import Settings

PUBLIC = "public"
"""The scope of what anyone may ask: health."""

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="unitrank"'}


class Exposed(Exception):
    """The service would listen on a public address without a key to ask for."""


async def admit(request: Request, scope: str) -> None:
    """Notes whose request it is. Raises Refused unless its key has the scope; without any stored key everything is open."""
    if scope != PUBLIC:
        request.state.key = await run_in_threadpool(_admit, backend_of(request), request.headers.get("authorization"), scope)


def check_exposure(settings: Settings, keys_stored: bool) -> None:
    """Raises Exposed where the host is not this machine's own, and neither keys nor the operator's word protect it."""
    if not is_loopback(settings.host) and not keys_stored and not settings.insecure:
        raise Exposed(
            f"refusing to listen on {settings.host} without keys: anyone there could run jobs. "
            "Create a key (`unitrank keys create`), listen on 127.0.0.1, or insist with --insecure"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def allowed_hosts(settings: Settings) -> frozenset[str] | None:
    """Names that a request may be sent to; None: any, because the address is public anyway."""
    if not is_loopback(settings.host):
        return None
    own = f"[{settings.host}]" if ":" in settings.host.strip("[]") else settings.host
    return frozenset({"localhost", "127.0.0.1", "[::1]", own})


def _admit(backend: Backend, authorization: str | None, scope: str) -> Key:
    if authorization is None:
        if backend.keys.any():
            raise Refused("unauthorized", "this service needs a key: `Authorization: Bearer <key>`", _CHALLENGE)
        return ANYONE
    kind, _, secret = authorization.partition(" ")
    key = backend.keys.verify(secret.strip()) if kind.lower() == "bearer" else None
    if key is None:
        if backend.keys.any():
            raise Refused("unauthorized", "the key is wrong or was revoked", _CHALLENGE)
        return ANYONE
    if not key.may(scope):
        challenge = {"WWW-Authenticate": f'{_CHALLENGE["WWW-Authenticate"]}, error="insufficient_scope", scope="{scope}"'}
        raise Refused("forbidden", f"the key {key.name!r} lacks the scope {scope!r}", challenge)
    return key
