"""The comparison of jobs from their records and results."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import combinations

from pydantic import ValidationError

from unitrank_schemas.comparison import (
    ComparedJob,
    JobAgreement,
    JobComparison,
    JobRankingComparison,
    NotCompared,
)
from unitrank_schemas.jobs import JobSummary, units_in_words
from unitrank_schemas.jobs.job import job_summary
from unitrank_schemas.results import Ranking, Result
from unitrank_service.comparison.agreement import agreement
from unitrank_service.comparison.best_curve import best_curve
from unitrank_service.comparison.differences import differences
from unitrank_service.comparison.paired_drops import TestedResult, compared, why_not_paired
from unitrank_service.results.layers.local_arrays import LocalArrays
from unitrank_service.results.parsed_result import parsed_result
from unitrank_store.jobs.record import JobRecord

MOST_PAIRS = 100
"""Pairs of rankings of two jobs."""
MOST_VALUES = 20_000_000
"""Importances that the comparison of two jobs reads on each side, in some seconds."""
NUMBERED = "kmeans"
"""The kind of clusters whose names are numbers without a meaning outside the job."""


@dataclass(frozen=True)
class Source:
    """A job to compare, at one of its layers.

    `layers`: all layers of a job with several, and `joint`. `summary`, `arrays`: the result; None
    for a job without a result, for a `reason`.
    """

    record: JobRecord
    layer: str
    layers: Sequence[str]
    summary: bytes | None = None
    arrays: LocalArrays | None = None
    reason: str | None = None


def job_comparison(sources: Sequence[Source]) -> JobComparison:
    """Return the comparison. The process that draws runs this function."""
    with ExitStack() as files:
        results = [_tested(source, files) for source in sources]
        pairs = _Pairs([], [], [])
        for (source_a, a), (source_b, b) in combinations(zip(sources, results, strict=True), 2):
            missing = next((each.reason for each in (source_a, source_b) if each.reason), None)
            if a is None or b is None:
                pairs.leave_out(source_a.record.id, source_b.record.id, missing or "a result is missing")
            else:
                pairs.add(a, b)
        return JobComparison(
            jobs=[_job(source, tested) for source, tested in zip(sources, results, strict=True)],
            differences=differences([source.record for source in sources]),
            agreement=pairs.agreement,
            comparisons=pairs.comparisons,
            not_compared=pairs.not_compared,
        )


def _tested(source: Source, files: ExitStack) -> TestedResult | None:
    if source.summary is None or source.arrays is None:
        return None
    file = files.enter_context(source.arrays.open())
    return TestedResult(parsed_result(source.summary), file.mapped())


def _job(source: Source, tested: TestedResult | None) -> ComparedJob:
    record = source.record
    request, resolved = record.request, record.resolved
    name = (request.get("metadata") or {}).get("name")
    return ComparedJob.model_validate(
        {
            "id": record.id,
            "name": name if isinstance(name, str) else None,
            "status": record.status,
            "model": {"name": resolved["model"]["name"], "digest": resolved["model"]["digest"]},
            "dataset": {"name": resolved["dataset"]["name"], "digest": resolved["dataset"]["digest"]},
            "layer": source.layer,
            "layers": list(source.layers) or None,
            "at": request.get("at", "output"),
            "units": request.get("units", "neuron"),
            "summary": _summary(record) if not source.layers else tested and job_summary(tested.result.model_dump(mode="json")),
            "leaderboard": [] if tested is None else tested.result.leaderboard,
            "curve": None if tested is None else best_curve(tested),
        },
        extra="ignore",
    )


def _summary(record: JobRecord) -> JobSummary | None:
    """Return the record's summary; None without one, and for one that this version cannot read."""
    try:
        return JobSummary.model_validate(record.summary, extra="ignore")
    except ValidationError:
        return None


