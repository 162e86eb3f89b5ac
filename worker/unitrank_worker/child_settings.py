"""The settings that a worker hands to its child."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from unitrank_schemas.base import Json

if TYPE_CHECKING:
    # The child reads this module, and must not load the client of the store.
    from unitrank_store.settings import Settings


@dataclass(frozen=True)
class ChildSettings:
    """The settings of a child. They hold no address and no password.

    `scratch`: folder for temporary files.
    `operators`: operators that archives may use besides the built-in list.
    `warm_models`, `warm_models_bytes`: maximum number and bytes of the models that are kept in
    memory.
    `max_result_bytes`: maximum bytes of a result's arrays.
    `max_shapley_operations`: maximum operations of one ranking by Shapley values.
    `child_memory_bytes`: see `limit_memory`.
    `log_format`: `people` or `json`.
    `confinement`: `require`, `try` or `off`.
    `readable_folders`: folders that a confined child may read besides Python's packages.
    """

    scratch: str
    operators: tuple[str, ...] = ()
    warm_models: int = 64
    warm_models_bytes: int = 2 << 30
    max_result_bytes: int = 256 << 20
    max_shapley_operations: float = 1e15
    child_memory_bytes: int | None = None
    log_format: str = "people"
    confinement: str = "try"
    readable_folders: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: "Settings", scratch: Path) -> Self:
        """The operator's settings for a child. `scratch`: folder of the children's folders."""
        return cls(
            scratch=str(scratch),
            operators=settings.operators,
            warm_models=settings.warm_models,
            warm_models_bytes=settings.warm_models_bytes,
            max_result_bytes=settings.max_result_bytes,
            max_shapley_operations=settings.max_shapley_operations,
            child_memory_bytes=settings.child_memory_bytes,
            log_format=settings.log_format,
            confinement=settings.confinement,
            readable_folders=settings.readable_folders,
        )

    def to_json(self) -> Json:
        """The settings as the JSON object of a message."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Json) -> Self:
        """The settings from the JSON object of `to_json`."""
        lists = {name: tuple(values[name]) for name in ("operators", "readable_folders")}
        return cls(**{**values, **lists})
