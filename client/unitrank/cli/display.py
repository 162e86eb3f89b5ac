"""What a job looks like in a terminal: its progress while it runs, its leaderboard when it is done."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table

from unitrank_schemas.jobs import Job
from unitrank_schemas.results import VERDICT_LABELS, Leader, Overall, Result, Warn

VERDICT_STYLES = {
    "better_than_random": "green",
    "no_better_than_random": "yellow",
    "worse_than_random": "red",
    "undecided": "dim",
    None: "dim",
}
# Where nobody looks at a bar, a line says enough this often (s).
LINE_SECONDS = 5.0
# Tables are not cut where no terminal says how wide it is.
WIDTH = 110


def console(stderr: bool = False) -> Console:
    """Standard output, or else what programs do not read."""
    plain = Console(highlight=False, stderr=stderr)
    return plain if plain.is_terminal else Console(highlight=False, stderr=stderr, width=WIDTH)


@contextmanager
def watched(screen: Console) -> Iterator[Callable[[Job], None]]:
    """Shows each state that is handed in: a bar in a terminal, lines elsewhere."""
    if not screen.is_terminal:
        yield _Lines(screen).show
        return
    columns = (TextColumn("  {task.description:<24}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[amount]}"))
    with Progress(*columns, console=screen) as progress:
        bar = progress.add_task("queued", total=None, amount="")

        def show(job: Job) -> None:
            at = job.progress
            if at is not None and job.status == "running":
                progress.update(bar, description=at.stage, completed=at.done, total=at.total, amount=_amount(job))
            elif job.status == "succeeded":
                progress.update(bar, description="done", completed=1, total=1, amount="")
            else:
                progress.update(bar, description=job.status)

        yield show


class _Lines:
    def __init__(self, screen: Console) -> None:
        self._screen = screen
        self._stage = ""
        self._at = 0.0

    def show(self, job: Job) -> None:
        stage = job.progress.stage if job.progress and job.status == "running" else job.status
        if stage != self._stage or time.monotonic() - self._at >= LINE_SECONDS:
            self._screen.print(f"  {stage:<24} {_amount(job)}".rstrip())
            self._stage, self._at = stage, time.monotonic()


def _amount(job: Job) -> str:
    progress = job.progress
    if progress is None or job.status != "running":
        return ""
    left = f", about {progress.eta:.0f} s left" if progress.eta is not None else ""
    return f"{progress.done:,} of {progress.total:,} {progress.unit}{left}" if progress.total else ""


def leaderboard(result: Result) -> Table:
    """The rankings, best first, the verdict in words before any number."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("verdict over all clusters")
    table.add_column("ranking")
    table.add_column("clusters better", justify="right")
    table.add_column("mean area", justify="right")
    table.add_column("prediction error", justify="right")
    overall = {ranking.id: ranking.overall for ranking in result.rankings}
    for leader in result.leaderboard:
        words, style = VERDICT_LABELS[leader.verdict], VERDICT_STYLES[leader.verdict]
        table.add_row(
            f"[{style}]{words}[/]{_chance(overall[leader.ranking])}",
            leader.ranking,
            _clusters(leader),
            _number(leader.mean_area),
            _number(leader.mae),
        )
    return table


def error_of_nothing(result: Result) -> str:
    """The error of predicting no change, beside which the others stand."""
    errors = [ranking.fidelity.mae_of_zero for ranking in result.rankings if ranking.fidelity]
    return _number(errors[0] if errors else None)


def top_units(result: Result) -> Table:
    """The five most important units of each cluster by the leading ranking."""
    first = result.leaderboard[0].ranking
    ranking = next(ranking for ranking in result.rankings if ranking.id == first)
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("cluster", justify="right")
    table.add_column("examples", justify="right")
    axes = ", as channel,row,column" if len(result.layer.shape) == 3 else ""
    table.add_column(f"most important units by {first}{axes}")
    for cluster in result.clusters:
        top = ranking.clusters[cluster.name].top[:5]
        table.add_row(cluster.name, str(cluster.examples), "  ".join(",".join(map(str, unit.index)) for unit in top))
    return table


def warnings(result: Result) -> list[str]:
    """What a reader should know, one line a code and ranking, with the first one's words."""
    alike: dict[tuple[str, str], list[Warn]] = {}
    for warning in result.warnings:
        alike.setdefault((warning.code, warning.ranking or ""), []).append(warning)
    return [_together(code, ranking, found) for (code, ranking), found in alike.items()]


def _together(code: str, ranking: str, alike: list[Warn]) -> str:
    clusters = [warning.cluster for warning in alike if warning.cluster is not None]
    where = f" in {len(clusters)} cluster{'s' if len(clusters) > 1 else ''}, as in {clusters[0]!r}" if clusters else ""
    return f"{code}{' of ' + ranking if ranking else ''}{where}: {alike[0].detail}"


def _chance(overall: Overall | None) -> str:
    return f" (p = {overall.p_value:.2g})" if overall and overall.p_value is not None else ""


def _clusters(leader: Leader) -> str:
    return f"{leader.better_than_random} of {leader.of}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
