"""The commands that talk to a service; each speaks to people on stderr, and with --json to programs on stdout."""

import typer

from unitrank.cli import content, jobs, results

app = typer.Typer()
for part in (content.app, jobs.app, results.app):
    app.add_typer(part)
