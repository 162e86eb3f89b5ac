"""Datasets: upload, list, read and delete. The header of an upload is checked at once."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from unitrank_schemas.base import Page
from unitrank_schemas.datasets import Dataset, DatasetRow, DatasetStatistics
from unitrank_service.backend import backend_of
from unitrank_service.contents.images import Undo, picture, png
from unitrank_service.contents.representation import dataset_body, read_header
from unitrank_service.contents.rows import opened, row_body, row_image
from unitrank_service.http.parameters import After, Limit, NewName, Reference
from unitrank_service.http.proxies import linked
from unitrank_service.http.requests import Route
from unitrank_service.http.responses import answer, page
from unitrank_service.http.uploads import body_is_bytes, uploaded, uri_of_body
from unitrank_service.openapi.descriptions import BINARY, body, header, problems

router = APIRouter(prefix="/v1/datasets", tags=["datasets"], route_class=Route)


LOCATION = {"headers": {"Location": header("Path of the dataset.")}}
BODY = body(
    {
        "application/octet-stream": {"schema": BINARY},
        "application/json": {"schema": {"$ref": "#/components/schemas/Location"}},
    },
    "The bytes of an `.npz` or a safetensors file, or a JSON object with their URI.",
)


@router.put(
    "/{name}",
    status_code=201,
    response_model=Dataset,
    responses={
        200: {"model": Dataset, "description": "The dataset has this content already."},
        201: LOCATION,
        202: {"model": Dataset, "description": "The service imports the dataset from the URI.", **LOCATION},
        **problems(401, 403, 409, 413, 415, 422),
    },
    openapi_extra={"x-scope": "write", "requestBody": BODY},
)
async def put_dataset(request: Request, name: NewName) -> Response:
    """Upload a dataset, or import it from a URI.

    The URI names one file, or is a glob of several files. The rows of the files are joined in the
    order of their names.
    """
    backend = backend_of(request)
    location = {"Location": linked(request, f"/v1/datasets/{name}")}
    if not body_is_bytes(request):
        uri = await uri_of_body(request, backend.sources, several=True)
        record = await run_in_threadpool(backend.datasets.begin, name, uri)
        backend.importer.wake()
        return answer(request, dataset_body(record), 202, location | {"Retry-After": "1"})
    limit = backend.settings.max_dataset_bytes
    async with uploaded(
        request, limit, "dataset", blobs=backend.blobs, quota_left=backend.datasets.room, metrics=backend.metrics
    ) as writer:
        fields, examples, form = await run_in_threadpool(read_header, writer.path, limit)
    record, new = await run_in_threadpool(backend.datasets.put, name, writer.digest, writer.size, fields, examples, form)
    return answer(request, dataset_body(record), 201 if new else 200, location)


@router.get("", response_model=Page[Dataset], responses=problems(401, 403, 422))
def list_datasets(request: Request, limit: Limit = 50, after: After = None) -> Response:
    """List the datasets in order of their names, each with its newest content."""
    records, cursor = backend_of(request).datasets.list(limit, after)
    return page([dataset_body(record) for record in records], cursor)


@router.get("/{name}", response_model=Dataset, responses=problems(401, 403, 404))
def get_dataset(request: Request, name: Reference) -> Response:
    """Get a dataset with its fields."""
    return answer(request, dataset_body(backend_of(request).datasets.get(name)))


Row = Annotated[int, Path(ge=0, le=2**53, description="Number of the row, from 0.")]
Numbers = Annotated[list[float] | None, Query(max_length=3)]
PICTURE = {"Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff"}


@router.get(
    "/{name}/rows/{row}.png",
    response_class=Response,
    responses={
        200: {"description": "The picture.", "content": {"image/png": {"schema": BINARY}}},
        **problems(401, 403, 404, 409, 422),
    },
)
def get_row_picture(
    request: Request,
    name: Reference,
    row: Row,
    field: Annotated[str | None, Query(description="The field with the image. Default: the first field with images.")] = None,
    channels: Annotated[
        Literal["first", "last", "none"] | None,
        Query(description="The axis of the colours, where a shape could mean both, such as [3, 32, 3]."),
    ] = None,
    scale: Annotated[Numbers, Query(description="The `scale` with which the dataset was made, which is undone.")] = None,
    mean: Annotated[Numbers, Query(description="The `mean` with which the dataset was made, which is undone.")] = None,
    std: Annotated[Numbers, Query(description="The `std` with which the dataset was made, which is undone.")] = None,
) -> Response:
    """Get the image of a row as PNG, as the dataset has it: before the preprocessing of any job.

    Black and white are 0 and 255, 0 and 1 for numbers in that range, or else the smallest and the
    largest value of the row. If the dataset itself holds (x · scale − mean) / std, send these
    numbers: the picture shows x. Each is one number, or one for each channel by repeating it.
    """
    backend = backend_of(request)
    undo = Undo(scale or (1.0,), mean or (0.0,), std or (1.0,))
    with opened(backend.datasets.get(name), backend.blobs) as table:
        image = row_image(row, table, field, channels)
    return Response(png(picture(image.values, image.channels, undo)), headers=PICTURE, media_type="image/png")


@router.get("/{name}/rows/{row}", response_model=DatasetRow, responses=problems(401, 403, 404, 409, 422))
def get_row(request: Request, name: Reference, row: Row) -> Response:
    """Get the values of one row, as the dataset has them."""
    backend = backend_of(request)
    record = backend.datasets.get(name)
    with opened(record, backend.blobs) as table:
        return answer(request, row_body(record, row, table))


@router.get("/{name}/statistics", response_model=DatasetStatistics, responses=problems(401, 403, 404, 409, 422))
def get_statistics(request: Request, name: Reference) -> Response:
    """Get the statistics of all fields: class balance, range, mean and a histogram.

    A large field is read in rows that are spread evenly over the dataset; `rows` says how many.
    """
    backend = backend_of(request)
    return answer(request, backend.field_statistics.of(backend.datasets.get(name)))


@router.delete("/{name}", status_code=204, responses=problems(401, 403, 404, 409), openapi_extra={"x-scope": "write"})
def delete_dataset(request: Request, name: Reference) -> Response:
    """Delete a dataset with all its contents (`name`), or one content (`name@sha256:…`).

    A content that an unfinished job needs is not deleted; the answer is then 409.
    """
    backend_of(request).datasets.delete(name)
    return Response(status_code=204)
