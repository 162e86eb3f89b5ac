"""What is seen of an upload and of a running job: one line that changes in place, in a terminal or a notebook, and else nothing."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape as literal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from unitrank_schemas.jobs import Job

OnState = Callable[[Job], None]


@contextmanager
def watching(id: str, quiet: bool, watch: OnState | None = None) -> Iterator[OnState | None]:
    """What to show each state to, `watch` where there is one; None where nobody looks on. Ctrl-C says how to come back."""
    try:
        with _shown(quiet or watch is not None) as line:
            yield watch or line
    except (KeyboardInterrupt, asyncio.CancelledError) as error:
        # asyncio makes a cancellation of Ctrl-C, and a program of other things too.
        if isinstance(error, KeyboardInterrupt) or not quiet:
            Console(stderr=True, highlight=False, soft_wrap=True).print(
                f"job {id} goes on; `unitrank wait {id}` or client.jobs.get({id!r}).wait() comes back to it, "
                f"`unitrank cancel {id}` ends it",
                markup=False,
            )
        raise


@contextmanager
def uploading(name: str, file: Path, quiet: bool) -> Iterator[Callable[[int], None]]:
    """What to tell how many bytes more have gone: a bar in a terminal, a line in a notebook."""
    console = Console(stderr=True)
    if quiet:
        yield lambda count: None
    elif in_notebook():
        yield _Share(name, file.stat().st_size).show
    elif console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            bar = progress.add_task(f"uploading {name}", total=file.stat().st_size)
            yield lambda count: progress.update(bar, advance=count)
    else:
        yield lambda count: None


def line_of(job: Job) -> str:
    """State, stage, how far, and how long still."""
    progress = job.progress
    if job.status == "queued" and job.position:
        return f"job {job.id}: queued behind {job.position}"
    if job.status != "running" or progress is None:
        return f"job {job.id}: {job.status}"
    far = f", {progress.done:,} of {progress.total:,} {progress.unit}" if progress.total else ""
    left = f", about {progress.eta:.0f} s left" if progress.eta is not None else ""
    return f"job {job.id}: running, {progress.stage}{far}{left}"


@contextmanager
def _shown(quiet: bool) -> Iterator[OnState | None]:
    console = Console(stderr=True, highlight=False)
    if quiet:
        yield None
    elif in_notebook():
        cell = _Cell()
        yield lambda job: cell.show(line_of(job))
    elif console.is_terminal:
        with console.status("") as status:
            yield lambda job: status.update(literal(line_of(job)))
    else:
        yield None


def in_notebook() -> bool:
    """Whether what is displayed goes to a page: IPython runs in a kernel, Jupyter's, Colab's or another."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


class _Cell:
    """One output of a cell, replaced in place."""

    def __init__(self) -> None:
        # Any: IPython, which is there when a notebook is
        self._handle: Any = None
        self._said = ""

    def show(self, line: str) -> None:
        from IPython.display import HTML, display

        if line == self._said:
            return
        self._said = line
        page = HTML(f"<code>{escape(line)}</code>")  # type: ignore[no-untyped-call]  # IPython's
        if self._handle is None:
            self._handle = display(page, display_id=True)  # type: ignore[no-untyped-call]  # IPython's
        else:
            self._handle.update(page)


class _Share:
    """How much of an upload has gone; after a broken connection it counts no further than all."""

    def __init__(self, name: str, size: int) -> None:
        self._cell = _Cell()
        self._name, self._size, self._gone = name, size, 0

    def show(self, count: int) -> None:
        self._gone = min(self._gone + count, self._size)
        self._cell.show(f"uploading {self._name}: {self._gone / self._size:.0%} of {decimal(self._size)}")
