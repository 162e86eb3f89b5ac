"""`unitrank demo`: the whole way through on this machine, from a network in training to a verdict on its rankings."""

import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from rich.console import Console

from unitrank.cli import display
from unitrank.client.sync import Client
from unitrank.errors import NotPossible
from unitrank.exporting import export
from unitrank.server.local import local
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.results import Result

MODEL, DATA, LAYER = "digits-cnn", "digits", "relu1"
METHODS = ["activation", "gradient", {"name": "gradient", "statistic": "mean_abs"}, "gradient_x_delta", "conductance"]


def run(output: Path, seed: int, show: Console) -> Result:
    """The result, which also lies in `output`; all that was started has ended, whatever happened."""
    _prepare(output)
    with tempfile.TemporaryDirectory(prefix="unitrank-demo-", ignore_cleanup_errors=True) as place:
        folder = Path(place)
        with local(folder) as service, Client(service.url) as client:
            # torch takes seconds to import: meanwhile the processes start.
            show.print("starting Valkey, the service and its workers; training a CNN on scikit-learn's scanned digits")
            accuracy = make(folder, seed)
            show.print(f"trained: right for {accuracy:.1%} of the scans that it never saw; exported with torch.export")
            service.await_ready(client)
            show.print(f"service ready on {service.url}")
            result = ask(client, folder, seed, output, show)
    tell(result, output, show)
    return result


def make(folder: Path, seed: int) -> float:
    """Write the demo's model and data into the folder; its accuracy."""
    import torch

    from unitrank.server import demo_network

    data = demo_network.digits(seed)
    trained, accuracy = demo_network.train(data, seed)
    export(trained, torch.from_numpy(data.test[0][:2]), folder / "digits.pt2")
    np.savez(folder / "digits.npz", x=data.test[0], y=data.test[1])
    return accuracy


def ask(client: Client, folder: Path, seed: int, output: Path, show: Console) -> Result:
    """Put model and data, post the job, show its progress; its result, saved in `output`."""
    model = client.models.put(MODEL, folder / "digits.pt2", quiet=True)
    data = client.datasets.put(DATA, folder / "digits.npz", quiet=True)
    show.print(f"PUT model ({model.parameters:,} parameters, {len(model.layers or [])} places) and data ({data.examples} scans)")
    job = client.jobs.submit(request(seed))
    show.print(f"POST job {job.id}: layer {LAYER}, {len(METHODS)} rankings, a cluster for each digit")
    with display.watched(show) as watch:
        job.wait(watch=watch)
    result = job.summary()
    (output / "summary.json").write_text(result.model_dump_json(indent=1) + "\n")
    job.download(output / "arrays.safetensors")
    return result


def request(seed: int) -> JobRequest:
    """The demo's job; what is not said here is the service's default."""
    fields = {"model": MODEL, "layer": LAYER, "dataset": DATA, "methods": METHODS, "clusters": {"by": "label"}, "seed": seed}
    return JobRequest.model_validate(fields)


def _prepare(output: Path) -> None:
    """Raises NotPossible, before anything was started."""
    if find_spec("sklearn") is None:
        raise NotPossible("the demo's digits come with scikit-learn: pip install 'unitrank[demo]'")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotPossible(f"the folder {output} cannot be made: {error.strerror}; choose another with --output") from error


def tell(result: Result, output: Path, show: Console) -> None:
    """Print what a reader wants to know first."""
    layer = result.layer
    show.print(f"\nWhich of the {layer.count} units of {layer.name} matter for each digit, and does the ranking beat chance?\n")
    show.print(display.leaderboard(result))
    show.print("\narea: how fast the score falls when the most important units go first; 1: as with all of them gone")
    share = f"{100 * result.provenance.options['fidelity']['fraction']:.4g} %"
    show.print(f"prediction error: of the sum of scores against the change of the logit when {share} of the units are replaced;")
    show.print(f"whoever predicts no change at all has {display.error_of_nothing(result)}\n")
    show.print(display.top_units(result))
    show.print()
    for warning in display.warnings(result):
        show.print(f"warning {warning}", markup=False, soft_wrap=True)
    show.print(f"\nthe whole summary: {output}/summary.json\nevery score:       {output}/arrays.safetensors", soft_wrap=True)
