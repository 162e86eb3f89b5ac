"""The HTTP client: `Client`, and `AsyncClient` with the same methods as coroutines."""

from unitrank.client.async_client import AsyncClient, AsyncJobHandle
from unitrank.client.sync import DEFAULT_URL, Client, Contents, Datasets, JobHandle, Jobs, Models

__all__ = ["DEFAULT_URL", "AsyncClient", "AsyncJobHandle", "Client", "Contents", "Datasets", "JobHandle", "Jobs", "Models"]
