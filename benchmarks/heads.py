"""The time of a test of attention heads, compared with a loop of hooks.

    python -m benchmarks.heads [--heads 8] [--examples 10] [--threads 1] [--repeats 2]

A GPT-2 of 6 layers is created from a configuration, with random weights. The units are the heads of
one layer. The test replaces the first heads of an order by zero, in each of two clusters. The
orders are the cluster's ranking, its 99 relabelled controls and 99 random orders.

The loop runs the same masks on the same examples in eager PyTorch: a hook sets heads to zero, and
the examples of a cluster are one batch. The engine runs a whole job. Both must find the same drops.
The engine runs equal masks once, and only the layers behind the heads: the ratio is smaller for
early blocks and for more heads. The last column is the ratio to the loop's time without the random
orders, which the job cannot leave out.
"""

import argparse
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table as Lines
from tests.engine.in_process import RESOLVED, program_of
from torch import Tensor, nn
from transformers import GPT2Config, GPT2Model

from benchmarks.attribution.bench import timed
from benchmarks.support.goals import report_missed
from unitrank_engine.ablation.masks.fill_tests import FillTests
from unitrank_engine.ablation.masks.orders import Orders
from unitrank_engine.job.baselines import find_baselines
from unitrank_engine.job.batch_size import rows_at_once
from unitrank_engine.job.fills import Fills
from unitrank_engine.pipeline import prepare, run
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.methods import with_ids
from unitrank_tables import open_table

BLOCKS, CLASSES, WORDS = 6, 5, 100
CONTROLS = 99
FRACTIONS = [0.125, 0.25, 0.5]
CLUSTERS = ("first", "second")
GOAL = 5.0
WITHIN = 1e-5
"""Largest difference of two drops, as a share of the largest drop."""


class Reader(nn.Module):
    """A GPT-2 with one logit for each class, at the last word."""

    def __init__(self, heads: int, width: int, length: int) -> None:
        super().__init__()
        sizes = {"n_embd": width, "n_layer": BLOCKS, "n_head": heads, "n_positions": length}
        ends = {"bos_token_id": None, "eos_token_id": None}
        self.body = GPT2Model(GPT2Config(vocab_size=WORDS, **sizes, **ends))
        self.end = nn.Linear(width, CLASSES)

    def forward(self, words: Tensor) -> Tensor:
        logits: Tensor = self.end(self.body(words).last_hidden_state[:, -1])
        return logits


