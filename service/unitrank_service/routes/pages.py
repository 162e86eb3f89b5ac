"""The pages: jobs, models, datasets, and the form for a job."""

import re
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from unitrank_schemas.checks import Rejected
from unitrank_schemas.jobs import ENDED, JobStatus
from unitrank_schemas.problems import Invalid
from unitrank_service.backend import Backend, backend_of, key_of
from unitrank_service.contents.representation import dataset_body, model_body
from unitrank_service.errors import HttpProblem, InvalidBody
from unitrank_service.http.parameters import Id
from unitrank_service.http.requests import content_type
from unitrank_service.jobs.drafts import Draft, draft
from unitrank_service.jobs.job_resource import cancelled, deleted
from unitrank_service.jobs.submission import Asked, accept
from unitrank_service.results.formats import CSV, JSON, NPZ, SAFETENSORS
from unitrank_service.results.result_response import rendered
from unitrank_service.results.verdict_text import alike
from unitrank_service.web import form, snippets
from unitrank_service.web.form import Form
from unitrank_service.web.form_choices import choices_for, name_of
from unitrank_service.web.job_view import STATES, TABS, choice, job_line, part, percent, result_of
from unitrank_service.web.pages import PageRoute, page, to
from unitrank_store.queue.rq_queue import positions

router = APIRouter(include_in_schema=False, route_class=PageRoute)

WRITE = {"x-scope": "write"}
PAGE = 50
KINDS = {"json": JSON, "csv": CSV, "npz": NPZ, "safetensors": SAFETENSORS}
Text = Annotated[str, Query(max_length=300)]


@router.get("/")
def show_jobs(request: Request, status: str = "", model: Text = "", after: Text = "") -> Response:
    """Jobs, newest first."""
    backend = backend_of(request)
    wanted: Any = status if status in get_args(JobStatus) else None
    records, more = backend.jobs.list(PAGE, after or None, wanted, model or None)
    models, _ = backend.models.list(200)
    lines = [job_line(record) for record in records]
    return page(
        request,
        "jobs.html",
        jobs=lines,
        live=any(not line["ended"] for line in lines),
        more=more,
        status=wanted or "",
        model=model,
        states=STATES,
        models=[record.name for record in models],
        first=not after,
    )


@router.get("/jobs/{id}")
def show_job(
    request: Request,
    id: Id,
    tab: str = "",
    cluster: Text = "",
    ranking: Text = "",
    channel: str = "",
    overlay: bool = False,
) -> Response:
    """One job: how far it is, or what came out."""
    backend = backend_of(request)
    record = backend.jobs.get(id)
    found = result_of(backend, record) if record.status == "succeeded" else None
    told: dict[str, Any] = {"tab": "request", "tabs": {"request": TABS["request"]}}
    if found is not None and not isinstance(found, str):
        tab = tab if tab in TABS else "verdict"
        chosen = choice(found, cluster, ranking)
        told = {"tab": tab, "tabs": TABS, "result": found, "warned": len(alike(found.warnings)), "overlay": overlay, **chosen}
        told["channel"] = int(channel) if re.fullmatch(r"\d{1,6}", channel) else None
        told |= part(tab, found, backend, record, chosen)
    return page(
        request,
        "job.html",
        job=job_line(record),
        record=record,
        gone=found if isinstance(found, str) else None,
        percent=percent(record.progress),
        position=positions(backend.connection, [record]).get(id) if record.status == "queued" else None,
        spoken=_spoken(request, record.request) if told["tab"] == "request" else None,
        **told,
    )


@router.get("/jobs/{id}/download/{kind}")
def download(request: Request, id: Id, kind: str) -> Response:
    """The result as a file: a link cannot say what it accepts."""
    if kind not in KINDS:
        raise HttpProblem("not_found", f"no download {kind[:100]!r}; there are {', '.join(KINDS)}")
    answer = rendered(request, backend_of(request), id, KINDS[kind], None, None, None)
    answer.headers["Content-Disposition"] = f'attachment; filename="{id}.{kind}"'
    answer.headers["X-Content-Type-Options"] = "nosniff"
    return answer


@router.post("/jobs/{id}/cancel", openapi_extra=WRITE)
def cancel(request: Request, id: Id) -> Response:
    """Cancel a job; one that has ended stays as it is."""
    cancelled(backend_of(request), id)
    return to(f"/jobs/{id}")


