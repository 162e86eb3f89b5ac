"""The progress of an upload or a job: one line that is updated in a terminal or a notebook.

Nothing is displayed elsewhere.
"""

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
    """Yields the function that displays a job's states, or None if nothing displays them.

    `watch` takes the place of the progress line. After Ctrl-C a message says how to return to the
    job or cancel it.
    """
    try:
        with _progress_line(quiet or watch is not None) as line:
            yield watch or line
    except (KeyboardInterrupt, asyncio.CancelledError) as error:
        # asyncio turns Ctrl-C into a cancellation, which a program may also cause itself.
        if isinstance(error, KeyboardInterrupt) or not quiet:
            Console(stderr=True, highlight=False, soft_wrap=True).print(
                f"job {id} was not stopped; `unitrank wait {id}` or client.jobs.get({id!r}).wait() waits for it again, "
                f"`unitrank cancel {id}` cancels it",
                markup=False,
            )
        raise


@contextmanager
def uploading(name: str, file: Path, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Yields a function that takes the number of bytes sent since its last call.

    The function moves a bar in a terminal, and updates a line in a notebook.
    """
    console = Console(stderr=True)
    if quiet:
        yield lambda count: None
    elif in_notebook():
        yield _UploadLine(name, file.stat().st_size).add
    elif console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            bar = progress.add_task(f"uploading {name}", total=file.stat().st_size)
            yield lambda count: progress.update(bar, advance=count)
    else:
        yield lambda count: None


def noting(quiet: bool) -> Callable[[str], None]:
    """Returns the function that displays a sentence, or one that does nothing."""
    console = Console(stderr=True, highlight=False, soft_wrap=True, quiet=quiet)
    return lambda text: console.print(text, markup=False)


def line_of(job: Job) -> str:
    """One line about a job: its status, stage, progress and remaining time."""
    progress = job.progress
    if job.status == "queued" and job.position:
        return f"job {job.id}: queued, {job.position} job{'s' if job.position > 1 else ''} before it"
    if job.status != "running" or progress is None:
        return f"job {job.id}: {job.status}"
    done = f", {progress.done:,} of {progress.total:,} {progress.unit}" if progress.total else ""
    left = f", about {progress.eta:.0f} s left" if progress.eta is not None else ""
    return f"job {job.id}: running, {progress.stage}{done}{left}"


@contextmanager
def _progress_line(quiet: bool) -> Iterator[OnState | None]:
    console = Console(stderr=True, highlight=False)
    if quiet:
        yield None
    elif in_notebook():
        output = _CellOutput()
        yield lambda job: output.show(line_of(job))
    elif console.is_terminal:
        with console.status("") as status:
            yield lambda job: status.update(literal(line_of(job)))
    else:
        yield None


def in_notebook() -> bool:
    """Whether IPython runs in a kernel, such as that of Jupyter or Colab, and can display HTML."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


class _CellOutput:
    """One output of a notebook's cell, which each call of `show` replaces."""

    def __init__(self) -> None:
        # Any: IPython, which is installed where a notebook runs.
        self._handle: Any = None
        self._line = ""

    def show(self, line: str) -> None:
        from IPython.display import HTML, display

        if line == self._line:
            return
        self._line = line
        page = HTML(f"<code>{escape(line)}</code>")  # type: ignore[no-untyped-call]  # IPython's
        if self._handle is None:
            self._handle = display(page, display_id=True)  # type: ignore[no-untyped-call]  # IPython's
        else:
            self._handle.update(page)


class _UploadLine:
    """The sent share of an upload: at most 100 %, also if bytes are sent again."""

    def __init__(self, name: str, size: int) -> None:
        self._output = _CellOutput()
        self._name, self._size, self._sent = name, size, 0

    def add(self, count: int) -> None:
        """Counts `count` more bytes, and updates the line."""
        self._sent = min(self._sent + count, self._size)
        self._output.show(f"uploading {self._name}: {self._sent / self._size:.0%} of {decimal(self._size)}")
