"""`up`: the store, the service and the workers of this machine."""

import os
from collections.abc import Callable
from typing import Annotated

import typer

from unitrank.cli.output import print_message
from unitrank.cli.store_settings import State, read_settings

app = typer.Typer()


@app.command()
def up(
    host: Annotated[
        str | None, typer.Option(envvar="UNITRANK_HOST", help="Address to listen on.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(envvar="UNITRANK_PORT", min=0, max=65535, help="Port to listen on; 0: any free port.", show_default="8000"),
    ] = None,
    state: State = None,
    workers: Annotated[
        int | None,
        typer.Option(
            envvar="UNITRANK_WORKERS",
            min=1,
            help="Number of workers; they take the devices in turn.",
            show_default="one per device",
        ),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(
            envvar="UNITRANK_DEVICE",
            help="cpu, cuda or cuda:N; for several devices repeat it or use commas.",
            show_default="each GPU, or cpu without a GPU",
        ),
    ] = None,
    insecure: Annotated[
        bool | None, typer.Option("--insecure", envvar="UNITRANK_INSECURE", help="Listen on a public address without keys.")
    ] = None,
) -> None:
    """Run the store, the service and the workers until Ctrl-C, which lets running jobs finish.

    Set REDIS_URL or UNITRANK_REDIS_URL to use your own store instead of the embedded one.
    """
    from unitrank.server.gpus import Gpus, find_gpus
    from unitrank.server.processes import devices_of
    from unitrank.server.up import up as run

    settings = read_settings(host=host, port=port, state=state, insecure=insecure)
    announce = announcer(settings.log_format)
    gpus = Gpus() if device else find_gpus(os.environ)
    if gpus.fault:
        announce(gpus.fault)
    raise typer.Exit(run(settings, devices_of(device or [], workers, gpus), announce, gpus.ids))


def announcer(log_format: str) -> Callable[[str], None]:
    """The function that prints each event, in the log format of the processes."""
    if log_format == "people":
        return print_message
    import structlog

    from unitrank_store.observability.logs import configure

    configure(log_format)
    log = structlog.get_logger("unitrank.server.up")
    return lambda event: log.info(event)
