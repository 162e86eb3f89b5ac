"""The client: each answer of the service becomes a schema, a handle or a typed error."""

import asyncio
import json
import signal
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import unitrank
from tests.support.clock import Clock
from unitrank.client.sync import Client
from unitrank.errors import BY_STATUS, UnitrankError
from unitrank_schemas.jobs import Job, JobRequest
from unitrank_schemas.jobs.ablation import Ablation
from unitrank_service.openapi.examples.by_schema import examples_by_schema

Json = dict[str, Any]
PROBLEM = {
    "title": "Unprocessable Content",
    "status": 422,
    "code": "layer_not_found",
    "detail": "layer 'conv9' not found; nearest: 'conv1'",
    "request_id": "r-1",
    "errors": [{"pointer": "/layer", "detail": "no such layer"}],
}
MODEL = {"name": "m", "digest": "sha256:" + "0" * 64, "bytes": 1, "status": "ready", "created_at": "2026-01-01T00:00:00Z"}
REQUEST = {"model": "m", "layer": "1", "dataset": "d", "methods": [{"name": "gradient"}]}
JOB = {
    "id": "j",
    "status": "queued",
    "attempt": 0,
    "created_at": "2026-01-01T00:00:00Z",
    "request": REQUEST,
    "links": dict.fromkeys(["self", "result", "events", "report"], "/"),
}


def test_client_when_refused_then_says_code_detail_places_and_request() -> None:
    with _client(422, PROBLEM) as client, pytest.raises(unitrank.InvalidRequest) as caught:
        client.jobs.submit(REQUEST)

    assert (caught.value.code, caught.value.request_id, caught.value.exit_code) == ("layer_not_found", "r-1", 2)
    assert [(place.pointer, place.detail) for place in caught.value.places] == [("/layer", "no such layer")]
    assert str(caught.value) == "layer_not_found: layer 'conv9' not found; nearest: 'conv1'\n  /layer: no such layer"


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ([], "too long"),
        ([("", "too long")], "too long"),
        ([("/layer", "too long")], "too long (at /layer)"),
        ([("/layer", "too long"), ("/seed", "too low")], "the request has 2 mistakes\n  /layer: too long\n  /seed: too low"),
    ],
)
def test_client_when_refused_then_each_mistake_is_written_once(places: list[tuple[str, str]], message: str) -> None:
    errors = [{"pointer": pointer, "detail": detail} for pointer, detail in places]
    with (
        _client(422, PROBLEM | {"detail": "too long", "errors": errors}) as client,
        pytest.raises(unitrank.InvalidRequest) as caught,
    ):
        client.jobs.submit(REQUEST)

    assert str(caught.value) == f"layer_not_found: {message}"


@pytest.mark.parametrize(("status", "kind"), [*BY_STATUS.items(), (500, unitrank.ServiceError), (503, unitrank.ServiceError)])
def test_client_when_a_problem_has_a_status_then_the_error_has_its_class(status: int, kind: type[UnitrankError]) -> None:
    with _client(status, PROBLEM | {"status": status, "code": "some_code"}) as client, pytest.raises(kind) as caught:
        client.methods()

    assert (type(caught.value), caught.value.code) == (kind, "some_code")


@pytest.mark.parametrize(
    ("code", "kind"),
    [("job_failed", unitrank.JobFailed), ("job_cancelled", unitrank.JobCancelled), ("job_timed_out", unitrank.JobTimedOut)],
)
def test_client_when_a_problem_says_how_a_job_ended_then_the_error_does(code: str, kind: type[UnitrankError]) -> None:
    with _client(409, PROBLEM | {"status": 409, "code": code}) as client, pytest.raises(kind) as caught:
        client.jobs.get("j")

    assert caught.value.exit_code == 1


def test_client_when_the_service_says_more_than_it_knows_then_reads_the_rest() -> None:
    with _client(200, {**MODEL, "colour": "blue"}) as client:
        assert client.models.wait("m").name == "m"


