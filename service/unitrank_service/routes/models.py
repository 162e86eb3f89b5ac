"""Models: upload, list, read and delete. A worker inspects each upload."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool

from unitrank_schemas.base import Page
from unitrank_schemas.models import INSPECTION, MODEL_FORMATS, Model
from unitrank_service.backend import backend_of, key_of
from unitrank_service.contents.model_formats import UploadOptions, check_bytes_of
from unitrank_service.contents.representation import model_body
from unitrank_service.http.parameters import After, Limit, NewName, Reference
from unitrank_service.http.proxies import linked
from unitrank_service.http.requests import Route
from unitrank_service.http.responses import answer, page
from unitrank_service.http.uploads import body_is_bytes, uploaded, uri_of_body
from unitrank_service.openapi.descriptions import BINARY, body, header, problems
from unitrank_store.queue.rq_queue import enqueue_inspection

router = APIRouter(prefix="/v1/models", tags=["models"], route_class=Route)


LOCATION = {"headers": {"Location": header("Path of the model.")}}
BODY = body(
    {
        "application/octet-stream": {"schema": BINARY},
        "application/json": {"schema": {"$ref": "#/components/schemas/Location"}},
    },
    f"The bytes of {', or of '.join(kind.bytes_are for kind in MODEL_FORMATS.values())}, or a JSON object with their URI.",
)


@router.put(
    "/{name}",
    status_code=202,
    response_model=Model,
    responses={
        200: {"model": Model, "description": "The model has this content already."},
        202: LOCATION,
        **problems(401, 403, 409, 413, 415, 422),
    },
    openapi_extra={"x-scope": "models", "requestBody": BODY},
)
async def put_model(
    request: Request,
    name: NewName,
    options: Annotated[UploadOptions, Depends()],
) -> Response:
    """Upload a model, or import it from a URI. A worker then inspects it.

    After the inspection its status is `ready` or `rejected`.
    """
    format = options.format()
    backend = backend_of(request)
    headers = {"Location": linked(request, f"/v1/models/{name}"), "Retry-After": "1"}
    if not body_is_bytes(request):
        uri = await uri_of_body(request, backend.sources, several=False)
        record = await run_in_threadpool(backend.models.begin_import, name, uri, format, INSPECTION)
        backend.importer.wake()
        return answer(request, model_body(record), 202, headers)
    async with uploaded(
        request,
        backend.settings.max_model_bytes,
        "model",
        blobs=backend.blobs,
        quota_left=backend.datasets.room,
        metrics=backend.metrics,
    ) as writer:
        await run_in_threadpool(check_bytes_of, format, writer.path)
    named = await run_in_threadpool(backend.models.begin, name, writer.digest, writer.size, INSPECTION, format)
    if named.inspect:
        await run_in_threadpool(enqueue_inspection, backend.connection, named.record, backend.settings, key_of(request).id)
    status = 200 if named.existed and not named.inspect else 202
    return answer(request, model_body(named.record), status, headers)


@router.get("", response_model=Page[Model], responses=problems(401, 403, 422))
def list_models(request: Request, limit: Limit = 50, after: After = None) -> Response:
    """List the models in order of their names, each with its newest content."""
    records, cursor = backend_of(request).models.list(limit, after)
    return page([model_body(record) for record in records], cursor)


@router.get("/{name}", response_model=Model, responses=problems(401, 403, 404))
def get_model(request: Request, name: Reference) -> Response:
    """Get a model with its inputs, outputs and layers."""
    return answer(request, model_body(backend_of(request).models.get(name)))


@router.delete("/{name}", status_code=204, responses=problems(401, 403, 404, 409), openapi_extra={"x-scope": "models"})
def delete_model(request: Request, name: Reference) -> Response:
    """Delete a model with all its contents (`name`), or one content (`name@sha256:…`).

    A content that an unfinished job needs is not deleted; the answer is then 409.
    """
    backend_of(request).models.delete(name)
    return Response(status_code=204)
