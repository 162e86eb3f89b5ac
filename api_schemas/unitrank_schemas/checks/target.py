"""Checks of the target: can the output be explained, and has it the class and the labels?"""

from collections.abc import Iterator

from unitrank_schemas.checks.defaults import can_label
from unitrank_schemas.facts.facts import Facts, Flaw, class_count, kind_of, logit_count, output_of
from unitrank_schemas.facts.fields import field_exists, y_rejected
from unitrank_schemas.facts.wording import nearest, shape_text
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.jobs.targets import ClassField, ReduceAt
from unitrank_schemas.models import OutputPort


def output_exists(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    if facts.manifest is None:
        return
    output = output_of(request, facts.manifest)
    if output is None:
        names = [port.name for port in facts.manifest.outputs]
        yield Flaw("/output", "output_not_found", f"output {request.output!r} not found{nearest(request.output or '', names)}")
    elif not _is_real(output) or not output.shape:
        detail = (
            f"output {output.name!r} is {output.dtype} {shape_text(output.shape)}; an output must be real, with shape [N], [N, 1] "
            "or [N, classes]"
        )
        yield Flaw("/output", "output_not_supported", detail)
    elif len(output.shape) > 2:
        yield from _further_axes(request, output)
    elif request.target.reduce is not None:
        detail = f"output {output.name!r} {shape_text(output.shape)} has no further axes to reduce; leave `reduce` out"
        yield Flaw("/target/reduce", "target_not_applicable", detail)


def _further_axes(request: JobRequest, output: OutputPort) -> Iterator[Flaw]:
    """Flaws of the reduction of an output with axes beside the batch and the classes."""
    shape, axis, reduce = shape_text(output.shape), output.class_axis, request.target.reduce
    if axis is None:
        detail = (
            f"output {output.name!r} has shape {shape}, and the axis of its classes is not known, because the classes come from no "
            "dense layer or convolution whose axes can be followed; reduce the output in the model to [N, classes], and export it "
            "again"
        )
        yield Flaw("/output", "output_not_supported", detail)
    elif reduce is None:
        detail = (
            f"output {output.name!r} has shape {shape}, with classes on axis {axis} and further axes; set `target.reduce` to "
            f"'mean', to 'max', or to one position, such as {{\"at\": {[0] * (len(output.shape) - 2)}}}"
        )
        yield Flaw("/output", "output_not_supported", detail)
    elif isinstance(reduce, ReduceAt):
        sizes = [size for index, size in enumerate(output.shape) if index not in (0, axis)]
        inside = [index < (size or 0) for index, size in zip(reduce.at, sizes, strict=False)]
        if len(reduce.at) != len(sizes) or not all(inside):
            detail = (
                f"position {reduce.at} does not exist in output {output.name!r} {shape}; give one index for each of the further "
                f"axes, which have the sizes {sizes}"
            )
            yield Flaw("/target/reduce/at", "index_out_of_range", detail)


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
    classes = class_count(request, output)
    if logit_count(output) == 1 and request.target.class_ == "each":
        detail = (
            f"output {output.name!r} {shape_text(output.shape)} has one value and not a logit for each class; use null to explain "
            "the value; where it is the logit of class 1, use class 1: the scores of class 0 have the other sign"
        )
        yield Flaw("/target/class", "target_not_applicable", detail)
    elif classes is None:
        yield from _raw_value(request, output)
    else:
        yield from _classes(request, facts, output, classes)
    if logit_count(output) == 1 and request.target.score in ("centered", "margin"):
        scores = "'logit'" if classes is None else "'logit', 'probability' or 'log_probability'"
        detail = (
            f"score {request.target.score!r} compares the logits of several classes, but output {output.name!r} "
            f"{shape_text(output.shape)} has one value; use {scores}"
        )
        yield Flaw("/target/score", "target_not_applicable", detail)


def _raw_value(request: JobRequest, output: OutputPort) -> Iterator[Flaw]:
    """An output of one value is a logit or a probability only if the request names a class."""
    reason = (
        f"output {output.name!r} {shape_text(output.shape)} has one value, which is explained as it is while `target.class` is null"
    )
    advice = "if the value is the logit or the probability of class 1, set `target.class` to 'label', 'predicted', 0 or 1"
    if request.target.score in ("probability", "log_probability"):
        detail = f"{reason}; score must then be 'logit', got {request.target.score!r}; {advice}"
        yield Flaw("/target/score", "target_not_applicable", detail)
    if request.target.output_is != "logits":
        detail = f"{reason}; output_is must then be 'logits', got {request.target.output_is!r}; {advice}"
        yield Flaw("/target/output_is", "target_not_applicable", detail)


def _classes(request: JobRequest, facts: Facts, output: OutputPort, classes: int) -> Iterator[Flaw]:
    choice, last = request.target.class_, classes - 1
    if isinstance(choice, int) and choice >= classes:
        detail = f"class {choice} does not exist; output {output.name!r} has classes 0 to {last}"
        yield Flaw("/target/class", "class_out_of_range", detail)
    if choice == "label" and request.labels:
        yield from _values_are_classes("/labels", request.labels, facts, output, classes)


def against_fits(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    """The class that the explained class is compared with must be another class of the output."""
    target, against = request.target, request.target.against
    if against is None:
        return
    if target.score not in CONTRASTED_SCORES:
        detail = (
            f"score {target.score!r} does not compare two classes; with `target.against` use 'logit' or 'log_probability', which "
            "give the same number"
        )
        yield Flaw("/target/score", "target_not_applicable", detail)
    if target.class_ == "each":
        detail = "class `each` explains every class alone; name one class in `class`, or leave `against` out"
        yield Flaw("/target/against", "target_not_applicable", detail)
    if against == target.class_:
        detail = f"class {against} is compared with itself, so every score would be 0; choose another class in `against`"
        yield Flaw("/target/against", "target_not_applicable", detail)
    if isinstance(against, ClassField):
        yield from _class_field_fits(against.field, facts)
    output = output_of(request, facts.manifest) if facts.manifest else None
    classes = logit_count(output) if output and _explainable(output) else None
    if output is None or classes is None:
        return
    if classes == 1:
        detail = (
            f"output {output.name!r} {shape_text(output.shape)} has one value, and a comparison needs two classes; leave `against` "
            "out"
        )
        yield Flaw("/target/against", "target_not_applicable", detail)
    elif isinstance(against, ClassField):
        yield from _values_are_classes("/target/against/field", against.field, facts, output, classes)
    elif against >= classes:
        detail = f"class {against} does not exist; output {output.name!r} has classes 0 to {classes - 1}"
        yield Flaw("/target/against", "class_out_of_range", detail)


def _class_field_fits(name: str, facts: Facts) -> Iterator[Flaw]:
    at, field = "/target/against/field", facts.fields.get(name) if facts.fields else None
    yield from field_exists(at, name, facts)
    if field is not None and not can_label(field):
        code = "wrong_shape" if len(field.shape) != 1 else "wrong_dtype"
        detail = f"field {name!r} is {field.dtype} {shape_text(field.shape)}; `against` needs integers or booleans, one per row"
        yield Flaw(at, code, detail)


def _values_are_classes(at: str, name: str, facts: Facts, output: OutputPort, classes: int) -> Iterator[Flaw]:
    """A flaw at `at` if the field holds a number that is not a class of the output."""
    if not can_label(facts.fields.get(name) if facts.fields else None):
        return
    outside = [value for value in facts.distinct(name) or [] if not 0 <= int(value) < classes]
    if outside:
        detail = f"field {name!r} holds {outside[0]}, but output {output.name!r} has classes 0 to {classes - 1}"
        yield Flaw(at, "class_out_of_range", detail)


CONTRASTED_SCORES = ("logit", "log_probability")
"""The scores that `against` takes; the other scores already compare classes."""


def _is_real(output: OutputPort) -> bool:
    return kind_of(output.dtype) == "real" and None not in output.shape[1:]


def _explainable(output: OutputPort) -> bool:
    return _is_real(output) and bool(output.shape) and logit_count(output) is not None