def test_job_when_its_request_is_not_known_here_then_is_read_all_the_same() -> None:
    newer = REQUEST | {"methods": [{"name": "oracle", "depth": 3}], "seed": 5, "mood": "good"}
    answers: dict[str, Json] = {
        "/v1/jobs": {"items": [JOB, JOB | {"id": "k", "request": newer}]},
        "/v1/jobs/k": JOB | {"id": "k", "status": "succeeded", "request": newer},
    }
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=answers[request.url.path]))
    with Client("http://service", transport=transport) as client:
        plain, unknown = client.jobs.list()
        job = client.jobs.get("k").wait()

    assert plain.request == JobRequest.model_validate(REQUEST)
    assert (unknown.request.model, unknown.request.seed, unknown.request.ablation) == ("m", 5, Ablation())
    assert unknown.request.methods == newer["methods"]
    assert job.state.model_dump(mode="json")["request"] == newer
    assert json.loads(job.state.model_dump_json())["request"] == newer
    assert plain.model_dump(mode="json") == Job.model_validate_json(json.dumps(JOB)).model_dump(mode="json")


def test_client_when_the_model_is_rejected_then_says_why(tmp_path: Path) -> None:
    problem = {"code": "static_batch", "title": "Rejected", "detail": "export it with a dynamic batch"}
    (tmp_path / "net.pt2").write_bytes(b"PK")
    with _client(200, {**MODEL, "status": "rejected", "problem": problem}) as client, pytest.raises(unitrank.Rejected) as caught:
        client.models.put("m", tmp_path / "net.pt2")

    assert (caught.value.code, caught.value.exit_code) == ("static_batch", 1)
    assert str(caught.value) == "model m: rejected (static_batch): export it with a dynamic batch"


def test_client_when_another_program_answers_then_the_error_says_so() -> None:
    for status, body in [(404, {"detail": "nothing here"}), (200, {"hello": "world"})]:
        with _client(status, body) as client, pytest.raises(unitrank.Unreachable, match="is that a Unitrank service"):
            client.workers()


def test_client_when_the_service_does_not_answer_then_is_unreachable_and_not_ready() -> None:
    with Client("http://127.0.0.1:1", retries=0) as client:
        assert not client.is_ready()
        with pytest.raises(unitrank.Unreachable) as caught:
            client.workers()

    assert caught.value.exit_code == 3


def test_client_when_it_has_a_key_then_sends_it_and_nothing_else_shows_it() -> None:
    seen: list[httpx.Request] = []
    with Client("http://service", "secret-key", transport=_recording(seen, 200, MODEL)) as client:
        client.models.get("m@sha256:" + "0" * 64)

    assert seen[0].headers["Authorization"] == "Bearer secret-key"
    assert "secret-key" not in repr(vars(client)) + str(seen[0].url)
    assert seen[0].url.path == "/v1/models/m@sha256:" + "0" * 64


def test_key_when_it_was_read_with_its_newline_then_is_sent_without() -> None:
    seen: list[httpx.Request] = []
    with Client("http://service", " secret-key\r\n", transport=_recording(seen, 200, MODEL)) as client:
        client.models.get("m")

    assert seen[0].headers["Authorization"] == "Bearer secret-key"


@pytest.mark.parametrize("key", ["sec\nret", "sécret", "sec ret", "sec\x00ret"])
def test_key_when_no_key_has_its_characters_then_is_refused_and_not_shown(key: str) -> None:
    for kind in (Client, unitrank.AsyncClient):
        with pytest.raises(unitrank.NotPossible, match="the key is invalid: a key has only printable ASCII") as caught:
            kind("http://service", key)

        traceback_text = "".join(traceback.format_exception(caught.value))
        assert key not in traceback_text
        assert repr(key)[1:-1] not in traceback_text


@pytest.mark.parametrize("url", ["http://host:port", "host:8000", "ftp://host", "http://", "nonsense", ""])
def test_client_when_its_address_is_invalid_then_the_error_shows_how_to_write_one(url: str) -> None:
    for kind in (Client, unitrank.AsyncClient):
        with pytest.raises(unitrank.NotPossible, match="write http://host:port"):
            kind(url)


