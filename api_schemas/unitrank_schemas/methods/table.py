"""All methods: the union of their schemas, and the table by name.

`Family` of each file lists its methods. The order here is the order of `GET /v1/methods`.
"""

from typing import Annotated, Any, get_args

from pydantic import BeforeValidator, Field

from unitrank_schemas.methods import (
    activation,
    deeplift,
    exact_ablation,
    given,
    grad_cam,
    gradient,
    path,
    random,
    shapley,
    taylor,
    weight_norm,
)
from unitrank_schemas.methods.base import MethodBase

AnyMethod = (
    activation.Family
    | gradient.Family
    | path.Family
    | deeplift.Family
    | exact_ablation.Family
    | shapley.Family
    | taylor.Family
    | weight_norm.Family
    | grad_cam.Family
    | random.Family
    | given.Family
)

METHODS: dict[str, type[MethodBase]] = {method.model_fields["name"].default: method for method in get_args(AnyMethod)}


def _named(entry: Any) -> Any:
    """Turn a name into the entry of the method with its defaults."""
    return {"name": entry} if isinstance(entry, str) else entry


Method = Annotated[
    Annotated[AnyMethod, Field(discriminator="name")],
    BeforeValidator(_named, json_schema_input_type=str | dict[str, Any]),
]


def with_ids(methods: list[Method]) -> list[Method]:
    """The entries, each with an id; ids that the client set stay.

    Other entries get the method's name, `.<statistic>` if that is not `mean`, and `-2`, `-3` … if
    the id is taken.
    """
    taken = {method.id for method in methods if method.id}
    entries = []
    for method in methods:
        if method.id is None:
            stem = method.name if method.statistic == "mean" else f"{method.name}.{method.statistic}"
            free_id, count = stem, 1
            while free_id in taken:
                count += 1
                free_id = f"{stem}-{count}"
            taken.add(free_id)
            method = method.model_copy(update={"id": free_id})
        entries.append(method)
    return entries
