"""`keys`: who may use a service that others can reach."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unitrank.cli.output import AsJson, give, say
from unitrank.cli.store_settings import State, read_settings
from unitrank.errors import NotPossible

if TYPE_CHECKING:
    from unitrank_store.access.api_keys import Key

app = typer.Typer(help="API keys: who may use a service that others can reach.", no_args_is_help=True)


@app.command("create")
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

    with opened(read_settings(state=state)) as store:
        try:
            key, secret = store.create(name, scope, tenant, limit)
        except ValueError as error:
            raise NotPossible(str(error)) from error
    say(f"key {key.id} for {key.name}, scopes {', '.join(sorted(key.scopes))}; its secret is shown this once:")
    if as_json:
        give({**_plain(key), "secret": secret})
    else:
        print(secret)


@app.command("list")
def list_keys(state: State = None, as_json: AsJson = False) -> None:
    """One key a line: id, name, scopes, tenant."""
    from unitrank.server.keys import opened

    with opened(read_settings(state=state)) as store:
        keys = list(store.list())
    if as_json:
        give([_plain(key) for key in keys])
    for key in [] if as_json else keys:
        print(key.id, key.name, ",".join(sorted(key.scopes)), key.tenant, sep="\t")


def _plain(key: "Key") -> dict[str, Any]:
    created = datetime.fromtimestamp(key.created_at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {**vars(key), "scopes": sorted(key.scopes), "created_at": created}


@app.command("webhook-secret")
def webhook_secret(
    id: Annotated[str, typer.Argument(help="The key's id, as `list` shows it; nothing for jobs that come without a key.")] = "",
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Print what the webhooks of a key's jobs are signed with."""
    from unitrank.server.keys import opened
    from unitrank_store.errors import RecordNotFound

    with opened(read_settings(state=state)) as store:
        try:
            secret = store.webhook_secret(id)
        except RecordNotFound as error:
            raise NotPossible(f"{error}; `unitrank keys list` shows those there are") from error
    if as_json:
        give({"id": id, "secret": secret})
    else:
        print(secret)


@app.command("revoke")
def revoke_key(
    id: Annotated[str, typer.Argument(help="The key's id, as `list` shows it.")], state: State = None, as_json: AsJson = False
) -> None:
    """From now on the key opens nothing."""
    from unitrank.server.keys import opened
    from unitrank_store.errors import RecordNotFound

    with opened(read_settings(state=state)) as store:
        try:
            store.revoke(id)
        except RecordNotFound as error:
            raise NotPossible(f"{error}; `unitrank keys list` shows those there are") from error
    say(f"key {id} is revoked")
    if as_json:
        give({"id": id, "revoked": True})