@pytest.mark.parametrize("proxy", ["socks9://nowhere:1", "http://a:b:c"])
def test_client_when_the_environments_proxy_is_invalid_then_the_error_names_it(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    monkeypatch.setenv("HTTP_PROXY", proxy)
    for kind in (Client, unitrank.AsyncClient):
        with pytest.raises(unitrank.NotPossible, match="the proxy or the certificates"):
            kind("http://service")


def test_client_when_a_name_is_invalid_then_nothing_is_sent() -> None:
    seen: list[httpx.Request] = []
    with Client("http://service", transport=_recording(seen, 200, JOB)) as client:
        for wrong in [
            lambda: client.jobs.get(""),
            lambda: client.models.get("\udcff"),
            lambda: client.jobs.list(model="\udcff"),
            lambda: client.datasets.put("", x=[1]),
        ]:
            with pytest.raises(unitrank.NotPossible):
                wrong()
        assert seen == []
        client.jobs.get("a/../b?c\n")

    assert seen[0].url.raw_path == b"/v1/jobs/a%2F..%2Fb%3Fc%0A"


def test_submit_when_its_key_is_not_a_valid_header_then_nothing_is_sent() -> None:
    seen: list[httpx.Request] = []
    with Client("http://service", transport=_recording(seen, 202, JOB)) as client:
        for key in ("a\nb", "clé"):
            with pytest.raises(unitrank.NotPossible, match="idempotency key"):
                client.jobs.submit(REQUEST, idempotency_key=key)

    assert seen == []


def test_download_when_its_folder_does_not_exist_then_says_so(tmp_path: Path) -> None:
    with _client(200, JOB) as client:
        job = client.jobs.get("j")
        with pytest.raises(unitrank.NotPossible, match=r"none/r\.npz cannot be written: No such file"):
            job.download(tmp_path / "none" / "r.npz")


def test_delete_when_the_answer_of_the_first_attempt_was_lost_then_is_gone() -> None:
    gone = httpx.Response(404, json=PROBLEM | {"status": 404, "code": "model_not_found"})
    turns: list[Any] = [httpx.ReadError("lost"), gone, gone]

    def answer(request: httpx.Request) -> httpx.Response:
        turn = turns.pop(0)
        if isinstance(turn, Exception):
            raise turn
        return turn  # type: ignore[no-any-return]

    with Client("http://service", transport=httpx.MockTransport(answer), sleep=Clock().sleep) as client:
        client.models.delete("m")
        with pytest.raises(unitrank.NotFound):
            client.models.delete("m")


def test_upload_when_a_file_is_put_then_its_bytes_are_streamed_with_their_number(tmp_path: Path) -> None:
    content = bytes(range(256)) * 12_000
    (tmp_path / "net.pt2").write_bytes(content)
    seen: list[httpx.Request] = []
    with Client("http://service", transport=_recording(seen, 200, MODEL)) as client:
        client.models.put("m", tmp_path / "net.pt2", architecture="mlp", arguments={"sizes": [3, 4]})

    assert seen[0].content == content
    assert seen[0].headers["Content-Length"] == str(len(content))
    assert "Transfer-Encoding" not in seen[0].headers
    assert dict(seen[0].url.params) == {"architecture": "mlp", "arguments": '{"sizes": [3, 4]}'}


def test_submit_when_sent_twice_then_each_has_an_idempotency_key_of_its_own() -> None:
    seen: list[httpx.Request] = []
    with Client("http://service", transport=_recording(seen, 202, JOB)) as client:
        for _ in range(2):
            client.jobs.submit(REQUEST)
        client.jobs.submit(REQUEST, idempotency_key="mine", fresh=True)
    keys = [request.headers["Idempotency-Key"] for request in seen]

    assert len(set(keys)) == 3
    assert keys[2] == "mine"
    assert [request.headers.get("Cache-Control") for request in seen] == [None, None, "no-cache"]


def test_submit_when_the_request_has_any_form_then_sends_the_same_json() -> None:
    seen: list[httpx.Request] = []
    with Client("http://service", transport=_recording(seen, 202, JOB)) as client:
        client.jobs.submit(JobRequest.model_validate(REQUEST | {"seed": 3}))
        client.jobs.submit(REQUEST | {"seed": 1}, seed=np.int64(3))
        client.jobs.submit(**REQUEST, seed=3)
        with pytest.raises(unitrank.NotPossible, match="a complex has no JSON form"):
            client.jobs.submit(REQUEST, seed=3j)

    assert [json.loads(request.content) for request in seen] == [REQUEST | {"seed": 3}] * 3


def test_list_when_there_are_more_pages_then_follows_them_up_to_the_limit() -> None:
    pages = {None: {"items": [MODEL] * 2, "next": "a"}, "a": {"items": [MODEL], "next": "b"}, "b": {"items": [MODEL]}}
    cursors: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        cursors.append(request.url.params.get("after"))
        return httpx.Response(200, json=pages[cursors[-1]])

    with Client("http://service", transport=httpx.MockTransport(answer)) as client:
        assert len(client.models.list()) == 4
        assert len(client.models.list(3)) == 3

    assert cursors == [None, "a", "b", None, "a"]


def test_wait_when_no_progress_is_displayed_then_the_service_holds_the_answer() -> None:
    ends = iter(["running", "succeeded"])
    waits: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        waits.append(float(request.url.params["wait"]))
        return httpx.Response(200, json=JOB | {"status": next(ends)})

    with _handle(answer) as job:
        assert job.wait().status == "succeeded"

    assert waits == [20, 20]


@pytest.mark.parametrize(
    ("status", "kind"),
    [("failed", unitrank.JobFailed), ("cancelled", unitrank.JobCancelled), ("timed_out", unitrank.JobTimedOut)],
)
def test_wait_when_the_job_ends_otherwise_then_the_error_says_how(status: str, kind: type[UnitrankError]) -> None:
    problem = {"code": "out_of_memory", "title": "Failed", "detail": "ask for less"} if status == "failed" else None
    body = JOB | {"status": status, "problem": problem}
    with _handle(lambda request: httpx.Response(200, json=body)) as job, pytest.raises(kind) as caught:
        job.wait()

    assert caught.value.code == ("out_of_memory" if problem else "")


def test_wait_when_its_time_is_over_then_the_job_goes_on() -> None:
    seen: list[httpx.Request] = []
    with Client("http://service", transport=_recording(seen, 200, JOB)) as client, pytest.raises(unitrank.Timeout) as caught:
        client.jobs.get("j").wait(timeout=0)

    assert caught.value.exit_code == 124
    assert {request.method for request in seen} == {"GET"}


def test_wait_when_the_job_does_not_succeed_then_the_handle_has_the_last_state() -> None:
    problem = {"code": "out_of_memory", "title": "Failed", "detail": "ask for less"}
    failed = JOB | {"status": "failed", "problem": problem}
    running = JOB | {"status": "running"}
    with _handle(lambda request: httpx.Response(200, json=failed)) as job, pytest.raises(unitrank.JobFailed):
        job.wait()
    with _handle(lambda request: httpx.Response(200, json=running)) as late, pytest.raises(unitrank.Timeout):
        late.wait(0)

    assert (job.status, job.state.problem and job.state.problem.code) == ("failed", "out_of_memory")
    assert late.status == "running"


def test_wait_when_interrupted_then_names_the_commands_for_the_job(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(state: Any) -> None:
        raise KeyboardInterrupt

    with _handle(lambda request: httpx.Response(200, json=JOB)) as job, pytest.raises(KeyboardInterrupt):
        job.wait(watch=interrupt)

    assert "job j was not stopped; `unitrank wait j`" in capsys.readouterr().err


@pytest.mark.parametrize("quiet", [False, True])
def test_async_client_when_interrupted_then_names_the_commands_for_the_job(quiet: bool, capsys: pytest.CaptureFixture[str]) -> None:
    async def ask() -> None:
        turns = iter([200])

        async def answer(request: httpx.Request) -> httpx.Response:
            if next(turns, None) is None:
                signal.raise_signal(signal.SIGINT)
                await asyncio.Event().wait()
            return httpx.Response(200, json=JOB)

        async with unitrank.AsyncClient("http://service", transport=httpx.MockTransport(answer)) as client:
            await (await client.jobs.get("j")).wait(quiet=quiet)

    # A shell starts background processes with SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(ask())
    finally:
        signal.signal(signal.SIGINT, before)

    # A quiet program that cancels its own task needs no message about the job.
    assert ("job j was not stopped; `unitrank wait j`" in capsys.readouterr().err) is not quiet


def test_put_when_its_arguments_are_wrong_then_raises_not_possible(tmp_path: Path) -> None:
    with _client(200, MODEL) as client:
        for wrong in [
            lambda: client.models.put("m"),
            lambda: client.models.put("m", tmp_path / "none"),
            lambda: client.models.put("m", object()),  # type: ignore[arg-type]
            lambda: client.datasets.put("d"),
            lambda: client.datasets.put("d", tmp_path / "none"),
            lambda: client.datasets.put("d", uri="s3://a/b", x=[1]),
            lambda: client.datasets.put("d", 5),
        ]:
            with pytest.raises(unitrank.NotPossible):
                wrong()


def test_async_client_when_called_like_the_client_then_sends_the_same_requests(tmp_path: Path) -> None:
    (tmp_path / "net.pt2").write_bytes(b"PK" * 10)
    seen: list[httpx.Request] = []

    async def ask() -> str:
        async with unitrank.AsyncClient("http://service", transport=_recording(seen, 200, MODEL)) as client:
            await client.models.put("m", tmp_path / "net.pt2")
            await client.models.delete("m")
            return (await client.models.get("m")).name

    assert asyncio.run(ask()) == "m"
    assert [(request.method, request.content) for request in seen] == [("PUT", b"PK" * 10), ("DELETE", b""), ("GET", b"")]


def test_async_client_when_compared_then_has_every_method_of_the_client() -> None:
    pairs = [
        (unitrank.Client, unitrank.AsyncClient),
        (unitrank.client.contents.Models, unitrank.client.async_contents.AsyncModels),
        (unitrank.client.contents.Datasets, unitrank.client.async_contents.AsyncDatasets),
        (unitrank.client.jobs.Jobs, unitrank.client.async_jobs.AsyncJobs),
        (unitrank.JobHandle, unitrank.AsyncJobHandle),
    ]

    for client, async_client in pairs:
        calls = {name for name in dir(client) if not name.startswith("_")} - {"run"}
        assert calls == {name for name in dir(async_client) if not name.startswith("_")}


def _client(status: int, body: Json) -> Client:
    return Client("http://service", retries=0, transport=_recording([], status, body))


def _recording(seen: list[httpx.Request], status: int, body: Json) -> httpx.MockTransport:
    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(status, json=body)

    return httpx.MockTransport(answer)


class _handle:  # noqa: N801  # a context manager
    def __init__(self, answer: Callable[[httpx.Request], httpx.Response]) -> None:
        first: Iterator[bool] = iter([True])
        self._client = Client(
            "http://service",
            transport=httpx.MockTransport(lambda request: httpx.Response(200, json=JOB) if next(first, False) else answer(request)),
        )

    def __enter__(self) -> unitrank.JobHandle:
        return self._client.jobs.get("j")

    def __exit__(self, *error: object) -> None:
        self._client.close()


def test_package_when_imported_then_has_the_names_of_the_module_that_it_was() -> None:
    import unitrank.client as package
    from unitrank.client import contents, jobs, sync

    names = {sync: ("DEFAULT_URL", "Client"), contents: ("Contents", "Datasets", "Models"), jobs: ("JobHandle", "Jobs")}
    for module, exported in names.items():
        for name in exported:
            assert getattr(package, name) is getattr(module, name)


def test_jobs_when_listed_edited_and_compared_then_both_clients_send_the_same() -> None:
    requests: list[httpx.Request] = []
    comparison = examples_by_schema()["JobComparison"]

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        if request.url.path == "/v1/compare":
            return httpx.Response(200, json=comparison)
        return httpx.Response(200, json=JOB if request.method == "PATCH" else {"items": [JOB], "next": None})

    async def use() -> Any:
        async with unitrank.AsyncClient("http://s", transport=httpx.MockTransport(answer)) as client:
            await client.jobs.list(9, layer="1", metadata={"run": 3, "flag": True}, text="a b", sort="area", status=None)
            await client.jobs.edit("j", name="x", tags=None)
            return await client.compare("j1", await client.jobs.edit("j"))

    with unitrank.Client("http://s", transport=httpx.MockTransport(answer)) as client:
        client.jobs.list(9, layer="1", metadata={"run": 3, "flag": True}, text="a b", sort="area", status=None)
        client.jobs.edit("j", name="x", tags=None)
        compared = client.compare("j1", "j")
    half = len(requests)
    assert compared.differences[0].field == "methods"
    assert dict(requests[0].url.params) == {
        "layer": "1",
        "metadata.run": "3",
        "metadata.flag": "true",
        "text": "a b",
        "sort": "area",
        "limit": "9",
    }
    assert json.loads(requests[1].content) == {"metadata": {"name": "x", "tags": None}}
    assert requests[2].url.params.get_list("job") == ["j1", "j"]
    asyncio.run(use())

    assert [str(request.url) for request in requests[:half]] == [str(r.url) for r in requests[half : half + 2] + requests[-1:]]


UNIT = {
    "job": "j",
    "dataset": {"name": "d", "digest": "sha256:2"},
    "layer": {"name": "1", "at": "output", "cut": True, "units": "neuron", "shape": [6], "count": 6},
    "unit": 3,
    "index": [3],
    "rankings": [],
    "missing": {},
}
ROW = {"dataset": "d", "digest": "sha256:" + "0" * 64, "row": 2, "fields": {"x": [1.5, None]}, "left_out": {}, "image": None}
STATISTICS = {"dataset": "d", "digest": "sha256:" + "0" * 64, "examples": 4, "fields": {"y": {"rows": 4}}}


def _inside(request: httpx.Request) -> httpx.Response:
    """The answers about a unit, a row, a picture and statistics."""
    answers: dict[str, Json | bytes] = {
        "/v1/jobs/j": JOB,
        "/v1/jobs/j/units/3?cluster=a&ranking=g": UNIT,
        "/v1/datasets/d/rows/2": ROW,
        "/v1/datasets/d/rows/2.png?field=x&scale=0.5&mean=1&mean=2": b"PNG",
        "/v1/datasets/d/statistics": STATISTICS,
    }
    body = answers[request.url.raw_path.decode()]
    return httpx.Response(200, content=body) if isinstance(body, bytes) else httpx.Response(200, json=body)


def test_client_when_it_looks_inside_then_reads_units_rows_pictures_and_statistics() -> None:
    with Client("http://service", transport=httpx.MockTransport(_inside)) as client:
        unit = client.jobs.get("j").unit(3, cluster="a", ranking="g")
        row, picture, statistics = (
            client.datasets.row("d", 2),
            client.datasets.picture("d", 2, field="x", scale=0.5, mean=[1, 2]),
            client.datasets.statistics("d"),
        )

    assert (unit.unit, unit.index) == (3, [3])
    assert row.fields == {"x": [1.5, None]}
    assert picture == b"PNG"
    assert statistics.fields["y"].rows == 4


def test_async_client_when_it_looks_inside_then_reads_the_same() -> None:
    async def read() -> list[object]:
        async with unitrank.AsyncClient("http://service", transport=httpx.MockTransport(_inside)) as client:
            unit = await (await client.jobs.get("j")).unit(3, cluster="a", ranking="g")
            row = await client.datasets.row("d", 2)
            picture = await client.datasets.picture("d", 2, field="x", scale=0.5, mean=[1, 2])
            return [unit.unit, row.row, picture, (await client.datasets.statistics("d")).examples]

    assert asyncio.run(read()) == [3, 2, b"PNG", 4]
