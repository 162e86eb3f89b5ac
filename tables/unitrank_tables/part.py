"""Named arrays with a JSON description: the form in which intermediate results are kept and sent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Part:
    """`arrays` by name, and `says`, JSON values that describe them."""

    arrays: Mapping[str, np.ndarray[Any, np.dtype[Any]]] = field(default_factory=dict)
    says: dict[str, Any] = field(default_factory=dict)
