"""Runs cells of a notebook without a kernel process, and keeps their outputs.

IPython runs the cells and formats the outputs, as in a notebook.
"""

import atexit
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

Output = dict[str, Any]


class Hook(DisplayHook):
    """Keeps the value of each cell's last line."""

    def write_output_prompt(self) -> None:
        """Write no prompt."""

    def write_format_data(self, format_dict: Output, md_dict: Any = None) -> None:
        self.shell.outputs.append(format_dict)


class Publisher(DisplayPublisher):
    """Keeps the outputs that a cell displays, and their updates."""

    def publish(self, data: Output, metadata: Any = None, *, update: bool = False, **rest: Any) -> None:
        (self.shell.updated if update else self.shell.outputs).append(data)


class Notebook(InteractiveShell):
    """A shell that runs cells.

    `outputs`: the outputs in order, each with its content by media type. `updated`: the contents
    that replaced an output.
    """

    kernel = object()
    outputs: list[Output]
    updated: list[Output]

    def cell(self, text: str) -> Output:
        """Run the cell; returns its last output."""
        self.run_cell(text).raise_error()
        return self.outputs[-1]


@contextmanager
def notebook(**names: Any) -> Iterator[Notebook]:
    """A notebook in which `names` are defined. At exit all changes to the process are undone."""
    path = list(sys.path)
    settings = Config(HistoryManager={"enabled": False, "hist_file": ":memory:"})
    with tempfile.TemporaryDirectory(prefix="unitrank-") as profile:
        shell = Notebook.instance(config=settings, ipython_dir=profile, displayhook_class=Hook, display_pub_class=Publisher)
        shell.outputs, shell.updated = [], []
        try:
            shell.user_ns.update(names)
            yield shell
        finally:
            atexit.unregister(shell.atexit_operations)
            shell.atexit_operations()
            shell.restore_sys_module_state()
            Notebook.clear_instance()
            sys.path[:] = path
