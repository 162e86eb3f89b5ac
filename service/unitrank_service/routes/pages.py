"""The routes of the web pages: a job, models, datasets, and the form for a new job."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from unitrank_schemas.jobs import ENDED, MOST_LAYERS
from unitrank_service.backend import Backend, backend_of, key_of
from unitrank_service.contents.representation import dataset_body, model_body
from unitrank_service.errors import HttpProblem
from unitrank_service.http.parameters import Id, OneLayer, checked_id
from unitrank_service.http.requests import content_type
from unitrank_service.jobs import job_resource
from unitrank_service.jobs.drafts import draft
from unitrank_service.jobs.job_resource import cancelled
from unitrank_service.results.formats import CSV, JSON, NPZ, SAFETENSORS
from unitrank_service.results.result_response import result_response
from unitrank_service.results.stored_result import StoredResult
from unitrank_service.results.summary import Selection
from unitrank_service.web.job_form import form
from unitrank_service.web.job_form.again import form_again
from unitrank_service.web.job_form.choices import choices_for
from unitrank_service.web.job_form.form import Form
from unitrank_service.web.job_form.form_page import form_page, request_snippets
from unitrank_service.web.job_line import STATES, job_line, percent
from unitrank_service.web.job_lines import title_values
from unitrank_service.web.job_view import TABS, TabChoice, is_image, result_values
from unitrank_service.web.layer_graph import layer_graph
from unitrank_service.web.layers_view import layers_values
from unitrank_service.web.pages import PageRoute, page, to
from unitrank_service.web.result_examples import gallery, preview_of
from unitrank_store.jobs.record import JobRecord
from unitrank_store.queue.rq_queue import positions

router = APIRouter(include_in_schema=False, route_class=PageRoute)

WRITE = {"x-scope": "write"}
PAGE = 50
"""Rows of a list on one page."""
SMALL_BYTES = 256 * 1024
"""Bytes of a summary that this process parses itself, in some milliseconds."""
KINDS = {"json": JSON, "csv": CSV, "npz": NPZ, "safetensors": SAFETENSORS}
Text = Annotated[str, Query(max_length=300)]
LayerText = Annotated[str, Query(max_length=512)]


@router.get("/jobs/{id}")
async def show_job(
    request: Request,
    id: Id,
    tab: str = "",
    cluster: Text = "",
    ranking: Text = "",
    channel: str = "",
    overlay: bool = False,
    first: str = "",
    layer: LayerText = "",
) -> Response:
    """One job: its progress, or its result in tabs."""
    chosen = TabChoice(tab, cluster, ranking, layer)
    record, summary, chosen, parts = await run_in_threadpool(_record_and_summary, id, chosen, backend_of(request))
    values: dict[str, Any] = {"tab": "request", "tabs": {"request": TABS["request"]}, "layer": ""}
    if isinstance(summary, bytes):
        values = await _result_values(request, summary, record, chosen)
        values["parts"] = parts
        values |= {"overlay": overlay, "channel": int(channel) if re.fullmatch(r"\d{1,6}", channel) else None}
        values["first"] = int(first) if re.fullmatch(r"\d{1,9}", first) else 0
    return await run_in_threadpool(_job_page, request, record, summary if isinstance(summary, str) else None, values)


def _record_and_summary(
    id: str, chosen: TabChoice, backend: Backend
) -> tuple[JobRecord, bytes | str | None, TabChoice, Sequence[str]]:
    """The record, and its result as JSON, the reason why the result is missing, or None.

    The third is the choice with a layer that exists, and the last the layers of a layered result.
    """
    record = backend.jobs.get(id)
    if record.status != "succeeded":
        return record, None, chosen, ()
    try:
        stored = StoredResult(record, backend.results, backend.jobs.result_ttl)
        chosen = replace(chosen, layer=_layer(chosen.layer, stored.parts))
        if chosen.layer and chosen.tab in TABS:
            stored = stored.of_layer(chosen.layer)
        return record, b"".join(stored.summary_bytes()), chosen, stored.parts
    except HttpProblem as problem:
        return record, problem.detail, chosen, ()


def _layer(name: str, parts: Sequence[str]) -> str:
    """The named layer, or the first one; "" for a result of one layer."""
    return name if name in parts else next(iter(parts), "")


async def _result_values(request: Request, summary: bytes, record: JobRecord, chosen: TabChoice) -> dict[str, Any]:
    """The values of a tab. A large summary is parsed in the process that draws.

    In this process it would hold Python's lock, and no other request would be answered.
    """
    backend = backend_of(request)
    names = await run_in_threadpool(backend.class_names.of_job, record, backend.datasets)
    of_layers = bool(chosen.layer) and chosen.tab not in TABS
    function: Callable[..., dict[str, Any]] = layers_values if of_layers else result_values
    arguments = (summary, chosen, names) if of_layers else (summary, record, chosen, names)
    if len(summary) <= SMALL_BYTES:
        return await run_in_threadpool(function, *arguments)
    return await backend.plots.draw(key_of(request).id, function, *arguments)


def _job_page(request: Request, record: JobRecord, why_missing: str | None, values: dict[str, Any]) -> Response:
    backend = backend_of(request)
    if values["tab"] == "examples":
        values |= gallery(record, values, values["first"], values["names"], backend)
    if values["tab"] == "heatmaps":
        values["image"] = is_image(values["dataset_digest"], record, backend.datasets)
    return page(
        request,
        "job.html",
        job=job_line(record),
        record=record,
        **title_values(record),
        why_missing=why_missing,
        percent=percent(record.progress),
        position=positions(backend.connection, [record]).get(record.id) if record.status == "queued" else None,
        snippets=request_snippets(request, record.request) if values["tab"] == "request" else None,
        **values,
    )


@router.get("/jobs/{id}/download/{kind}")
async def download(request: Request, id: Id, kind: str, layer: OneLayer = None) -> Response:
    """The result as a file. The URL names the format, because a link cannot send `Accept`."""
    if kind not in KINDS:
        raise HttpProblem("not_found", f"download {kind[:100]!r} does not exist; use {', '.join(KINDS)}")
    backend = backend_of(request)
    answer = await result_response(
        request,
        id,
        KINDS[kind],
        Selection(layer=layer),
        jobs=backend.jobs,
        results=backend.results,
        threads=backend.result_threads,
    )
    answer.headers["Content-Disposition"] = f'attachment; filename="{id}.{kind}"'
    answer.headers["X-Content-Type-Options"] = "nosniff"
    return answer


@router.post("/jobs/{id}/cancel", openapi_extra=WRITE)
def cancel(request: Request, id: Id) -> Response:
    """Cancel a job. A job that has ended stays as it is."""
    backend = backend_of(request)
    cancelled(id, jobs=backend.jobs, connection=backend.connection)
    return to(request, f"/jobs/{id}")


@router.post("/jobs/{id}/delete", openapi_extra=WRITE)
def delete(request: Request, id: Id) -> Response:
    """Delete a job that has ended, and its result."""
    backend = backend_of(request)
    record = backend.jobs.get(id)
    if record.status not in ENDED:
        raise HttpProblem("job_not_ended", f"the job {id} is {STATES[record.status]}; cancel it first")
    job_resource.delete(
        id, jobs=backend.jobs, earlier_jobs=backend.earlier_jobs, results=backend.results, datasets=backend.datasets
    )
    return to(request, "/")


@router.get("/models")
def show_models(request: Request, after: Text = "") -> Response:
    """The list of models in order of their names."""
    backend = backend_of(request)
    records, cursor = backend.models.list(PAGE, after or None)
    return page(request, "models.html", models=records, more=cursor, first=not after, most=backend.settings.max_model_bytes)


@router.get("/models/{name}")
def show_model(request: Request, name: str) -> Response:
    """One model with its layers."""
    record = backend_of(request).models.get(name)
    body = model_body(record)
    graph = layer_graph(body["layers"] or [])
    return page(request, "model.html", model=body, name=name, created_at=record.created_at, graph=graph)


@router.get("/datasets")
def show_datasets(request: Request, after: Text = "") -> Response:
    """The list of datasets in order of their names."""
    backend = backend_of(request)
    records, cursor = backend.datasets.list(PAGE, after or None)
    return page(request, "datasets.html", datasets=records, more=cursor, first=not after, most=backend.settings.max_dataset_bytes)


@router.get("/datasets/{name}")
def show_dataset(request: Request, name: str) -> Response:
    """One dataset with its fields."""
    backend = backend_of(request)
    record = backend.datasets.get(name)
    preview = preview_of(record, name, backend) if record.status == "ready" else None
    return page(request, "dataset.html", dataset=dataset_body(record), name=name, created_at=record.created_at, preview=preview)


@router.get("/new", openapi_extra=WRITE)
def show_form(
    request: Request,
    model: Text = "",
    dataset: Text = "",
    layer: Annotated[list[LayerText] | None, Query(max_length=MOST_LAYERS)] = None,
    job: Text = "",
) -> Response:
    """The form for a new job, with the values of the link, or of an earlier job."""
    if not job:
        first, *others = layer or [""]
        layers = {"layer": [first], "more_layers": ["\n".join(others)]}
        return _form(request, Form({"model": [model], "dataset": [dataset], **layers}, fresh=True))
    backend, earlier = backend_of(request), backend_of(request).jobs.get(checked_id(job)).request
    dataset = earlier["dataset"] if isinstance(earlier["dataset"], str) else ""
    first = earlier["layer"][0] if isinstance(earlier["layer"], list) else earlier["layer"]
    choices = choices_for(earlier["model"], dataset, first, models=backend.models, datasets=backend.datasets)
    earlier = earlier | {"dataset": dataset or choices.dataset}
    return _form(request, form_again(earlier, choices, lambda body: draft(body, 0, backend.drafts).request))


@router.post("/new", openapi_extra=WRITE)
async def send_form(request: Request) -> Response:
    """The estimate for the values of the form, or with `action=send` the new job."""
    sent = form.read(await request.body(), content_type(request))
    return await run_in_threadpool(_form, request, sent)


def _form(request: Request, sent: Form) -> Response:
    backend = backend_of(request)
    return form_page(
        request, sent, backend.submissions, backend.class_names, metrics=backend.metrics, dispatcher=backend.dispatcher
    )
