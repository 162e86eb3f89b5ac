"""The command line: each command speaks to people on stderr, and with --json to programs on stdout.

Exit codes: 0 done, 1 a job or a process failed or a gate was not met, 2 the request cannot be met as it stands, 3 nobody
answers, 124 it took longer than was to be waited for, 130 Ctrl-C.
"""

import sys

import typer
from rich.console import Console

from unitrank.cli.commands import content, demo, export, jobs, keys, results, up
from unitrank.cli.output import say
from unitrank.errors import UnitrankError

app = typer.Typer(
    help="Which units of a network matter for this group of inputs, and is that answer any good?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(keys.app, name="keys")
for part in (up, demo, export, content, jobs, results):
    app.add_typer(part.app)


def main() -> None:
    """The command that the shell asked for; errors become a line and an exit code."""
    try:
        app()
    except UnitrankError as error:
        Console(stderr=True, soft_wrap=True).print("error:", style="bold red", end=" ")
        request = f" (request {error.request_id})" if error.request_id else ""
        say(f"{error}{request}")
        sys.exit(error.exit_code)
    except OSError as error:
        say(f"error: {error}")
        sys.exit(2)


if __name__ == "__main__":
    main()
