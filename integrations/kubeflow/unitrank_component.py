"""A component of Kubeflow Pipelines that ranks the units of a network, and fails if the ranking is
not good enough.

The container needs UNITRANK_URL, and UNITRANK_KEY from a secret: `kubernetes.use_secret_as_env` of
kfp-kubernetes sets it. The image needs the client of Unitrank, such as the image of the service.
"""

from kfp import dsl


@dsl.component(base_image="unitrank:latest")
def rank_units(
    model: dsl.Input[dsl.Model],
    dataset: dsl.Input[dsl.Dataset],
    request: dict,
    bounds: dict,
    summary: dsl.Output[dsl.Markdown],
    metrics: dsl.Output[dsl.Metrics],
    timeout: float = 3600,
) -> str:
    """Ranks the units, checks the best ranking, and returns the job's id.

    Args:
        model: archive that `unitrank.export` wrote.
        dataset: .npz or safetensors file.
        request: the fields of a job request without `model` and `dataset`.
        bounds: the fields of `unitrank.cli.gate.Bounds`, such as `{"max_p": 0.05}`.
        summary: the verdict in words, the leaderboard and the warnings.
        metrics: the checked numbers.
        timeout: seconds to wait for the job.
    """
    # A component is run alone: everything that it needs is imported in it.
    import os
    from pathlib import Path

    from unitrank import Client
    from unitrank.cli.gate import Bounds, checks
    from unitrank.client.sync import DEFAULT_URL
    from unitrank.results import markdown

    with Client(os.environ.get("UNITRANK_URL", DEFAULT_URL), os.environ.get("UNITRANK_KEY")) as client:
        network = client.models.put("kubeflow-model", Path(model.path), quiet=True)
        data = client.datasets.put("kubeflow-dataset", Path(dataset.path), quiet=True)
        # The digests name the exact contents: another run may use the same names now.
        names = {"model": f"{network.name}@{network.digest}", "dataset": f"{data.name}@{data.digest}"}
        job = client.jobs.submit({**request, **names}).wait(timeout, quiet=True)
        result = job.any_summary()
    Path(summary.path).write_text(markdown(result), encoding="utf-8")
    conditions = checks(result, Bounds(**bounds))
    for check in conditions:
        metrics.log_metric(check.title, check.value)
    if failed := [f"{check.title}: {check.value}" for check in conditions if not check.met]:
        raise RuntimeError(f"job {job.id}: not met: {'; '.join(failed)}")
    return job.id
