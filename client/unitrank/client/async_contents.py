"""The models and the datasets of a service, for asyncio."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Unpack

from unitrank.client.endpoints import Calls
from unitrank.client.http.transports import AsyncFlowRunner
from unitrank.client.requests import COLLECTIONS, C, PictureOptions, content_path, picture_query
from unitrank.client.uploads import put_dataset, put_model
from unitrank.dataset_files import Columns
from unitrank_schemas.datasets import Dataset, DatasetRow, DatasetStatistics
from unitrank_schemas.models import Model

if TYPE_CHECKING:
    import torch


class AsyncContents(Generic[C]):
    """As `unitrank.client.contents.Contents`."""

    _schema: type[C]

    def __init__(self, calls: Calls, runner: AsyncFlowRunner) -> None:
        self._calls = calls
        self._runner = runner

    async def wait(self, name: str, timeout: float | None = None) -> C:
        """As `Contents.wait`."""
        return await self._runner.run(self._calls.within(timeout).until_ready(content_path(self._schema, name), self._schema))

    async def get(self, name: str) -> C:
        """As `Contents.get`."""
        return await self._runner.run(self._calls.get(content_path(self._schema, name), self._schema))

    async def list(self, limit: int | None = None) -> list[C]:
        """As `Contents.list`."""
        return await self._runner.run(self._calls.list_records(COLLECTIONS[self._schema], self._schema, limit))

    async def delete(self, name: str) -> None:
        """As `Contents.delete`."""
        await self._runner.run(self._calls.delete(content_path(self._schema, name)))


class AsyncModels(AsyncContents[Model]):
    """As `unitrank.client.contents.Models`."""

    _schema = Model

    async def put(
        self,
        name: str,
        model: str | Path | torch.nn.Module | None = None,
        example_inputs: Any = None,
        *,
        uri: str | None = None,
        hub: str | Path | None = None,
        architecture: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        wait: bool = True,
        timeout: float | None = None,
        quiet: bool = False,
        **more: Any,
    ) -> Model:
        """As `Models.put`. A network is exported in a thread."""
        options = {"architecture": architecture, "arguments": arguments, **more}
        calls = self._calls.within(timeout, quiet)
        return await self._runner.run(
            put_model(calls, name, model, example_inputs, uri=uri, hub=hub, options=options, wait=wait, quiet=quiet)
        )


class AsyncDatasets(AsyncContents[Dataset]):
    """As `unitrank.client.contents.Datasets`."""

    _schema = Dataset

    async def put(
        self,
        name: str,
        data: Any = None,
        *,
        uri: str | None = None,
        columns: Columns | None = None,
        wait: bool = True,
        timeout: float | None = None,
        quiet: bool = False,
        **fields: Any,
    ) -> Dataset:
        """As `Datasets.put`."""
        return await self._runner.run(
            put_dataset(
                self._calls.within(timeout, quiet),
                name,
                data,
                uri=uri,
                columns=columns,
                fields=fields,
                wait=wait,
                quiet=quiet,
            )
        )

    async def row(self, name: str, row: int) -> DatasetRow:
        """As `Datasets.row`."""
        return await self._runner.run(self._calls.get(f"{content_path(Dataset, name)}/rows/{row}", DatasetRow))

    async def picture(self, name: str, row: int, **options: Unpack[PictureOptions]) -> bytes:
        """As `Datasets.picture`."""
        path = f"{content_path(Dataset, name)}/rows/{row}.png"
        return await self._runner.run(self._calls.picture(path, picture_query(options)))

    async def statistics(self, name: str) -> DatasetStatistics:
        """As `Datasets.statistics`."""
        return await self._runner.run(self._calls.get(f"{content_path(Dataset, name)}/statistics", DatasetStatistics))
