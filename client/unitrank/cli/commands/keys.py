"""`unitrank keys`: creates, lists and revokes API keys."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unitrank.cli.output import AsJson, print_json, print_message
from unitrank.cli.store_settings import State, read_settings
from unitrank.errors import NotPossible

if TYPE_CHECKING:
    from unitrank_store.access.api_keys import Key

Scopes = Annotated[list[str], typer.Option("--scope", help="read, write, models or admin; repeat it for several scopes.")]

app = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True)


@app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Name of the key's owner, for `keys list`.")],
    scope: Scopes = ["read", "write", "models"],  # noqa: B006  # typer copies it
    tenant: Annotated[str, typer.Option(help="Tenant whose models, datasets and jobs the key can use.")] = "default",
    limit: Annotated[int | None, typer.Option(min=1, help="Largest number of unfinished jobs of this key.")] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Create a key, and print its secret, which is not shown again."""
    from unitrank.server.keys import open_key_store

    with open_key_store(read_settings(state=state)) as store:
        try:
            key, secret = store.create(name, scope, tenant, limit)
        except ValueError as error:
            raise NotPossible(str(error)) from error
    print_message(f"key {key.id} for {key.name}, scopes {', '.join(sorted(key.scopes))}; its secret, which is not shown again:")
    if as_json:
        print_json({**_plain(key), "secret": secret})
    else:
        print(secret)


@app.command("list")
def list_keys(state: State = None, as_json: AsJson = False) -> None:
    """List the keys, one per line: id, name, scopes, tenant."""
    from unitrank.server.keys import open_key_store

    with open_key_store(read_settings(state=state)) as store:
        keys = list(store.list())
    if as_json:
        print_json([_plain(key) for key in keys])
    for key in [] if as_json else keys:
        print(key.id, key.name, ",".join(sorted(key.scopes)), key.tenant, sep="\t")


def _plain(key: "Key") -> dict[str, Any]:
    created = datetime.fromtimestamp(key.created_at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {**vars(key), "scopes": sorted(key.scopes), "created_at": created}


@app.command("webhook-secret")
def webhook_secret(
    id: Annotated[
        str, typer.Argument(help="Id of the key, from `keys list`; omit it for jobs that are submitted without a key.")
    ] = "",
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Print the secret that signs the webhooks of a key's jobs."""
    from unitrank.server.keys import open_key_store
    from unitrank_store.errors import RecordNotFound

    with open_key_store(read_settings(state=state)) as store:
        try:
            secret = store.webhook_secret(id)
        except RecordNotFound as error:
            raise NotPossible(f"{error}; `unitrank keys list` shows the ids") from error
    if as_json:
        print_json({"id": id, "secret": secret})
    else:
        print(secret)


@app.command("revoke")
def revoke_key(
    id: Annotated[str, typer.Argument(help="Id of the key, from `keys list`.")], state: State = None, as_json: AsJson = False
) -> None:
    """Revoke a key: the service rejects later requests with this key."""
    from unitrank.server.keys import open_key_store
    from unitrank_store.errors import RecordNotFound

    with open_key_store(read_settings(state=state)) as store:
        try:
            store.revoke(id)
        except RecordNotFound as error:
            raise NotPossible(f"{error}; `unitrank keys list` shows the ids") from error
    print_message(f"key {id} is revoked")
    if as_json:
        print_json({"id": id, "revoked": True})
