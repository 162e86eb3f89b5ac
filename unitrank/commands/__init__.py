"""The commands that talk to a service; each speaks to people on stderr, and with --json to programs on stdout."""

import typer

from unitrank.commands import content, jobs, judging

app = typer.Typer()
for part in (content.app, jobs.app, judging.app):
    app.add_typer(part)
