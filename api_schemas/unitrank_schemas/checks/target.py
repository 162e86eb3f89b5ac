"""Checks of the target: can the output be explained, and has it the class and the labels?"""

from collections.abc import Iterator

from unitrank_schemas.checks.defaults import can_label
from unitrank_schemas.facts.facts import Facts, Flaw, class_count, kind_of, output_of
from unitrank_schemas.facts.fields import field_exists, y_rejected
from unitrank_schemas.facts.wording import nearest, shape_text
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.models import Port


def output_exists(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    if facts.manifest is None:
        return
    output = output_of(request, facts.manifest)
    if output is None:
        names = [port.name for port in facts.manifest.outputs]
        yield Flaw("/output", "output_not_found", f"output {request.output!r} not found{nearest(request.output or '', names)}")
    elif not _explainable(output):
        detail = (
            f"output {output.name!r} is {output.dtype} {shape_text(output.shape)}; an output must be real, with shape [N], [N, 1] "
            "or [N, classes]"
        )
        yield Flaw("/output", "output_not_supported", detail)


def labels_are_classes(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    if request.labels is None or facts.fields is None:
        return
    yield from field_exists("/labels", request.labels, facts)
    field = facts.fields.get(request.labels)
    if field is not None and not can_label(field):
        code = "wrong_shape" if len(field.shape) != 1 else "wrong_dtype"
        detail = (
            f"field {request.labels!r} is {field.dtype} {shape_text(field.shape)}; labels must be integers or booleans, one per row"
        )
        yield Flaw("/labels", code, detail)


def class_fits(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    output = output_of(request, facts.manifest) if facts.manifest else None
    if request.target.class_ == "label" and request.labels is None and facts.fields is not None:
        detail = f"class `label` needs labels; name their field in `labels`{y_rejected(facts)}, or use `predicted`"
        yield Flaw("/target/class", "labels_missing", detail)
    if output is None or not _explainable(output):
        return
    classes = class_count(output)
    if classes is None:
        yield from _no_classes(request, output)
    else:
        yield from _classes(request, facts, output, classes)


def _no_classes(request: JobRequest, output: Port) -> Iterator[Flaw]:
    reason = f"output {output.name!r} {shape_text(output.shape)} has no classes"
    if request.target.class_ is not None:
        yield Flaw("/target/class", "target_not_applicable", f"{reason}; class must be null, got {request.target.class_!r}")
    if request.target.score != "logit":
        yield Flaw("/target/score", "target_not_applicable", f"{reason}; score must be 'logit', got {request.target.score!r}")


def _classes(request: JobRequest, facts: Facts, output: Port, classes: int) -> Iterator[Flaw]:
    choice, last = request.target.class_, classes - 1
    if isinstance(choice, int) and choice >= classes:
        detail = f"class {choice} does not exist; output {output.name!r} has classes 0 to {last}"
        yield Flaw("/target/class", "class_out_of_range", detail)
    field = facts.fields.get(request.labels) if facts.fields and request.labels else None
    if choice == "label" and request.labels and can_label(field):
        outside = [value for value in facts.distinct(request.labels) or [] if not 0 <= int(value) < classes]
        if outside:
            label = outside[0]
            detail = f"field {request.labels!r} holds {label}, but output {output.name!r} has classes 0 to {last}"
            yield Flaw("/labels", "class_out_of_range", detail)


def _explainable(output: Port) -> bool:
    return kind_of(output.dtype) == "real" and len(output.shape) in (1, 2) and None not in output.shape[1:]
