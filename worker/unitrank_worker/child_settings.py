"""The settings that a worker hands to its child."""

from dataclasses import asdict, dataclass
from typing import Self

from unitrank_schemas.base import Json


@dataclass(frozen=True)
class ChildSettings:
    """The settings that a child knows; none of them is an address or a password.

    `scratch`: the folder for temporary files; sizes are bytes. `child_memory_bytes`: see `limit_memory`.
    """

    scratch: str
    operators: tuple[str, ...] = ()
    warm_models_bytes: int = 2 << 30
    max_result_bytes: int = 256 << 20
    child_memory_bytes: int | None = None
    log_format: str = "people"

    def to_json(self) -> Json:
        """The settings as a message carries them."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Json) -> Self:
        """The settings that `to_json` gave."""
        return cls(**{**values, "operators": tuple(values["operators"])})
