"""Checks of the clusters: the checks of their kind, and the limit on the number of clusters."""

from collections.abc import Iterator

from unitrank_schemas.facts.facts import MOST_CLUSTERS, Facts, Flaw, cluster_count
from unitrank_schemas.jobs import JobRequest


def kind_fits(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    yield from request.clusters.flaws(request, facts)


def not_too_many(request: JobRequest, facts: Facts) -> Iterator[Flaw]:
    count = cluster_count(request, facts)
    if count > MOST_CLUSTERS:
        detail = f"{count} clusters are too many; at most {MOST_CLUSTERS} are allowed"
        yield Flaw(request.clusters.count_pointer, "too_many_clusters", detail)
