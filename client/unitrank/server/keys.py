"""Opens the API keys of a store, whether its server runs or not."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from unitrank.errors import NotPossible, Unreachable

if TYPE_CHECKING:
    from unitrank_store.access.api_keys import KeyStore
    from unitrank_store.settings import Settings


@contextmanager
def open_key_store(settings: "Settings") -> Iterator["KeyStore"]:
    """Yields the API keys. The embedded server is started for the block if it does not run.

    Raises Unreachable if the store does not answer, NotPossible if the server does not start.
    """
    import redis

    from unitrank_store.access.api_keys import KeyStore
    from unitrank_store.errors import EmbeddedServerFailed
    from unitrank_store.observability.logs import redacted
    from unitrank_store.redis.connection import connect
    from unitrank_store.redis.embedded import EmbeddedServer, socket_url
    from unitrank_store.unavailable import store_error

    url = settings.redis_url or socket_url(settings.state)
    with ExitStack() as stack:
        try:
            if settings.redis_url is None and not _answers(url):
                stack.enter_context(EmbeddedServer(settings.state, settings.maxmemory))
            connection = stack.enter_context(connect(url))
            connection.ping()
        except redis.exceptions.RedisError as error:
            reason = store_error(error)
            raise Unreachable(f"the store at {redacted(url)} {reason}: {redacted(str(error))}; check REDIS_URL") from error
        except EmbeddedServerFailed as error:
            raise NotPossible(str(error)) from error
        yield KeyStore(connection)


def _answers(url: str) -> bool:
    import redis

    from unitrank_store.redis.connection import connect

    try:
        with connect(url) as connection:
            return bool(connection.ping())
    except redis.exceptions.RedisError:
        return False