class Heads:
    """The heads of one layer, for a job and for the loop.

    `examples`: the number of examples of each cluster.
    """

    def __init__(self, folder: Path, arguments: argparse.Namespace) -> None:
        torch.manual_seed(0)
        self.heads, self.examples = arguments.heads, arguments.examples
        self.net = Reader(arguments.heads, arguments.width, arguments.length).eval()
        generator = np.random.default_rng(0)
        words = generator.integers(WORDS, size=(len(CLUSTERS) * self.examples, arguments.length))
        np.savez(folder / "data.npz", words=words)
        self.words = torch.from_numpy(words)
        self.importance = {name: generator.normal(size=self.heads) for name in CLUSTERS}
        self.program = program_of(self.net, self.words[:2])
        self.table = open_table(folder / "data.npz").__enter__()

    def request(self, block: int) -> JobRequest:
        members = {name: list(self.rows(number)) for number, name in enumerate(CLUSTERS)}
        scores = {name: values.tolist() for name, values in self.importance.items()}
        fields: dict[str, Any] = {
            "model": "m",
            "dataset": "d",
            "layer": layer_of(block),
            "at": "input",
            "inputs": {"words": "words"},
        }
        fields |= {"units": {"axis": -1, "groups": self.heads}, "target": {"class": 1}, "fidelity": None}
        fields |= {"clusters": {"by": "members", "members": members}}
        fields |= {"methods": [{"name": "given", "importance": scores, "made_on": "none"}]}
        study = {"random": CONTROLS, "orders": ["most"], "fractions": FRACTIONS, "fill": "zero", "check_fill": None}
        fields |= {"ablation": study | {"split": "none", "specificity": False, "examples": self.examples}}
        request = JobRequest.model_validate(fields)
        return request.model_copy(update={"methods": with_ids(request.methods)})

    def rows(self, cluster: int) -> range:
        return range(cluster * self.examples, (cluster + 1) * self.examples)

    def job(self, block: int) -> None:
        """Run a whole job."""
        run(self.request(block), RESOLVED, self.program, self.table, lambda progress: None)

    def drops(self, block: int) -> np.ndarray:
        """The engine's mean drops, `[clusters, orders, counts]`."""
        request = self.request(block)
        context = prepare(request, RESOLVED, self.program, self.table, lambda progress: None)
        assert request.ablation is not None
        context.meter.plan("ablation", 0, 0.0)
        batch = rows_at_once(self.program)
        test = FillTests.of(request.ablation, Fills(context, find_baselines(context, batch), batch)).main
        tested = test.run({"given": [self.importance[name] for name in CLUSTERS]})
        drops = []
        for each in tested:
            ranking = each.rankings["given"]
            curves = [ranking.orders["most"], ranking.relabelled, each.random]
            drops.append(each.intact - np.concatenate([curve.score for curve in curves]))
        return np.stack(drops)

    def orders(self, block: int) -> list[list[np.ndarray]]:
        """The ranking, the relabelled controls and the random orders of each cluster.

        An order has the numbers of the heads, the first one first.
        """
        context = prepare(self.request(block), RESOLVED, self.program, self.table, lambda progress: None)
        orders = Orders(self.heads, context.streams)
        ranked = [orders.most(self.importance[name], name) for name in CLUSTERS]
        sigmas = [orders.random(number) for number in range(CONTROLS)]
        return [[np.argsort(each) for each in [most, *(most[sigma] for sigma in sigmas), *sigmas]] for most in ranked]

    def hooked(self, block: int, orders: list[list[np.ndarray]]) -> np.ndarray:
        """The loop's mean drops, `[clusters, orders, counts]`."""
        replaced: list[int] = []

        def zero(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            by_head = inputs[0].clone().view(*inputs[0].shape[:-1], self.heads, -1)
            by_head[..., replaced, :] = 0
            return (by_head.view(inputs[0].shape),)

        counts = [max(1, int(fraction * self.heads)) for fraction in FRACTIONS]
        drops = np.zeros((len(CLUSTERS), len(orders[0]), len(counts)))
        hook = self.net.get_submodule(layer_of(block)).register_forward_pre_hook(zero)
        with torch.no_grad():
            for cluster, of_cluster in enumerate(orders):
                words = self.words[self.rows(cluster)]
                replaced = []
                intact = self.net(words)[:, 1]
                for number, order in enumerate(of_cluster):
                    for column, count in enumerate(counts):
                        replaced = list(order[:count])
                        drops[cluster, number, column] = (intact - self.net(words)[:, 1]).mean()
        hook.remove()
        return drops


def layer_of(block: int) -> str:
    """The layer whose input has the heads of a block, one after another."""
    return f"body.h.{block}.attn.c_proj"


def agree(engine: np.ndarray, loop: np.ndarray) -> None:
    """Raises SystemExit if the drops differ."""
    difference = np.abs(engine - loop).max() / np.abs(loop).max()
    if difference > WITHIN:
        raise SystemExit(f"the drops differ by {difference:.1e} of the largest drop, more than {WITHIN}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", type=int, default=8, help="number of heads in a layer")
    parser.add_argument("--width", type=int, default=128, help="width of the network, a multiple of the heads")
    parser.add_argument("--length", type=int, default=32, help="number of words of an example")
    parser.add_argument("--examples", type=int, default=10, help="test examples of each cluster")
    parser.add_argument("--blocks", type=int, nargs="+", default=[0, 2, 5], help="blocks whose heads are tested")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--repeats", type=int, default=2, help="measured runs; the table has their median")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    lines, missed = Lines("heads of block", "engine, s", "loop, s", "ratio", "goal", "without random orders"), []
    with tempfile.TemporaryDirectory() as folder:
        heads = Heads(Path(folder), arguments)
        for block in arguments.blocks:
            orders = heads.orders(block)
            agree(heads.drops(block), heads.hooked(block, orders))
            times = [
                (timed(partial(heads.job, block)), timed(partial(heads.hooked, block, orders))) for _ in range(arguments.repeats)
            ]
            engine, loop = (statistics.median(each) for each in zip(*times, strict=True))
            part = (1 + CONTROLS) / len(orders[0])
            ratios = f"{loop / engine:.1f}", f"{GOAL:g}", f"{loop / engine * part:.1f}"
            lines.add_row(str(block), f"{engine:.3f}", f"{loop:.3f}", *ratios)
            if loop < GOAL * engine:
                missed.append(f"block {block}: {loop / engine:.1f} times, not {GOAL:g}")
    Console(width=130).print(lines)
    report_missed(missed)


if __name__ == "__main__":
    main()
