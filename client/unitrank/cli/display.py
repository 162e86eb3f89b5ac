"""Displays a job in a terminal: its progress, its leaderboard and its warnings."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table

from unitrank_schemas.class_names import named
from unitrank_schemas.jobs import Job
from unitrank_schemas.leading import leading
from unitrank_schemas.results import VERDICT_LABELS, Leader, Overall, Result, UnitExamples, UnitInRanking, Warn

VERDICT_STYLES = {
    "better_than_random": "green",
    "no_better_than_random": "yellow",
    "worse_than_random": "red",
    "undecided": "dim",
    None: "dim",
}
STRENGTHS = {True: ", robust", False: ", fragile", None: ""}
# Without a terminal a line of progress is printed at most this often (s), and for each new stage.
LINE_SECONDS = 5.0
UNIT_COLUMNS = ("ranking", "cluster", "importance", "rank", "effect", "highest scores", "lowest", "highest activations", "lowest")
# The width of tables without a terminal.
WIDTH = 110


def console(stderr: bool = False) -> Console:
    """A console on stdout, or on stderr if stdout has JSON."""
    plain = Console(highlight=False, stderr=stderr)
    return plain if plain.is_terminal else Console(highlight=False, stderr=stderr, width=WIDTH)


@contextmanager
def watching(screen: Console) -> Iterator[Callable[[Job], None]]:
    """Yields a function that displays a job's states: a bar in a terminal, else lines."""
    if not screen.is_terminal:
        yield _Lines(screen).show
        return
    columns = (TextColumn("  {task.description:<24}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[amount]}"))
    with Progress(*columns, console=screen) as progress:
        bar = progress.add_task("queued", total=None, amount="")

        def show(job: Job) -> None:
            stage = job.progress
            if stage is not None and job.status == "running":
                progress.update(bar, description=stage.stage, completed=stage.done, total=stage.total, amount=_amount(job))
            elif job.status == "succeeded":
                progress.update(bar, description="done", completed=1, total=1, amount="")
            else:
                progress.update(bar, description=job.status)

        yield show


class _Lines:
    def __init__(self, screen: Console) -> None:
        self._screen = screen
        self._stage = ""
        self._printed_at = 0.0

    def show(self, job: Job) -> None:
        stage = job.progress.stage if job.progress and job.status == "running" else job.status
        if stage != self._stage or time.monotonic() - self._printed_at >= LINE_SECONDS:
            self._screen.print(f"  {stage:<24} {_amount(job)}".rstrip())
            self._stage, self._printed_at = stage, time.monotonic()


def _amount(job: Job) -> str:
    progress = job.progress
    if progress is None or job.status != "running":
        return ""
    left = f", about {progress.eta:.0f} s left" if progress.eta is not None else ""
    return f"{progress.done:,} of {progress.total:,} {progress.unit}{left}" if progress.total else ""


def leaderboard(result: Result) -> Table:
    """The leaderboard as a table, the best ranking first, with the verdict in the first column."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("verdict over all clusters")
    table.add_column("ranking")
    table.add_column("clusters better", justify="right")
    table.add_column("area", justify="right")
    table.add_column("prediction error", justify="right")
    overall = {ranking.id: ranking.overall for ranking in result.rankings}
    for leader in result.leaderboard:
        strength = "" if leader.verdict != "better_than_random" else STRENGTHS[leader.robust]
        label, style = VERDICT_LABELS[leader.verdict], VERDICT_STYLES[leader.verdict]
        table.add_row(
            f"[{style}]{label}[/]{strength}{_p_value(overall[leader.ranking])}",
            leader.ranking,
            _clusters(leader),
            _number(leader.area),
            _number(leader.mae),
        )
    return table


def error_of_no_change(result: Result) -> str:
    """The error of always predicting no change: a reference for the rankings' errors."""
    errors = [ranking.fidelity.mae_of_zero for ranking in result.rankings if ranking.fidelity]
    return _number(errors[0] if errors else None)


def top_units(result: Result) -> Table:
    """The five most important units of each cluster in the best ranking."""
    ranking = leading(result)
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("cluster", justify="right")
    table.add_column("examples", justify="right")
    axes = ", as channel,row,column" if len(result.layer.shape) == 3 else ""
    table.add_column(f"most important units by {ranking.id}{axes}")
    for cluster in result.clusters:
        top = ranking.clusters[cluster.name].top[:5]
        table.add_row(cluster.name, str(cluster.examples), "  ".join(",".join(map(str, unit.index)) for unit in top))
    return table


def warnings(result: Result) -> list[str]:
    """The warnings, one line for each code and ranking, with the detail of the first cluster."""
    groups: dict[tuple[str, str], list[Warn]] = {}
    for warning in result.warnings:
        groups.setdefault((warning.code, warning.ranking or ""), []).append(warning)
    return [_warning_line(code, ranking, group, len(result.clusters)) for (code, ranking), group in groups.items()]


def _warning_line(code: str, ranking: str, group: list[Warn], clusters: int) -> str:
    names = [warning.cluster for warning in group if warning.cluster is not None]
    plural = "s" if clusters > 1 else ""
    where = f"in {len(names)} of {clusters} cluster{plural}, for example in cluster {names[0]}" if names else ""
    subject = " ".join(filter(None, [ranking, where]))
    return ": ".join(filter(None, [code, subject, group[0].detail]))


def unit_lines(ranking: UnitInRanking, names: Mapping[str, str], of_clusters: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    """The rows of a table with the columns `UNIT_COLUMNS`: one for each cluster.

    `names`: number of a class → its name. `of_clusters`: the same, if the clusters are classes.
    """
    id = named(ranking.id, names)
    for cluster, value in ranking.clusters.items():
        effect = f"{value.effect.value:.4g} ({value.effect.source})" if value.effect else "–"
        rank = "–" if value.rank is None else str(value.rank)
        yield (
            id,
            named(cluster, of_clusters),
            _number(value.importance),
            rank,
            effect,
            *_examples(value.score),
            *_examples(value.activation),
        )


def _examples(examples: UnitExamples | None) -> tuple[str, str]:
    """The rows with the largest and the smallest values, each with its value."""
    lists = (examples.largest, examples.smallest) if examples else ((), ())
    largest, smallest = (", ".join(f"{each.row} ({each.value:.3g})" for each in entries) or "–" for entries in lists)
    return largest, smallest


def _p_value(overall: Overall | None) -> str:
    return f" (p = {overall.deciding_p:.2g})" if overall and overall.deciding_p is not None else ""


def _clusters(leader: Leader) -> str:
    return f"{leader.better_than_random} of {leader.of}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
