"""Compare the speed of the engine and of Captum on the paper's network, if their scores agree.

It measures conductance, exact ablation, Shapley values, DeepLIFT with one baseline and with 16,
ablation curves, and the test of the rankings of all classes. Runs of the engine and of Captum
alternate in one process; Captum runs with its fastest batch size. A ratio is Captum's seconds
divided by the engine's, medians of `--repeats` runs; for all classes, it is their seconds divided
by those of one class, and for 16 baselines by those of one baseline. The last lines compare
conductance with plain matrix products of the same sizes.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from captum.attr import LayerConductance, LayerDeepLift, LayerDeepLiftShap, LayerFeatureAblation
from examples.paper import DATA_HELP
from rich.console import Console
from rich.table import Table as Lines

from benchmarks.attribution.bench import CLASSES, Bench, EqualError, agree, best_size, in_turns, timed
from benchmarks.attribution.shapley import CHANNELS, PERMUTATIONS, shapley

GOALS = {"relu1": "at most 7", "relu2": "at most 3.5"}
"""Time for all classes, divided by the time for one."""
BASELINES = 16
SAME = {"name": "conductance", "id": "same", "steps": 10, "rule": "left", "spacing": "uniform"}


def conductance(bench: Bench, repeats: int, lines: Lines) -> None:
    zeros = {"baselines": 0}
    for layer in ("relu1", "relu2"):
        options = zeros | {"n_steps": 10, "method": "riemann_trapezoid"}
        size = best_size(lambda size, layer=layer, options=options: bench.captum(LayerConductance, layer, size, **options))
        agree(bench.job(layer, SAME), bench.captum(LayerConductance, layer, size, **options), 1e-4)
        engine_seconds, captum_seconds = in_turns(
            repeats,
            lambda layer=layer: bench.job(layer, SAME),
            lambda layer=layer, size=size, options=options: bench.captum(LayerConductance, layer, size, **options),
        )
        lines.add_row(f"conductance n=10, same rule, {layer}", f"batch {size}", *_figures(engine_seconds, captum_seconds), "1.6")
    equal_error(bench, repeats, lines)


def equal_error(bench: Bench, repeats: int, lines: Lines) -> None:
    """Compare conductance at equal error, for one class and for all classes."""
    for layer in ("relu1", "relu2"):
        equal = EqualError.of(bench, layer)
        seconds = in_turns(repeats, equal.engine, equal.captum)
        lines.add_row(
            f"conductance n={equal.steps}, {equal.errors}, {layer}", f"batch {equal.size}, n=50", *_figures(*seconds), "6"
        )
        all_classes, one_class, one_of_captum = in_turns(repeats, equal.all_classes, equal.engine, equal.captum)
        figures = _figures(all_classes, CLASSES * one_of_captum)
        lines.add_row(f"the same, all ten classes, {layer}", "ten times one class", *figures, "12")
        times = f"{all_classes / one_class:.1f}"
        lines.add_row(f"all ten classes / one class, {layer}", "", f"{all_classes:.3f}", f"{one_class:.3f}", times, GOALS[layer])


def ablation_of_units(bench: Bench, repeats: int, lines: Lines) -> None:
    """Compare the exact ablation of all 1600 units after the second convolution.

    Captum runs on at most 20 images, and its seconds are scaled to all of them: its time per image
    is the same for every image.
    """
    images, layer = min(20, len(bench.x)), "relu2"
    options = {"layer_baselines": 0}
    per_eval = min(
        (1, 4, 16),
        key=lambda per: timed(
            lambda: bench.captum(LayerFeatureAblation, layer, images, images, perturbations_per_eval=per, **options)
        ),
    )
    run_captum = lambda: bench.captum(LayerFeatureAblation, layer, images, images, perturbations_per_eval=per_eval, **options)  # noqa: E731
    part = {"clusters": {"by": "members", "members": {"some": list(range(images))}}}
    method = {"name": "exact_ablation", "fill": "zero"}
    agree(bench.job(layer, method, **part), run_captum(), 1e-4)
    captum_seconds = statistics.median(timed(run_captum) for _ in range(min(3, repeats))) * len(bench.x) / images
    engine_seconds = statistics.median(timed(lambda: bench.job(layer, method)) for _ in range(repeats))
    lines.add_row("exact ablation, 1600 units, relu2", f"{per_eval} at once", *_figures(engine_seconds, captum_seconds), "40")
    all_classes = statistics.median(timed(lambda: bench.classes(layer, method)) for _ in range(repeats))
    lines.add_row("the same, all ten classes", "ten times one class", *_figures(all_classes, CLASSES * captum_seconds), "400")


def shapley_values(bench: Bench, repeats: int, lines: Lines) -> None:
    """Compare Shapley values of all channels, on at most 20 images."""
    per_eval, *seconds = shapley(bench, repeats)
    lines.add_row(
        f"Shapley, {CHANNELS} channels, {PERMUTATIONS} permutations, relu2", f"{per_eval} at once", *_figures(*seconds), "50"
    )


def deeplift(bench: Bench, repeats: int, lines: Lines) -> None:
    method = {"name": "deeplift", "rules": "rescale"}
    for layer in ("relu1", "relu2"):
        size = best_size(lambda size, layer=layer: bench.captum(LayerDeepLift, layer, size))
        agree(bench.job(layer, method), bench.captum(LayerDeepLift, layer, size), 1e-4)
        engine_seconds, captum_seconds = in_turns(
            repeats,
            lambda layer=layer: bench.job(layer, method),
            lambda layer=layer, size=size: bench.captum(LayerDeepLift, layer, size),
        )
        lines.add_row(f"DeepLIFT Rescale, {layer}", f"batch {size}", *_figures(engine_seconds, captum_seconds), "1")


def baselines(bench: Bench, repeats: int, lines: Lines) -> None:
    """Compare DeepLIFT with 16 baselines with one baseline, and with Captum's DeepLiftShap.

    Captum runs on at most 100 images, and its seconds are scaled to all of them.
    """
    one, several = {"kind": "example", "index": 0}, {"kind": "examples", "count": BASELINES}
    images = min(100, len(bench.x))
    for layer in ("relu1", "relu2"):
        for rules in ("rescale", "default"):
            method = {"name": "deeplift", "rules": rules}
            seconds = in_turns(
                repeats,
                lambda layer=layer, method=method: bench.job(layer, method, baseline=several),
                lambda layer=layer, method=method: bench.job(layer, method, baseline=one),
            )
            figures = f"{seconds[0]:.3f}", f"{seconds[1]:.3f}", f"{seconds[0] / seconds[1]:.1f}"
            lines.add_row(f"DeepLIFT {rules}, 16 baselines / one, {layer}", "", *figures, "at most 6")
        method = {"name": "deeplift", "rules": "rescale"}
        run = lambda layer=layer: bench.captum(LayerDeepLiftShap, layer, 10, images, baselines=bench.x[:BASELINES])  # noqa: E731
        captum_seconds = statistics.median(timed(run) for _ in range(min(3, repeats))) * len(bench.x) / images
        engine_seconds = statistics.median(
            timed(lambda layer=layer, method=method: bench.job(layer, method, baseline=several)) for _ in range(repeats)
        )
        lines.add_row(f"DeepLIFT Rescale, 16 baselines, {layer}", "batch 10", *_figures(engine_seconds, captum_seconds), "1")


def curves(bench: Bench, repeats: int, lines: Lines) -> None:
    """Compare the ablation curves of one ranking and 99 random orders on 200 test images.

    Captum has no such curves. A loop of whole passes with a masking hook is measured instead.
    """
    images = min(200, len(bench.x))
    study = {"random": 99, "orders": ["most"], "check_fill": None, "split": "none", "fill": "zero", "examples": images}
    part = {"clusters": {"by": "members", "members": {"some": list(range(images))}}}
    request = bench.request("relu2", {"name": "activation"}, ablation=study, **part)
    fractions = request.ablation.fractions if request.ablation else []
    counts = [int(fraction * 1600) for fraction in fractions]
    orders = [torch.randperm(1600) for _ in range(len(counts) and 101)]

    def run_hooked_passes() -> None:
        masked = torch.zeros(1600, dtype=torch.bool)
        hook = bench.net.relu2.register_forward_hook(lambda module, inputs, h: h.masked_fill(masked.reshape(1, 64, 5, 5), 0.0))
        with torch.no_grad():
            for order in orders:
                for count in counts:
                    masked[:] = False
                    masked[order[:count]] = True
                    bench.net(bench.x[:images])
        hook.remove()

    engine_seconds, hook_seconds = in_turns(
        repeats, lambda: bench.job("relu2", {"name": "activation"}, ablation=study, **part), run_hooked_passes
    )
    lines.add_row("ablation curves, 99 random orders, relu2", f"{images} a pass", *_figures(engine_seconds, hook_seconds), "5")


def tests_of_classes(bench: Bench, repeats: int, lines: Lines) -> None:
    """Compare the test of all classes' rankings with that of one class's ranking, on 100 images.

    A job with one cluster and one ranking needs no relabelled controls, so its ratio is larger.
    """
    rows = list(range(min(100, len(bench.x))))
    part = {"clusters": {"by": "members", "members": {"some": rows}}, "ablation": {"random": 99}}
    two = {"clusters": {"by": "members", "members": {"first": rows[::2], "second": rows[1::2]}}, "ablation": {"random": 99}}
    method = {"name": "gradient_x_activation"}
    for name, options in (("one cluster", part), ("two clusters", two)):
        all_classes, one_class = in_turns(
            min(3, repeats),
            lambda options=options: bench.classes("relu2", method, **options),
            lambda options=options: bench.job("relu2", method, **options),
        )
        times = f"{all_classes / one_class:.1f}"
        figures = f"{all_classes:.3f}", f"{one_class:.3f}", times
        lines.add_row(f"test of all classes / one class, {name}, relu2", "", *figures, f"at most {CLASSES}")


def rate(bench: Bench, console: Console) -> None:
    """Print the rate of a conductance job, and the rate of its matrix products alone."""
    rows = 132
    passes = 10 * len(bench.x) / rows
    shapes = {
        "relu1": [
            (64, 512, 25 * rows),
            (512, 64, 25 * rows),
            (rows, 1600, 128),
            (rows, 128, 1600),
            (rows, 128, 10),
            (rows, 10, 128),
        ],
        "relu2": [(64, 512, 25 * rows), (rows, 1600, 128), (rows, 128, 1600), (rows, 128, 10), (rows, 10, 128)],
    }
    for layer, products in shapes.items():
        operands = [(torch.randn(m, k), torch.randn(k, n)) for m, k, n in products]
        plain = statistics.median(timed(lambda: [a @ b for a, b in operands]) for _ in range(30)) * passes  # noqa: B023
        job = statistics.median(timed(lambda: bench.job(layer, SAME)) for _ in range(5))  # noqa: B023
        operations = sum(2 * m * k * n for m, k, n in products) * passes
        console.print(
            f"conductance, {layer}: the job computes {operations / job / 1e9:.0f} GFLOP/s, its matrix products alone "
            f"{operations / plain / 1e9:.0f} GFLOP/s; the job takes {job / plain:.2f} times as long (goal 1.6)"
        )


def _figures(engine_seconds: float, captum_seconds: float) -> tuple[str, str, str]:
    return f"{engine_seconds:.3f}", f"{captum_seconds:.3f}", f"{captum_seconds / engine_seconds:.1f}"


PARTS: dict[str, Callable[[Bench, int, Lines], None]] = {
    "conductance": conductance,
    "deeplift": deeplift,
    "baselines": baselines,
    "exact_ablation": ablation_of_units,
    "shapley": shapley_values,
    "curves": curves,
    "classes": tests_of_classes,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("UNITRANK_MNIST"), help=DATA_HELP)
    parser.add_argument("--images", type=int, default=2000, help="number of test images")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--repeats", type=int, default=5, help="measured runs; the table has their median")
    parser.add_argument("--only", nargs="+", choices=[*PARTS, "rate"], default=[*PARTS, "rate"], help="parts to measure")
    arguments = parser.parse_args()
    if arguments.data is None:
        print(f"skipped: --data is missing: {DATA_HELP}")
        return
    torch.set_num_threads(arguments.threads)
    console = Console(width=130)
    lines = Lines("measured", "Captum's best", "engine s", "Captum s", "ratio", "goal")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(arguments.data), Path(folder), arguments.images)
        for name in arguments.only:
            if name in PARTS:
                PARTS[name](bench, arguments.repeats, lines)
        console.print(lines)
        if "rate" in arguments.only:
            rate(bench, console)


if __name__ == "__main__":
    main()
