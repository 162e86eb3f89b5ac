"""The models and the datasets of a service."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Unpack

from unitrank.client.endpoints import Calls
from unitrank.client.http.transports import FlowRunner
from unitrank.client.requests import COLLECTIONS, C, PictureOptions, content_path, picture_query
from unitrank.client.uploads import put_dataset, put_model
from unitrank.dataset_files import Columns
from unitrank_schemas.datasets import Dataset, DatasetRow, DatasetStatistics
from unitrank_schemas.models import Model

if TYPE_CHECKING:
    import torch


class Contents(Generic[C]):
    """The calls that models and datasets share."""

    _schema: type[C]

    def __init__(self, calls: Calls, runner: FlowRunner) -> None:
        self._calls = calls
        self._runner = runner

    def wait(self, name: str, timeout: float | None = None) -> C:
        """Waits until the content is ready. Raises Rejected, and Timeout after `timeout` s."""
        return self._runner.run(self._calls.within(timeout).until_ready(content_path(self._schema, name), self._schema))

    def get(self, name: str) -> C:
        """The current record; `name` may include a digest. Raises NotFound."""
        return self._runner.run(self._calls.get(content_path(self._schema, name), self._schema))

    def list(self, limit: int | None = None) -> list[C]:
        """The records in the order of their names; at most `limit`, or all for None."""
        return self._runner.run(self._calls.list_records(COLLECTIONS[self._schema], self._schema, limit))

    def delete(self, name: str) -> None:
        """Deletes the content. Raises NotFound, and Conflict while a job needs it."""
        self._runner.run(self._calls.delete(content_path(self._schema, name)))


class Models(Contents[Model]):
    """The models of a service."""

    _schema = Model

    def put(
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
        """Uploads a model. Returns it when it is ready, with the layers that a job may name.

        Args:
            name: name of the model in the service.
            model: a torch.nn.Module, which is exported; the path of an archive; the path of a
                safetensors file with the weights of `architecture`; or a PyTorch model of MLflow,
                such as `models:/net/3`, which MLflow loads on this machine and which is exported.
            example_inputs: example inputs of a torch.nn.Module, as `unitrank.export` takes them;
                for a model of MLflow the default is the example that was logged with it.
            uri: an address that the service reads the model from, instead of `model`.
            hub: a Transformers model, instead of `model`: a folder that `save_pretrained` wrote, or
                an id on the Hugging Face hub, which is downloaded to this machine and exported.
            architecture: name of an architecture that the operator of the service installed.
            arguments: arguments of the architecture; for `hub`: `shape`, `position` and `inputs` of
                `unitrank.export_folder`.
            wait: wait until the model was inspected; False: return after the upload.
            timeout: seconds for the upload and the inspection together; None: no limit.
            quiet: display no progress.
            more: options of other model formats.

        Raises Rejected if the service does not accept the model; ExportRefused if the network
        cannot be exported; NotPossible if the arguments are wrong; and Timeout.
        """
        options = {"architecture": architecture, "arguments": arguments, **more}
        calls = self._calls.within(timeout, quiet)
        return self._runner.run(
            put_model(calls, name, model, example_inputs, uri=uri, hub=hub, options=options, wait=wait, quiet=quiet)
        )


class Datasets(Contents[Dataset]):
    """The datasets of a service."""

    _schema = Dataset

    def put(
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
        """Uploads a dataset. Returns it when it is ready.

        Args:
            name: name of the dataset in the service.
            data: the path of an .npz, safetensors, .npy, CSV or Parquet file, or of a folder with
                one sub-folder of images for each class; a mapping of fields; an array, which
                becomes `x`; a frame of pandas or Polars; or a dataset or DataLoader of PyTorch or a
                dataset of Hugging Face. The parts of an item that is a tuple become the fields `x`,
                `y`, `field2`, …
            uri: an address that the service reads the dataset from, instead of `data`.
            columns: field → the column of `data` that it is, or the columns that it is stacked of
                along axis 1: `columns={"x": ["age", "height"], "y": "label"}`. None: each column is
                a field.
            wait: wait until the dataset is ready; False: return after the upload.
            timeout: seconds for the upload and the import together; None: no limit.
            quiet: display no progress.
            fields: arrays, tensors or lists by name, such as `x=…, y=…`, one row per example.

        Raises Rejected if the service does not accept the data, NotPossible if the data are not
        a dataset, and Timeout.
        """
        return self._runner.run(
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

    def row(self, name: str, row: int) -> DatasetRow:
        """The values of one row, from 0. Raises NotFound for a row that does not exist."""
        return self._runner.run(self._calls.get(f"{content_path(Dataset, name)}/rows/{row}", DatasetRow))

    def picture(self, name: str, row: int, **options: Unpack[PictureOptions]) -> bytes:
        """A row's image as the bytes of a PNG file.

        Args:
            name: name of the dataset.
            row: number of the row, from 0.
            field: the field with the image; None: the first field with images.
            channels: the axis of the colours, `first`, `last` or `none`, where a shape could mean
                more than one.
            scale, mean, std: the preprocessing that the dataset's values have already; the picture
                shows the values before it. Each is a number, or a list with one for each channel.

        Raises InvalidRequest where the row is not an image.
        """
        return self._runner.run(self._calls.picture(f"{content_path(Dataset, name)}/rows/{row}.png", picture_query(options)))

    def statistics(self, name: str) -> DatasetStatistics:
        """The class balance, the range and a histogram of each field."""
        return self._runner.run(self._calls.get(f"{content_path(Dataset, name)}/statistics", DatasetStatistics))
