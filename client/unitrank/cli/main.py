"""The command line. Each command prints messages to stderr; with --json it prints JSON to stdout.

Exit codes: 0 success; 1 a job or process failed, or a gate was not met; 2 the request is wrong;
3 the service or the store does not answer; 124 a timeout; 130 Ctrl-C.
"""

import sys

import typer
from rich.console import Console

from unitrank.cli.commands import check_scores, compare, content, demo, export, job_list, jobs, keys, mcp, results, up
from unitrank.cli.output import print_message
from unitrank.errors import UnitrankError

app = typer.Typer(
    help="Rank the units of a neural network by importance for groups of inputs, and test each ranking by ablation.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(keys.app, name="keys")
for part in (up, demo, export, content, jobs, job_list, results, compare, check_scores, mcp):
    app.add_typer(part.app)


def main() -> None:
    """Runs the command of the shell. An error becomes one line on stderr and an exit code."""
    try:
        app()
    except UnitrankError as error:
        Console(stderr=True, soft_wrap=True).print("error:", style="bold red", end=" ")
        request = f" (request {error.request_id})" if error.request_id else ""
        print_message(f"{error}{request}")
        sys.exit(error.exit_code)
    except OSError as error:
        print_message(f"error: {error}")
        sys.exit(2)


if __name__ == "__main__":
    main()
