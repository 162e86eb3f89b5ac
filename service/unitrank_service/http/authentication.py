"""Who may do what: keys with scopes; without keys only this machine, unless the operator insists."""

import ipaddress
from dataclasses import dataclass

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from unitrank_schemas.loopback import is_loopback
from unitrank_service.backend import backend_of
from unitrank_service.errors import HttpProblem
from unitrank_service.http.csrf import refuse_foreign
from unitrank_store.access.api_keys import ANYONE, Key, KeyStore
from unitrank_store.access.sessions import SessionStore
from unitrank_store.settings import Settings

PUBLIC = "public"
"""The scope of what anyone may ask: health."""

COOKIE = "unitrank_session"
"""Of whoever signed in on the page: it opens what the key opens."""

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""Names of this machine that no other site can have."""

WRONG_KEY = "the key is wrong or was revoked"
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="unitrank"'}


class UnprotectedAddress(Exception):
    """The service would listen on a public address without a key to ask for."""


async def admit(request: Request, scope: str) -> None:
    """Notes whose request it is. Raises HttpProblem unless its key has the scope; this machine needs none while none is stored."""
    if scope != PUBLIC:
        backend = backend_of(request)
        request.state.key = await run_in_threadpool(_admit, request, scope, backend.settings, backend.keys, backend.sessions)


def check_exposure(settings: Settings, keys_stored: bool) -> None:
    """Raises UnprotectedAddress where the host is not this machine's own, and neither keys nor the operator's word protect it."""
    if not is_open(settings) and not keys_stored:
        raise UnprotectedAddress(
            f"refusing to listen on {settings.host} without keys: anyone there could run jobs. "
            "Create a key (`unitrank keys create`), listen on 127.0.0.1, or insist with --insecure"
        )


def is_open(settings: Settings) -> bool:
    """Whether whoever comes may do anything as long as no key is stored."""
    return is_loopback(settings.host) or settings.insecure


@dataclass(frozen=True)
class AllowedHosts:
    """Names that a request may be sent to. `addresses`: and any address, which no page of another site can make its own name."""

    names: frozenset[str]
    addresses: bool = False

    def admit(self, host: str) -> bool:
        """Of the header `Host`, with or without a port."""
        name = (host if host.endswith("]") else host.rpartition(":")[0] or host).lower()
        return name in self.names or (self.addresses and _is_address(name))


def allowed_hosts(settings: Settings) -> AllowedHosts | None:
    """None: any, because a key is asked for, which a page of another site does not have."""
    named = frozenset(settings.hosts)
    if is_loopback(settings.host):
        host = f"[{settings.host}]" if ":" in settings.host.strip("[]") else settings.host
        return AllowedHosts(LOOPBACK | {host} | named)
    return AllowedHosts(LOOPBACK | named, addresses=True) if settings.insecure or named else None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _admit(request: Request, scope: str, settings: Settings, keys: KeyStore, sessions: SessionStore) -> Key:
    authorization = request.headers.get("authorization")
    key = _signed_in(request, sessions) if authorization is None else _of_header(authorization, keys)
    if key is None:
        # A public address stays shut when its last key is revoked, or its store has come back empty.
        if is_open(settings) and not keys.any():
            return ANYONE
        wrong = "this service needs a key: `Authorization: Bearer <key>`" if authorization is None else WRONG_KEY
        raise HttpProblem("unauthorized", wrong, _CHALLENGE)
    if not key.may(scope):
        challenge = {"WWW-Authenticate": f'{_CHALLENGE["WWW-Authenticate"]}, error="insufficient_scope", scope="{scope}"'}
        raise HttpProblem("forbidden", f"the key {key.name!r} lacks the scope {scope!r}", challenge)
    return key


def _of_header(authorization: str, keys: KeyStore) -> Key | None:
    kind, _, secret = authorization.partition(" ")
    return keys.verify(secret.strip()) if kind.lower() == "bearer" else None


def _signed_in(request: Request, sessions: SessionStore) -> Key | None:
    """The key of the session that the page's cookie names. Raises HttpProblem for what a page of another site asks for."""
    word = request.cookies.get(COOKIE)
    refuse_foreign(request, by_cookie=word is not None)
    return sessions.key(word) if word is not None else None
