"""`up`: the store, the service and the workers of this machine."""

from collections.abc import Callable
from typing import Annotated

import typer

from unitrank.cli.output import say
from unitrank.cli.store_settings import State, read_settings

app = typer.Typer()


@app.command()
def up(
    host: Annotated[
        str | None, typer.Option(envvar="UNITRANK_HOST", help="Address to listen on.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[
        int | None, typer.Option(envvar="UNITRANK_PORT", min=0, max=65535, help="0: any that is free.", show_default="8000")
    ] = None,
    state: State = None,
    workers: Annotated[
        int | None,
        typer.Option(envvar="UNITRANK_WORKERS", min=1, help="They take the devices in turn.", show_default="one a device"),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(envvar="UNITRANK_DEVICE", help="cpu, cuda:0, …; repeat it or put commas between.", show_default="cpu"),
    ] = None,
    insecure: Annotated[
        bool | None, typer.Option("--insecure", envvar="UNITRANK_INSECURE", help="Listen on a public address without keys.")
    ] = None,
) -> None:
    """Start the store, the service and the workers, and stay; Ctrl-C lets running jobs finish.

    A store of your own is used instead of the embedded one where REDIS_URL or UNITRANK_REDIS_URL names it.
    """
    from unitrank.server.processes import devices_of
    from unitrank.server.up import up as run

    settings = read_settings(host=host, port=port, state=state, insecure=insecure)
    raise typer.Exit(run(settings, devices_of(device or [], workers), announcer(settings.log_format)))


def announcer(log_format: str) -> Callable[[str], None]:
    """The function that prints each event: for people, or in the form of the logs of the started processes."""
    if log_format == "people":
        return say
    import structlog

    from unitrank_store.observability.logs import configure

    configure(log_format)
    log = structlog.get_logger("unitrank.server.up")
    return lambda words: log.info(words)
