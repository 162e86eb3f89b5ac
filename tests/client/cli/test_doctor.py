"""The findings of `unitrank doctor` about a service."""

from typing import cast

from unitrank.cli.doctor import Finding, readiness_findings
from unitrank.client.endpoints import Calls
from unitrank.client.http.operations import Flow
from unitrank_schemas.operations import Readiness, ReadinessWarning


class ReadyCalls:
    """Calls to a service that is ready, with these warnings."""

    def __init__(self, *warnings: ReadinessWarning) -> None:
        self._warnings = list(warnings)

    def readiness(self) -> Flow[Readiness]:
        yield from ()
        return Readiness(warnings=self._warnings)


def findings(*warnings: ReadinessWarning) -> list[Finding]:
    flow = readiness_findings(cast(Calls, ReadyCalls(*warnings)))
    try:
        next(flow)
    except StopIteration as end:
        return cast(list[Finding], end.value)
    raise AssertionError("the flow sends a request")


def test_doctor_when_a_worker_is_not_confined_then_says_so_and_does_not_fail() -> None:
    confinement = ReadinessWarning(code="confinement", detail="1 of 1 workers run models without confinement")
    eviction = ReadinessWarning(code="eviction", detail="the server evicts keys")

    ready, *warnings = findings(confinement, eviction)

    assert ready == Finding("ready", True, "jobs can run")
    assert warnings == [
        Finding("confinement", False, confinement.detail, required=False),
        Finding("store: eviction", False, eviction.detail, required=False),
    ]
