"""A notebook's kernel without its sockets: IPython runs the cells and formats what they show, and a test looks at it."""

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

Shown = dict[str, Any]


class Hook(DisplayHook):
    """Keeps what a cell's last line came to."""

    def write_output_prompt(self) -> None:
        """Nobody reads one."""

    def write_format_data(self, format_dict: Shown, md_dict: Any = None) -> None:
        self.shell.outputs.append(format_dict)


class Publisher(DisplayPublisher):
    """Keeps what a cell displays, and what it replaces that with."""

    def publish(self, data: Shown, metadata: Any = None, *, update: bool = False, **rest: Any) -> None:
        (self.shell.updated if update else self.shell.outputs).append(data)


class Notebook(InteractiveShell):
    """`shown` and `updated` are bundles of media types, in order."""

    kernel = object()
    outputs: list[Shown]
    updated: list[Shown]

    def cell(self, text: str) -> Shown:
        """What the cell's last line shows."""
        self.run_cell(text).raise_error()
        return self.outputs[-1]


@contextmanager
def notebook(**names: Any) -> Iterator[Notebook]:
    """With these names in it; nothing of it is left behind."""
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
