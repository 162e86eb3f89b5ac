"""The scalar that is explained: does the output have it, and are the labels classes of it?"""

from collections.abc import Iterator

from unitrank_schemas.checks.defaults import can_label
from unitrank_schemas.facts.facts import Facts, Flaw, class_count, kind_of, output_of
from unitrank_schemas.facts.fields import field_exists, unlabelled
from unitrank_schemas.facts.wording import nearest, shape_shown
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
        what = f"output {output.name!r} is {output.dtype} {shape_shown(output.shape)}"
        detail = f"{what}; an explained output is real, [N], [N, 1] or [N, classes]"
        yield Flaw("/output", "output_not_supported", detail)


def labels_are_classes(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    if request.labels is None or facts.fields is None:
        return
    yield from field_exists("/labels", request.labels, facts)
    field = facts.fields.get(request.labels)
    if field is not None and not can_label(field):
        wanted = "labels are integers, one a row"
        code = "wrong_shape" if len(field.shape) != 1 else "wrong_dtype"
        yield Flaw("/labels", code, f"field {request.labels!r} is {field.dtype} {shape_shown(field.shape)}; {wanted}")


def class_fits(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    output = output_of(request, facts.manifest) if facts.manifest else None
    if request.target.class_ == "label" and request.labels is None and facts.fields is not None:
        detail = f"class `label` needs labels; name their field in `labels`{unlabelled(facts)}, or use `predicted`"
        yield Flaw("/target/class", "labels_missing", detail)
    if output is None or not _explainable(output):
        return
    classes = class_count(output)
    if classes is None:
        yield from _no_classes(request, output)
    else:
        yield from _classes(request, facts, output, classes)


def _no_classes(request: JobRequest, output: Port) -> Iterator[Flaw]:
    what = f"output {output.name!r} {shape_shown(output.shape)} has no classes"
    if request.target.class_ is not None:
        yield Flaw("/target/class", "target_not_applicable", f"{what}; class must be null, got {request.target.class_!r}")
    if request.target.score != "logit":
        yield Flaw("/target/score", "target_not_applicable", f"{what}; score must be `logit`, got {request.target.score!r}")


def _classes(request: JobRequest, facts: Facts, output: Port, classes: int) -> Iterator[Flaw]:
    wanted = request.target.class_
    if isinstance(wanted, int) and wanted >= classes:
        detail = f"class {wanted} of output {output.name!r}, which has the classes 0 to {classes - 1}"
        yield Flaw("/target/class", "class_out_of_range", detail)
    field = facts.fields.get(request.labels) if facts.fields and request.labels else None
    if wanted == "label" and request.labels and can_label(field):
        strange = [value for value in facts.distinct(request.labels) or [] if not 0 <= int(value) < classes]
        if strange:
            detail = f"field {request.labels!r} holds {strange[0]}, but output {output.name!r} has the classes 0 to {classes - 1}"
            yield Flaw("/labels", "class_out_of_range", detail)


def _explainable(output: Port) -> bool:
    return kind_of(output.dtype) == "real" and len(output.shape) in (1, 2) and None not in output.shape[1:]
