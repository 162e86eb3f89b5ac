"""Authentication: API keys with scopes, sessions of the page, and allowed hosts.

A service without stored keys answers every request. It then listens on a loopback address only,
unless the operator starts the service with `--insecure`.
"""

import ipaddress
from dataclasses import dataclass

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from unitrank_schemas.loopback import is_loopback
from unitrank_service.backend import backend_of
from unitrank_service.errors import HttpProblem
from unitrank_service.http.csrf import check_same_site, is_of_named_origin
from unitrank_store.access.api_keys import ANYONE, Key, KeyStore
from unitrank_store.access.sessions import SessionStore
from unitrank_store.settings import Settings

PUBLIC = "public"
"""The scope of routes without authentication, such as /healthz."""

COOKIE = "unitrank_session"
"""The cookie of a session on the page. The session has the scopes of the key that signed in."""

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""Names of this machine. No page of another site is served under them."""

WRONG_KEY = "the key is wrong or was revoked; the operator makes keys with `unitrank keys create`"
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="unitrank"'}


class UnprotectedAddress(Exception):
    """The service would listen on a public address while no key is stored."""


async def admit(request: Request, scope: str) -> None:
    """Check the request's key, and store it as `request.state.key`.

    Raises HttpProblem if the key is missing or wrong, or lacks the scope.
    Without stored keys every request is admitted, see `is_open`.
    """
    if scope != PUBLIC:
        backend = backend_of(request)
        request.state.key = await run_in_threadpool(_admit, request, scope, backend.settings, backend.keys, backend.sessions)


def check_exposure(settings: Settings, keys_stored: bool) -> None:
    """Raises UnprotectedAddress for a public host without stored keys and without `--insecure`."""
    if not is_open(settings) and not keys_stored:
        raise UnprotectedAddress(
            f"refusing to listen on {settings.host} without keys, because anyone could run jobs there. "
            "Create a key (`unitrank keys create NAME`), listen on 127.0.0.1, or start with --insecure"
        )


def wrong_key() -> HttpProblem:
    """Return the problem of a request whose key is wrong or was revoked."""
    return HttpProblem("unauthorized", WRONG_KEY, _CHALLENGE)


def is_open(settings: Settings) -> bool:
    """Whether requests without a key may do everything while no key is stored."""
    return is_loopback(settings.host) or settings.insecure


@dataclass(frozen=True)
class AllowedHosts:
    """The hosts that a request may name in its header `Host`.

    `names`: host names, in lower case. `addresses`: whether every IP address is allowed too.
    Another site can let its name resolve to this machine, but its name cannot be an IP address.
    """

    names: frozenset[str]
    addresses: bool = False

    def admit(self, host: str) -> bool:
        """Whether `host` is allowed. `host`: value of the header `Host`, with or without a port."""
        name, _, port = (host, "", "") if ":" not in host or host.endswith("]") else host.rpartition(":")
        is_named = name.lower() in self.names or (self.addresses and _is_address(name))
        return is_named and not port.strip("0123456789")

    def check(self, host: str) -> None:
        """Raises HttpProblem if `host` is not allowed.

        DNS rebinding: another site lets its name resolve to this machine. `host` is that name.
        """
        if not self.admit(host):
            allowed = ", ".join(sorted(self.names))
            detail = f"host {host[:100]!r} is not allowed; allowed: {allowed}; the operator adds hosts with UNITRANK_HOSTS"
            raise HttpProblem("host_not_allowed", detail)


def allowed_hosts(settings: Settings) -> AllowedHosts | None:
    """Return the hosts that requests may name, or None if every host is allowed.

    On a public address every request needs a key, and a page of another site does not have one.
    """
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
        # A public address requires a key even after the last key was revoked.
        if is_open(settings) and not keys.any():
            return ANYONE
        if authorization is not None:
            raise wrong_key()
        raise HttpProblem("unauthorized", "the request has no key; send `Authorization: Bearer <key>`", _CHALLENGE)
    if not key.may(scope):
        challenge = {"WWW-Authenticate": f'{_CHALLENGE["WWW-Authenticate"]}, error="insufficient_scope", scope="{scope}"'}
        scopes = ", ".join(sorted(key.scopes))
        raise HttpProblem("forbidden", f"the key {key.name!r} lacks the scope {scope!r}; it has: {scopes}", challenge)
    return key


def _of_header(authorization: str, keys: KeyStore) -> Key | None:
    kind, _, secret = authorization.partition(" ")
    return keys.verify(secret.strip()) if kind.lower() == "bearer" else None


def _signed_in(request: Request, sessions: SessionStore) -> Key | None:
    """The key of the session that the cookie names, or None.

    Raises HttpProblem for a change that a page of another site requests.
    """
    if is_of_named_origin(request):
        # The page needs a key: it must not act for the person who is signed in.
        return None
    cookie = request.cookies.get(COOKIE)
    check_same_site(request, by_cookie=cookie is not None)
    return sessions.key(cookie) if cookie is not None else None
