"""`unitrank mcp`: tools for assistants, over stdin and stdout."""

from typing import Annotated

import typer

from unitrank.cli.output import URL, Url, open_client

app = typer.Typer()


@app.command()
def mcp(
    allow_jobs: Annotated[bool, typer.Option("--allow-jobs", help="Also offer tools that start and cancel jobs.")] = False,
    url: Url = URL,
) -> None:
    """Serve tools for assistants over the Model Context Protocol (MCP), until stdin is closed.

    Without --allow-jobs the tools only read.
    """
    from unitrank.mcp.server import server

    with open_client(url) as client:
        server(client, allow_jobs).run()
