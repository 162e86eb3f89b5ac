"""The orders of a run: requests for jobs, with their times. A seed decides the list.

Some jobs are quick, some are long, and some are divided between machines. Some must fail, some need
a new model, some equal another job, and some are cancelled.
"""

from dataclasses import dataclass
from random import Random
from typing import Any

Json = dict[str, Any]

SHARES = {"quick": 5, "long": 4, "broken": 1, "new": 1}
DIVIDED_SHARE = 3
"""The share of jobs that are divided, if there is a Ray cluster."""
CLASSES = 8
"""Number of different requests of each kind; small, so that most jobs equal another job."""


@dataclass(frozen=True)
class Order:
    """A request that the clients send.

    `kind`: `quick`, `long`, `divided`, `broken` (it must fail) or `new` (it uses a model that is
    uploaded just before and may still be inspected). `at`: seconds after the start. `key`: its
    `Idempotency-Key`. `posts`: how many clients send it at once. `cancel`: seconds from acceptance
    to cancellation; None: it is not cancelled. `fresh`: the service must not reuse earlier results.
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


def orders(seed: int, count: int, seconds: float, *, with_nodes: bool = False) -> list[Order]:
    """`count` orders at random times within `seconds`, the earliest first.

    `with_nodes`: whether some jobs are divided between machines.
    """
    random = Random(f"orders {seed}")
    times = sorted(random.uniform(0, seconds) for _ in range(count))
    shares = SHARES | ({"divided": DIVIDED_SHARE} if with_nodes else {})
    return [_order(random, shares, number, at) for number, at in enumerate(times)]


def _order(random: Random, shares: dict[str, int], number: int, at: float) -> Order:
    kind = random.choices(list(shares), list(shares.values()))[0]
    return Order(
        number=number,
        kind=kind,
        at=at,
        body=_body(kind, random.randrange(CLASSES), number),
        key=f"chaos-{number}" if random.random() < 0.7 else None,
        posts=2 if random.random() < 0.2 else 1,
        cancel=random.uniform(0, 1.5) if random.random() < (0.3 if kind in ("long", "divided") else 0.1) else None,
        fresh=random.random() < 0.5,
    )


def _body(kind: str, seed: int, number: int) -> Json:
    body: Json = {"model": "net", "layer": "1", "seed": seed, "timeout": 300, "fidelity": None, "ablation": None}
    # The findings read the order from this number. The service does not compare metadata when it
    # looks for an equal job.
    body["metadata"] = {"number": number}
    if kind == "long":
        return body | {"dataset": "rows", "methods": [{"name": "conductance", "steps": 1000}, "deeplift", "gradient"]}
    if kind == "divided":
        # An undivided job of the same class must give the same arrays.
        execution = "distributed" if number % 3 else "local"
        methods = [{"name": "conductance", "steps": 100}, "gradient"]
        return body | {"dataset": "rows", "methods": methods, "ablation": {"random": 19}, "execution": execution}
    if kind == "new":
        return body | {"model": f"new-{number}", "dataset": "rows", "methods": ["gradient"]}
    if kind == "broken":
        return body | {"dataset": "broken", "methods": ["gradient"]}
    inline = {"fields": {"x": [[seed + column / 7 for column in range(16)] for _ in range(4)]}}
    return body | {"dataset": inline if seed % 2 else "rows", "methods": ["activation"], "clusters": {"by": "all", "limit": 64}}
