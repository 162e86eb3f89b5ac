"""`unitrank demo`: trains a network, ranks its units over HTTP, and prints the verdicts."""

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
from unitrank_schemas.verdict_text import verdict_in_words

MODEL, DATA, LAYER = "digits-cnn", "digits", "relu1"
METHODS = ["activation", "gradient", {"name": "gradient", "statistic": "mean_abs"}, "gradient_x_delta", "conductance"]


def run(output: Path, seed: int, console: Console) -> Result:
    """Runs the demo, and returns the result. All processes of the demo have ended by then.

    Args:
        output: the folder that the result is written to.
        seed: the seed of the training and of the job.
        console: the console that the progress and the result are printed to.

    Raises NotPossible if scikit-learn is missing or the folder cannot be created.
    """
    _prepare(output)
    with tempfile.TemporaryDirectory(prefix="unitrank-demo-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with local(folder) as service, Client(service.url) as client:
            # The processes start while torch is imported, which takes seconds.
            console.print("starting Valkey, the service and its workers; training a CNN on scikit-learn's scanned digits")
            accuracy = make(folder, seed)
            console.print(f"trained: {accuracy:.1%} of the test scans are classified correctly; exported with torch.export")
            service.await_ready(client)
            console.print(f"service ready on {service.url}")
            result = rank(client, folder, seed, output, console)
    print_result(result, output, console)
    return result


def make(folder: Path, seed: int) -> float:
    """Writes the demo's model and data into the folder. Returns the accuracy of the model."""
    import torch

    from unitrank.server import demo_network

    data = demo_network.digits(seed)
    network, accuracy = demo_network.train(data, seed)
    export(network, torch.from_numpy(data.test[0][:2]), folder / "digits.pt2")
    np.savez(folder / "digits.npz", x=data.test[0], y=data.test[1])
    return accuracy


def rank(client: Client, folder: Path, seed: int, output: Path, console: Console) -> Result:
    """Uploads the model and the data, runs the job, and saves its result in `output`."""
    model = client.models.put(MODEL, folder / "digits.pt2", quiet=True)
    data = client.datasets.put(DATA, folder / "digits.npz", quiet=True)
    layers = len(model.layers or [])
    console.print(f"PUT model ({model.parameters:,} parameters, {layers} layers) and dataset ({data.examples} scans)")
    job = client.jobs.submit(request(seed))
    console.print(f"POST job {job.id}: layer {LAYER}, {len(METHODS)} rankings, one cluster per digit")
    with display.watching(console) as watch:
        job.wait(watch=watch)
    result = job.summary()
    (output / "summary.json").write_text(result.model_dump_json(indent=1) + "\n")
    job.download(output / "arrays.safetensors")
    return result


def request(seed: int) -> JobRequest:
    """The demo's job. All other fields have the service's defaults."""
    fields = {"model": MODEL, "layer": LAYER, "dataset": DATA, "methods": METHODS, "clusters": {"by": "label"}, "seed": seed}
    return JobRequest.model_validate(fields)


def _prepare(output: Path) -> None:
    """Checks that scikit-learn is installed, and creates the output folder. Raises NotPossible."""
    if find_spec("sklearn") is None:
        raise NotPossible("scikit-learn, which has the demo's digits, is not installed: pip install 'unitrank[demo]'")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotPossible(f"the folder {output} cannot be created: {error.strerror}; choose another with --output") from error


def print_result(result: Result, output: Path, console: Console) -> None:
    """Prints the leaderboard, the most important units, the warnings and the names of the files."""
    layer = result.layer
    share = f"{100 * result.provenance.options['fidelity']['fraction']:.4g} %"
    console.print(
        f"\nWhich of the {layer.count} units of {layer.name} matter for each digit, "
        "and is each ranking better than a random order?\n"
    )
    for line in verdict_in_words(result)[:2]:
        console.print(line, markup=False, soft_wrap=True)
    console.print()
    console.print(display.leaderboard(result))
    console.print("\narea: mean drop of the score while the most important units are replaced first, divided by the")
    console.print("  drop when all units are replaced. Above 1: replacing only the top units lowers the score more.")
    console.print(f"prediction error: mean |sum of scores − real change of the logit| when {share} of the units are replaced.")
    console.print(f'  Always predicting "no change" has the error {display.error_of_no_change(result)}.\n')
    console.print(display.top_units(result))
    console.print()
    for warning in display.warnings(result):
        console.print(f"warning {warning}", markup=False, soft_wrap=True)
    console.print(f"\nsummary:    {output}/summary.json\nall scores: {output}/arrays.safetensors", soft_wrap=True)
