"""The HTTP client: `Client`, and `AsyncClient` with the same methods as coroutines."""

from unitrank.client.async_client import AsyncClient
from unitrank.client.async_jobs import AsyncJobHandle
from unitrank.client.contents import Contents, Datasets, Models
from unitrank.client.jobs import JobHandle, Jobs
from unitrank.client.sync import DEFAULT_URL, Client

__all__ = ["DEFAULT_URL", "AsyncClient", "AsyncJobHandle", "Client", "Contents", "Datasets", "JobHandle", "Jobs", "Models"]
