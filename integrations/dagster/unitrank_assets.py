"""A Dagster asset with the ranking of a network's units, and a check of it.

Set UNITRANK_URL and UNITRANK_KEY in the environment of the code location, and install the client of
Unitrank there. Materializing the asset runs the job; its metadata has the verdict in words. The
check blocks assets downstream if the ranking is not good enough.
"""

import os
from typing import Any

import dagster as dg

from unitrank import Client
from unitrank.cli.gate import Bounds, checks
from unitrank.client.sync import DEFAULT_URL
from unitrank.results import markdown
from unitrank_schemas.results import LayeredResult


class RankingConfig(dg.Config):
    """The job of the asset.

    `request`: the fields of a job request. `timeout`: seconds to wait for the job.
    """

    request: dict[str, Any]
    timeout: float = 3600


class GateConfig(dg.Config):
    """`bounds`: the fields of `unitrank.cli.gate.Bounds`, such as `{"max_p": 0.05}`."""

    bounds: dict[str, Any]


@dg.asset(kinds={"unitrank"})
def ranked_units(config: RankingConfig) -> dg.MaterializeResult[str]:
    """The id of the job that ranked the units."""
    with _client() as client:
        job = client.jobs.submit(config.request).wait(config.timeout, quiet=True)
        result = job.any_summary()
    metadata = {"job": job.id}
    for layer, part in result.parts().items() if isinstance(result, LayeredResult) else [("", result)]:
        best, of_layer = part.leaderboard[0], f" of {layer}" if layer else ""
        metadata |= {f"best ranking{of_layer}": best.ranking, f"verdict{of_layer}": best.verdict or "not tested"}
    return dg.MaterializeResult(value=job.id, metadata={**metadata, "result": dg.MetadataValue.md(markdown(result))})


@dg.asset_check(asset=ranked_units, blocking=True)
def good_enough(ranked_units: str, config: GateConfig) -> dg.AssetCheckResult:
    """Whether the best ranking meets the bounds."""
    with _client() as client:
        conditions = checks(client.jobs.get(ranked_units).any_summary(), Bounds(**config.bounds))
    values = {check.title: check.value for check in conditions}
    return dg.AssetCheckResult(passed=all(check.met for check in conditions), metadata=values)


defs = dg.Definitions(assets=[ranked_units], asset_checks=[good_enough])


def _client() -> Client:
    return Client(os.environ.get("UNITRANK_URL", DEFAULT_URL), os.environ.get("UNITRANK_KEY"))
