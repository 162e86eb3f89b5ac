"""The jobs of a run: quick ones, long ones, some that must fail or need a new model, equal ones, cancelled ones; a list that a
seed decides.
"""

from dataclasses import dataclass
from random import Random
from typing import Any

Json = dict[str, Any]

SHARES = {"quick": 5, "long": 4, "broken": 1, "new": 1}
CLASSES = 8
"""So many different requests of each kind: most jobs have equals."""


@dataclass(frozen=True)
class Order:
    """A request, `at` so many seconds after the start, under an `Idempotency-Key` or without one.

    `posts`: how often it is sent at once. `cancel`: seconds after its acceptance, None for never.
    `fresh`: nothing that was computed before will do. One of kind `new` is on a model of its own, which is uploaded before it and
    may still be inspected.
    """

    number: int
    kind: str
    at: float
    body: Json
    key: str | None
    posts: int
    cancel: float | None
    fresh: bool

    @property
    def headers(self) -> dict[str, str]:
        key = {"Idempotency-Key": self.key} if self.key else {}
        return key | ({"Cache-Control": "no-cache"} if self.fresh else {})


def orders(seed: int, count: int, seconds: float) -> list[Order]:
    """So many orders over so many seconds, the earliest first."""
    draw = Random(f"orders {seed}")
    times = sorted(draw.uniform(0, seconds) for _ in range(count))
    return [_order(draw, number, at) for number, at in enumerate(times)]


def _order(draw: Random, number: int, at: float) -> Order:
    kind = draw.choices(list(SHARES), list(SHARES.values()))[0]
    return Order(
        number=number,
        kind=kind,
        at=at,
        body=_body(kind, draw.randrange(CLASSES), number),
        key=f"chaos-{number}" if draw.random() < 0.7 else None,
        posts=2 if draw.random() < 0.2 else 1,
        cancel=draw.uniform(0, 1.5) if draw.random() < (0.3 if kind == "long" else 0.1) else None,
        fresh=draw.random() < 0.5,
    )


def _body(kind: str, seed: int, number: int) -> Json:
    body: Json = {"model": "net", "layer": "1", "seed": seed, "timeout": 300, "fidelity": None, "ablation": None}
    # By this number an order's jobs are known; requests that differ in it are not the same one to the service.
    body["metadata"] = {"number": number}
    if kind == "long":
        return body | {"dataset": "rows", "methods": [{"name": "conductance", "steps": 1000}, "deeplift", "gradient"]}
    if kind == "new":
        return body | {"model": f"new-{number}", "dataset": "rows", "methods": ["gradient"]}
    if kind == "broken":
        return body | {"dataset": "broken", "methods": ["gradient"]}
    inside = {"fields": {"x": [[seed + column / 7 for column in range(16)] for _ in range(4)]}}
    return body | {"dataset": inside if seed % 2 else "rows", "methods": ["activation"], "clusters": {"by": "all", "limit": 64}}