@router.post("/jobs/{id}/delete", openapi_extra=WRITE)
def delete(request: Request, id: Id) -> Response:
    """Delete a job that has ended, with its result."""
    backend = backend_of(request)
    record = backend.jobs.get(id)
    if record.status not in ENDED:
        raise HttpProblem("job_not_ended", f"the job {id} is {STATES[record.status]}; cancel it first")
    deleted(backend, id)
    return to("/")


@router.get("/models")
def show_models(request: Request, after: Text = "") -> Response:
    """The models by name."""
    backend = backend_of(request)
    records, more = backend.models.list(PAGE, after or None)
    return page(request, "models.html", models=records, more=more, first=not after, most=backend.settings.max_model_bytes)


@router.get("/models/{name}")
def show_model(request: Request, name: str) -> Response:
    """One model with its layers."""
    record = backend_of(request).models.get(name)
    return page(request, "model.html", model=model_body(record), name=name, created_at=record.created_at)


@router.get("/datasets")
def show_datasets(request: Request, after: Text = "") -> Response:
    """The datasets by name."""
    backend = backend_of(request)
    records, more = backend.datasets.list(PAGE, after or None)
    return page(request, "datasets.html", datasets=records, more=more, first=not after, most=backend.settings.max_dataset_bytes)


@router.get("/datasets/{name}")
def show_dataset(request: Request, name: str) -> Response:
    """One dataset with its fields."""
    record = backend_of(request).datasets.get(name)
    return page(request, "dataset.html", dataset=dataset_body(record), name=name, created_at=record.created_at)


@router.get("/new", openapi_extra=WRITE)
def show_form(request: Request, model: Text = "", dataset: Text = "", layer: Text = "") -> Response:
    """The form for a job, with what a link suggests."""
    return _form(request, Form({"model": [model], "dataset": [dataset], "layer": [layer]}, fresh=True))


@router.post("/new", openapi_extra=WRITE)
async def send_form(request: Request) -> Response:
    """The estimate for what was filled in; with `action=send` the job."""
    given = form.read(await request.body(), content_type(request))
    return await run_in_threadpool(_form, request, given)


def _form(request: Request, given: Form) -> Response:
    backend = backend_of(request)
    choices = choices_for(backend, given.one("model"), given.one("dataset"), given.one("layer"))
    shown = form.filled(given, choices)
    body = form.asked(shown, choices)
    drafted, errors = _drafted(backend, body) if choices.model and choices.dataset else (None, [])
    sends = given.one("action") == "send"
    # What was chosen may be gone meanwhile: nothing else is sent in its place.
    errors = (form.missing(given, shown, choices) if sends else []) or errors
    if drafted is not None and sends and not errors:
        try:
            record = accept(backend, drafted, Asked(request.scope["request_id"], key_of(request), None, shown["fresh"]))
            return to(f"/jobs/{record.id}")
        except HttpProblem as refused:
            errors = [Invalid(pointer="", detail=refused.detail, code=refused.code)]
    status = 422 if errors and sends else 200
    errors = [] if given.fresh and not body["methods"] else errors
    places = [form.control(error.pointer) for error in errors]
    return page(
        request,
        "new.html",
        status,
        choices=choices,
        shown=shown,
        methods=choices.methods(shown["at"]),
        name_of=name_of,
        estimate=drafted.estimate if drafted else None,
        errors=errors,
        refused=status == 422,
        places=places,
        wrong={place: places.index(place) for place in places},
        spoken=_spoken(request, body),
        statistics=form.STATISTICS,
        fills=form.FILLS,
        baselines=form.BASELINES,
        classes=choices.classes(shown["output"]),
    )


def _drafted(backend: Backend, body: dict[str, Any]) -> tuple[Draft | None, list[Invalid]]:
    try:
        return draft(backend, form.checked_shape(body), 0), []
    except InvalidBody as refused:
        return None, list(refused.errors or [])
    except Rejected as rejected:
        return None, [Invalid(pointer=flaw.pointer, detail=flaw.detail, code=flaw.code) for flaw in rejected.flaws]


def _spoken(request: Request, body: dict[str, Any]) -> dict[str, str] | None:
    """The request for other hands; None for one with a table inside."""
    if not isinstance(body["dataset"], str):
        return None
    told, base, key = snippets.short(body), str(request.base_url).rstrip("/"), bool(key_of(request).id)
    return {
        "json": snippets.as_json(told),
        "curl": snippets.as_curl(told, base, key),
        "python": snippets.as_python(told, base, key),
    }
