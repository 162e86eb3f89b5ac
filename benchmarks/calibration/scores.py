"""Scores of the benchmark's rankings: noise, true scores, and mixtures of both."""

from collections.abc import Callable

import numpy as np

from benchmarks.calibration.jobs import Job, Scores

Make = Callable[[Job, np.random.Generator], Scores]
"""Makes the scores of all rankings of a job."""


def _rankings(job: Job) -> list[str]:
    return [str(entry.id) for entry in job.context.request.methods]


def independent(job: Job, random: np.random.Generator) -> Scores:
    """Return normal noise, drawn for each cluster and ranking."""
    return {name: [random.standard_normal(job.context.units.count) for _ in job.context.clusters] for name in _rankings(job)}


def one_order(job: Job, random: np.random.Generator) -> Scores:
    """Return normal noise, drawn for each ranking and used in all clusters."""
    clusters, units = len(job.context.clusters), job.context.units.count
    return {name: [random.standard_normal(units)] * clusters for name in _rankings(job)}


def similar_orders(job: Job, random: np.random.Generator) -> Scores:
    """Return noise that clusters share, plus a tenth of noise that is drawn for each cluster."""
    return {
        name: [shared + 0.1 * own for shared, own in zip(both[0], both[1], strict=True)]
        for name in _rankings(job)
        for both in [(one_order(job, random)[name], independent(job, random)[name])]
    }


def tied(job: Job, random: np.random.Generator) -> Scores:
    """Return normal noise where two thirds of the scores are 0."""
    units = job.context.units.count
    return {name: [each * (random.random(units) < 1 / 3) for each in of] for name, of in independent(job, random).items()}


def fitted(job: Job, random: np.random.Generator) -> Scores:
    """Return a method's scores of the only ranking, from the examples that rank."""
    (name,) = _rankings(job)
    return {name: job.scores()}


def mixture(share: float) -> Make:
    """Return a maker of share · true scores + (1 − share) · noise, for every ranking.

    The true scores are standardised over the units of a cluster: mean 0, deviation 1. The noise is
    standard normal.
    """

    def make(job: Job, random: np.random.Generator) -> Scores:
        true = [(each - each.mean()) / each.std() for each in job.scores()]
        noise = independent(job, random)
        return {name: [share * a + (1 - share) * b for a, b in zip(true, of, strict=True)] for name, of in noise.items()}

    return make


def one_true(job: Job, random: np.random.Generator) -> Scores:
    """Return true scores for the last ranking, and noise for the other rankings."""
    return {**independent(job, random), _rankings(job)[-1]: job.scores()}


def equally_good(job: Job, random: np.random.Generator) -> Scores:
    """Return true scores of the network `Twins`; noise orders each pair of twins."""
    true = [each.reshape(2, -1).mean(0) for each in job.scores()]
    return {
        name: [np.tile(each, 2) + 1e-6 * each.std() * random.standard_normal(2 * len(each)) for each in true]
        for name in _rankings(job)
    }