@dataclass(frozen=True)
class _Pairs:
    """The parts of the answer that compare two jobs."""

    agreement: list[JobAgreement]
    comparisons: list[JobRankingComparison]
    not_compared: list[NotCompared]

    def leave_out(self, job_a: str, job_b: str, detail: str) -> None:
        """Note that nothing of two jobs is compared."""
        self.not_compared.append(NotCompared(job_a=job_a, job_b=job_b, part="agreement", detail=detail))
        self.not_compared.append(NotCompared(job_a=job_a, job_b=job_b, part="comparisons", detail=detail))

    def add(self, a: TestedResult, b: TestedResult) -> None:
        """Compare the rankings of two results."""
        jobs = {"job_a": a.result.job, "job_b": b.result.job}
        if reason := _why_other_place(a.result, b.result):
            self.leave_out(a.result.job, b.result.job, reason)
            return
        rankings = list(_ranking_pairs(a.result, b.result))
        clusters = _common_clusters(a.result, b.result)
        if clusters:
            few = rankings[: max(1, min(MOST_PAIRS, MOST_VALUES // max(1, len(clusters) * a.result.layer.count)))]
            self.agreement.extend(_agreements(a, b, few, clusters))
            if len(few) < len(rankings):
                detail = f"{len(rankings)} pairs of rankings are too many; the first {len(few)} are compared"
                self.not_compared.append(NotCompared(**jobs, part="agreement", detail=detail))
        else:
            self.not_compared.append(NotCompared(**jobs, part="agreement", detail="the jobs have different clusters"))
        reason = why_not_paired(a, b) or self._compare(a, b, rankings[:MOST_PAIRS])
        if reason:
            self.not_compared.append(NotCompared(**jobs, part="comparisons", detail=reason))

    def _compare(self, a: TestedResult, b: TestedResult, rankings: Sequence[tuple[Ranking, Ranking]]) -> str | None:
        """Compare the areas; return why some are not compared."""
        reason = None
        for of_a, of_b in rankings:
            if "random" in (of_a.method["name"], of_b.method["name"]):
                continue
            values = compared(a, of_a, b, of_b)
            if values is None:
                reason = "the jobs replace units by other values, or explain another target"
            else:
                entry = JobRankingComparison(a=of_a.id, b=of_b.id, job_a=a.result.job, job_b=b.result.job, **values)
                self.comparisons.append(entry)
        return reason


def _agreements(
    a: TestedResult, b: TestedResult, rankings: Sequence[tuple[Ranking, Ranking]], clusters: Sequence[tuple[int, int]]
) -> Iterator[JobAgreement]:
    for of_a, of_b in rankings:
        left, right = a.arrays[f"importance/{of_a.id}"], b.arrays[f"importance/{of_b.id}"]
        agreed = agreement([(left[row_a], right[row_b]) for row_a, row_b in clusters])
        yield JobAgreement(a=of_a.id, b=of_b.id, job_a=a.result.job, job_b=b.result.job, **asdict(agreed))


def _why_other_place(a: Result, b: Result) -> str | None:
    places = [(each.layer.name, each.layer.at, each.layer.units, each.layer.shape) for each in (a, b)]
    if places[0] == places[1]:
        return None if a.layer.parts == b.layer.parts else "the jobs rank the units of different layers together"
    words = [f"{units_in_words(units)} of the {at} of {name}, shape {shape}" for name, at, units, shape in places]
    return f"the jobs rank the units of different places: {words[0]}, and {words[1]}"


def _ranking_pairs(a: Result, b: Result) -> Iterator[tuple[Ranking, Ranking]]:
    """Yield the pairs of rankings of one target class; those with the same id first."""
    pairs = [(of_a, of_b) for of_a in a.rankings for of_b in b.rankings if of_a.target_class == of_b.target_class]
    yield from sorted(pairs, key=lambda pair: pair[0].id != pair[1].id)


def _common_clusters(a: Result, b: Result) -> list[tuple[int, int]]:
    """Return the rows of the clusters that both results have, in their arrays."""
    kinds = [(each.provenance.options.get("clusters") or {}).get("by") for each in (a, b)]
    sizes = [{cluster.name: cluster.examples for cluster in each.clusters} for each in (a, b)]
    if kinds[0] != kinds[1] or (kinds[0] == NUMBERED and sizes[0] != sizes[1]):
        return []
    rows = {cluster.name: row for row, cluster in enumerate(b.clusters)}
    return [(row, rows[cluster.name]) for row, cluster in enumerate(a.clusters) if cluster.name in rows]
