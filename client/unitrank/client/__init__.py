"""The HTTP client: `Client`, and `AsyncClient` with the same methods as coroutines."""
