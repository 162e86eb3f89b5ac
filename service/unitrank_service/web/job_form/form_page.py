"""The page with the form for a job: the estimate for its values, and the job once the form is
sent.
"""

from collections.abc import Mapping
from typing import Any, get_args

from fastapi import Request, Response

from unitrank_schemas.checks import RequestRejected
from unitrank_schemas.jobs.targets import ClassWord
from unitrank_schemas.problems import Invalid
from unitrank_service.backend import key_of
from unitrank_service.contents.class_names import ClassNames
from unitrank_service.errors import HttpProblem, InvalidBody
from unitrank_service.jobs.drafts import Draft, DraftStores, draft
from unitrank_service.jobs.submission import SubmissionContext, SubmissionStores, submit
from unitrank_service.observability.metrics import Metrics
from unitrank_service.web.job_form import form
from unitrank_service.web.job_form.choices import FormChoices, choices_for, name_of
from unitrank_service.web.job_form.control_values import control_values
from unitrank_service.web.job_form.form import Form
from unitrank_service.web.job_form.option_texts import FILLS, OUTPUT_KINDS, OWN_BASELINES, REDUCTIONS, SPACINGS, STATISTICS
from unitrank_service.web.job_form.request_body import BASELINES, UNITS, checked_shape, further, replaced, request_body
from unitrank_service.web.pages import page, to
from unitrank_service.web.snippets import snippets
from unitrank_service.webhooks.dispatcher import Dispatcher
from unitrank_store.contents.datasets import DatasetStore

Json = dict[str, Any]


def form_page(
    request: Request, sent: Form, stores: SubmissionStores, names: ClassNames, *, metrics: Metrics, dispatcher: Dispatcher
) -> Response:
    """The form with an estimate and the errors of its values; with `action=send` and no error a
    redirect to the new job.
    """
    models, datasets = stores.drafts.models, stores.drafts.datasets
    choices = choices_for(sent.one("model"), sent.one("dataset"), form.first_layer(sent), models=models, datasets=datasets)
    values = control_values(sent, choices)
    classes = _classes(values, choices, names, datasets)
    in_numbers = {control: _number_of(values[control], classes) for control in ("class", "against")}
    body, unreadable = _body(values | in_numbers, choices)
    sends, complete = sent.one("action") == "send", bool(choices.model and choices.dataset)
    # If the chosen model or field was deleted, the job is not sent with another model or field.
    errors = (form.missing(sent, values, choices) if sends else []) + unreadable
    if sends and complete and not errors:
        context = SubmissionContext(request.scope["request_id"], key_of(request), fresh=values["fresh"])
        try:
            submission = submit(checked_shape(body), context, stores, metrics=metrics, dispatcher=dispatcher)
            return to(request, f"/jobs/{submission.record.id}")
        except (HttpProblem, RequestRejected) as error:
            errors = _errors_of(error)
    drafted, flaws = _drafted(body, stores.drafts) if complete else (None, [])
    errors = errors or flaws
    status = 422 if errors and sends else 200
    errors = [] if sent.fresh and not body["methods"] else errors
    return page(
        request,
        "new.html",
        status,
        choices=choices,
        values=values,
        estimate=drafted.estimate if drafted else None,
        refused=status == 422,
        snippets=request_snippets(request, body),
        classes=classes,
        **_errors_shown(errors),
        **_options(values, choices),
    )


def _errors_shown(errors: list[Invalid]) -> Json:
    """The errors, the control of each, and control → the number of its first error."""
    places = [form.control(error.pointer) for error in errors]
    return {"errors": errors, "places": places, "wrong": {place: places.index(place) for place in places}}


def _options(values: Json, choices: FormChoices) -> Json:
    """The options of the controls."""
    return {
        "methods": choices.methods(values["at"]),
        "name_of": name_of,
        "replaced": replaced(values["more"]),
        "statistics": STATISTICS,
        "fills": FILLS,
        "units": {name: text for name, (text, _) in UNITS.items() if name != "heads" or values["heads"]},
        "spacings": SPACINGS,
        "baselines": BASELINES,
        "output_kinds": OUTPUT_KINDS,
        "own_baselines": OWN_BASELINES,
        "reductions": REDUCTIONS,
        "further_axes": choices.further_axes(values["output"]),
        "logits": choices.logits(values["output"]),
    }


def _classes(values: Json, choices: FormChoices, names: ClassNames, datasets: DatasetStore) -> Mapping[str, str]:
    """Class number → its name, from the further fields or from the dataset; empty without names."""
    try:
        metadata = further(values["more"]).get("metadata")
    except InvalidBody:
        metadata = None
    request = {"metadata": metadata if isinstance(metadata, dict) else {}, "labels": values["labels"]}
    return names.of(request, choices.digest, datasets) if choices.digest else {}


def _number_of(text: str, classes: Mapping[str, str]) -> str:
    """The number of the only class with this name. Numbers and words of `target.class` stay."""
    numbers = [number for number, name in classes.items() if name == text]
    is_name = text not in get_args(ClassWord) and not text.lstrip("-").isdecimal()
    return numbers[0] if is_name and len(numbers) == 1 else text


def request_snippets(request: Request, body: Json) -> dict[str, str] | None:
    """A job's request as JSON, for curl and for Python, with the address of this service."""
    return snippets(body, str(request.base_url).rstrip("/"), key=bool(key_of(request).id))


def _body(values: Json, choices: FormChoices) -> tuple[Json, list[Invalid]]:
    """The body of the request, and an error for each text that cannot be read."""
    try:
        return request_body(values, choices), []
    except InvalidBody as error:
        return request_body(values | {"more": "", "members": ""}, choices), _errors_of(error)


def _drafted(body: Json, stores: DraftStores) -> tuple[Draft | None, list[Invalid]]:
    try:
        return draft(checked_shape(body), 0, stores), []
    except (InvalidBody, RequestRejected) as error:
        return None, _errors_of(error)


def _errors_of(error: HttpProblem | RequestRejected) -> list[Invalid]:
    """The invalid places of the request; one entry without a place if the error concerns the whole
    request.
    """
    error = InvalidBody.of(error) if isinstance(error, RequestRejected) else error
    return list(error.errors or [Invalid(pointer="", detail=error.detail, code=error.code)])
