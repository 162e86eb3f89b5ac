"""The command line: what runs here (`up`, `demo`, `export`, `keys`), and what talks to a service (`unitrank.cli.service_commands`).

Exit codes: 0 done, 1 a job or a process failed or a gate was not met, 2 the request cannot be met as it stands, 3 nobody
answers, 124 it took longer than was to be waited for, 130 Ctrl-C.
"""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from unitrank.cli import service_commands
from unitrank.cli.output import AsJson, give
from unitrank.errors import NotPossible, UnitrankError
from unitrank.exporting import export, export_folder
from unitrank.name_clashes import clash_of
from unitrank_schemas.models import Manifest

if TYPE_CHECKING:
    from unitrank_store.access.api_keys import Key

app = typer.Typer(
    help="Which units of a network matter for this group of inputs, and is that answer any good?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
keys = typer.Typer(help="API keys: who may use a service that others can reach.", no_args_is_help=True)
app.add_typer(keys, name="keys")
app.add_typer(service_commands.app)

State = Annotated[
    Path | None,
    typer.Option(envvar="UNITRANK_STATE", help="Folder of the store and the blobs.", show_default="~/.local/state/unitrank"),
]


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

    settings = _settings(host=host, port=port, state=state, insecure=insecure)
    raise typer.Exit(run(settings, devices_of(device or [], workers), _said(settings.log_format)))


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder that the result is written to.")] = Path("demo-result"),
    seed: Annotated[int, typer.Option(min=0, help="Of the network's training and of the job.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Train a small network on scanned digits, and see which of its units matter: the whole way through in half a minute."""
    from unitrank.cli import display
    from unitrank.server.demo import run

    found = run(output, seed, display.console(stderr=as_json))
    if as_json:
        give(found)


@app.command("export")
def export_model(
    module: Annotated[
        str,
        typer.Argument(
            help="Where the network is: `net.py:name`, `package.module:name`, or a folder of Transformers' save_pretrained."
        ),
    ],
    path: Annotated[Path, typer.Argument(help="The archive that is written, such as net.pt2.")],
    example: Annotated[
        list[str] | None,
        typer.Option(
            help="An input without its batch, in the order of forward: 3x32x32, or int64:16 for token ids; of a folder the first."
        ),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="A safetensors file with the network's weights.")] = None,
    position: Annotated[int | None, typer.Option(help="Of a folder: the token whose answer counts.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a network as an archive that the service lets in, and name its layers.

    The name is a torch.nn.Module, or something that returns one when it is called without arguments.
    """
    if Path(module).is_dir():
        manifest = _folder(Path(module), path, example or [], weights, position)
    else:
        manifest = _named(module, path, example or [], weights, position)
    if as_json:
        give(manifest)
    for layer in [] if as_json else manifest.layers:
        print(layer.name, layer.kind, "x".join(map(str, layer.shape)), "cut" if layer.cut else "", sep="\t")
    _say(f"{path}: {manifest.parameters} parameters, {len(manifest.layers)} layers")


def _named(module: str, path: Path, example: list[str], weights: Path | None, position: int | None) -> Manifest:
    from unitrank.cli.module_spec import example_of, load_weights, network_of

    if not example:
        raise NotPossible("say what an input looks like without its batch: --example 3x32x32")
    if position is not None:
        raise NotPossible("--position is for a folder of Transformers; let forward return one row of answers an example")
    with network_of(module) as network:
        if weights is not None:
            load_weights(network, weights)
        return export(network, [example_of(words) for words in example], path)


def _folder(folder: Path, path: Path, example: list[str], weights: Path | None, position: int | None) -> Manifest:
    from unitrank.cli.module_spec import example_of

    if weights is not None or len(example) > 1:
        raise NotPossible(
            f"{folder} is a folder, which has its weights and needs no --weights; one --example says its input's shape"
        )
    shape = [int(size) for size in example_of(example[0]).shape[1:]] if example else None
    return export_folder(folder, path, shape=shape, position=position)


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    scope: Annotated[list[str], typer.Option(help="read, write, models or admin; may be repeated.")] = ["read", "write", "models"],  # noqa: B006  # typer copies it
    tenant: Annotated[str, typer.Option(help="Whose models, datasets and jobs it sees.")] = "default",
    limit: Annotated[int | None, typer.Option(min=1, help="So many of its jobs may be unfinished.")] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print its secret, which cannot be shown again."""
    from unitrank.server.keys import opened

    with opened(_settings(state=state)) as store:
        try:
            key, secret = store.create(name, scope, tenant, limit)
        except ValueError as error:
            raise NotPossible(str(error)) from error
    _say(f"key {key.id} for {key.name}, scopes {', '.join(sorted(key.scopes))}; its secret is shown this once:")
    if as_json:
        give({**_plain(key), "secret": secret})
    else:
        print(secret)


@keys.command("list")
def list_keys(state: State = None, as_json: AsJson = False) -> None:
    """One key a line: id, name, scopes, tenant."""
    from unitrank.server.keys import opened

    with opened(_settings(state=state)) as store:
        found = list(store.list())
    if as_json:
        give([_plain(key) for key in found])
    for key in [] if as_json else found:
        print(key.id, key.name, ",".join(sorted(key.scopes)), key.tenant, sep="\t")


def _plain(key: "Key") -> dict[str, Any]:
    made = datetime.fromtimestamp(key.created_at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {**vars(key), "scopes": sorted(key.scopes), "created_at": made}


@keys.command("webhook-secret")
def webhook_secret(
    id: Annotated[str, typer.Argument(help="The key's id, as `list` shows it; nothing for jobs that come without a key.")] = "",
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Print what the webhooks of a key's jobs are signed with."""
    from unitrank.server.keys import opened
    from unitrank_store.errors import RecordNotFound

    with opened(_settings(state=state)) as store:
        try:
            secret = store.webhook_secret(id)
        except RecordNotFound as error:
            raise NotPossible(f"{error}; `unitrank keys list` shows those there are") from error
    if as_json:
        give({"id": id, "secret": secret})
    else:
        print(secret)


@keys.command("revoke")
def revoke_key(
    id: Annotated[str, typer.Argument(help="The key's id, as `list` shows it.")], state: State = None, as_json: AsJson = False
) -> None:
    """From now on the key opens nothing."""
    from unitrank.server.keys import opened
    from unitrank_store.errors import RecordNotFound

    with opened(_settings(state=state)) as store:
        try:
            store.revoke(id)
        except RecordNotFound as error:
            raise NotPossible(f"{error}; `unitrank keys list` shows those there are") from error
    _say(f"key {id} is revoked")
    if as_json:
        give({"id": id, "revoked": True})


def main() -> None:
    """The command that the shell asked for; errors become a line and an exit code."""
    try:
        app()
    except UnitrankError as error:
        Console(stderr=True, soft_wrap=True).print("error:", style="bold red", end=" ")
        asked = f" (request {error.request_id})" if error.request_id else ""
        Console(stderr=True, soft_wrap=True).print(f"{error}{asked}", markup=False, highlight=False)
        sys.exit(error.exit_code)
    except OSError as error:
        _say(f"error: {error}")
        sys.exit(2)


def _settings(**given: Any) -> Any:
    """The store's settings, the given ones first. Any: the store is not imported before a command needs it."""
    try:
        from unitrank_store.settings import BadSettings, Settings
    except ImportError as error:
        reason = clash_of(error) or f"this installation lacks the store: pip install 'unitrank[store]' ({error})"
        raise NotPossible(reason) from error
    try:
        return Settings.read(**given)
    except BadSettings as error:
        raise NotPossible(str(error)) from error


def _said(form: str) -> Callable[[str], None]:
    """How `up` speaks: to whoever sits before it, or as the processes that it starts write their logs."""
    if form == "people":
        return _say
    import structlog

    from unitrank_store.observability.logs import configure

    configure(form)
    log = structlog.get_logger("unitrank.server.up")
    return lambda words: log.info(words)


def _say(words: str) -> None:
    Console(stderr=True, soft_wrap=True).print(words, markup=False, highlight=False)


if __name__ == "__main__":
    main()
