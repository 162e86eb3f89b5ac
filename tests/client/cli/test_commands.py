"""Commands that use a service, which a fake transport replaces."""

import errno
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from itertools import chain, repeat
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest

import unitrank
from unitrank.cli import output
from unitrank.cli.main import main
from unitrank.client.sync import Client
from unitrank_schemas.results import Result
from unitrank_service.openapi.examples.by_schema import examples_by_schema

Json = dict[str, Any]
REQUEST = {"model": "m", "layer": "1", "dataset": "d", "methods": [{"name": "gradient"}]}
JOB = {
    "id": "j",
    "status": "queued",
    "attempt": 0,
    "created_at": "2026-01-01T00:00:00Z",
    "request": REQUEST,
    "links": dict.fromkeys(["self", "result", "events", "report"], "/"),
}
SUMMARY = Result.model_validate(
    {
        "job": "j",
        "model": {"name": "m", "digest": "sha256:1"},
        "dataset": {"name": "d", "digest": "sha256:2"},
        "layer": {"name": "1", "at": "output", "cut": True, "units": "neuron", "shape": [1000], "count": 1000},
        "clusters": [{"name": "all", "examples": 4, "ranked_on": 2, "tested_on": 2}],
        "rankings": [{"id": "gradient", "method": {"name": "gradient"}, "clusters": {"all": {"top": []}}, "seconds": 0.1}],
        "leaderboard": [],
        "warnings": [],
        "cost": {"seconds": 1.0, "forward_rows": 1, "backward_rows": 1, "device": "cpu", "peak_bytes": 0},
        "provenance": {"seed": 0, "version": "0", "torch": "2", "options": {}},
    }
)
PROBLEM = {"code": "out_of_memory", "title": "Failed", "detail": "ask for less"}
SUBMIT = ["submit", "--model", "m", "--layer", "1", "--dataset", "d", "--method", "gradient"]


class Ended(NamedTuple):
    """A command's exit code, stdout and stderr."""

    code: int
    out: str
    err: str


RunCommand = Callable[..., Ended]


@pytest.fixture
def run_command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> RunCommand:
    """Runs a command line in this process, against a fake service.

    The service answers with each of `states` in turn: a state of the job, a response, or an error.
    Class 3 of each job is named dog.
    """

    def run(
        *words: str, states: Iterable[Json | BaseException | httpx.Response] = (), requests: list[httpx.Request] | None = None
    ) -> Ended:
        turns = iter(states)

        def answer(request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith("/classes"):
                return httpx.Response(200, json={"classes": {"3": "dog"}})
            if requests is not None:
                requests.append(request)
            turn = next(turns)
            if isinstance(turn, BaseException):
                raise turn
            return turn if isinstance(turn, httpx.Response) else httpx.Response(200, json=JOB | turn)

        def client(url: str, key: str | None, **options: Any) -> Client:
            return Client("http://service", key, transport=httpx.MockTransport(answer), **options)

        monkeypatch.setattr(output, "Client", client)
        monkeypatch.setattr(sys, "argv", ["unitrank", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        return Ended(code if isinstance(code, int) else 0, *capfd.readouterr())

    return run


def test_submit_when_its_timeout_is_invalid_then_nothing_is_sent(run_command: RunCommand) -> None:
    requests: list[httpx.Request] = []
    for words in (SUBMIT, ["wait", "j"], ["put-dataset", "d", "d.npz"], ["put-model", "m", "m.pt2"]):
        output = run_command(*words, "--timeout", "1 hour", requests=requests)
        assert (output.code, "write 90, 90s, 20m or 2h" in output.err) == (2, True)

    assert requests == []


@pytest.mark.parametrize("words", [[*SUBMIT, "--wait"], ["wait", "j"]])
@pytest.mark.parametrize(
    ("end", "code"),
    [({"status": "failed", "problem": PROBLEM}, 1), ({"status": "running"}, 124), (KeyboardInterrupt(), 130)],
)
def test_wait_when_the_job_does_not_succeed_then_stdout_has_the_job(
    run_command: RunCommand, words: list[str], end: Any, code: int
) -> None:
    late = ["--timeout", "0.2"] if code == 124 else []
    plain = run_command(*words, *late, states=chain([{}], repeat(end)))
    output = run_command(*words, *late, "--json", states=chain([{}], repeat(end)))
    state = json.loads(output.out)

    assert (plain.code, output.code) == (code, code)
    assert plain.out == "j\n"
    assert (state["id"], state["status"]) == ("j", "queued" if code == 130 else end["status"])
    assert (state["problem"] or {}).get("code") == ("out_of_memory" if code == 1 else None)
    assert code != 130 or "job j was not stopped" in plain.err


def test_put_when_done_then_stdout_has_the_exact_name_for_a_job(run_command: RunCommand, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 3)))
    record = {"name": "d", "digest": f"sha256:{64 * 'a'}", "bytes": 1, "status": "ready", "created_at": "2026-01-01T00:00:00Z"}
    imported = record | {"digest": None, "status": "importing"}
    put, awaited = (
        run_command("put-dataset", "d", *words, states=[httpx.Response(200, json=answer)])
        for words, answer in (([str(tmp_path / "d.npz")], record), (["--uri", "s3://b/d.npz", "--no-wait"], imported))
    )

    assert (put.code, put.out) == (0, f"d@sha256:{64 * 'a'}\n")
    assert (awaited.code, awaited.out) == (0, "d\n")


def test_command_when_a_file_cannot_be_written_then_prints_one_line(run_command: RunCommand, tmp_path: Path) -> None:
    output = run_command("result", "j", "-o", str(tmp_path / "none" / "r"), states=[{}, {}])

    assert (output.code, output.out) == (2, "")
    assert "none/r cannot be written: No such file or directory" in output.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gate", "gone.json", "--max-p", "0.1"], "the file gone.json does not exist; give the id of a job"),
        (["compare", "j", "folder/gone"], "the file folder/gone does not exist; give the id of a job"),
        (["gate", "j", "--min-better-than-random", "90"], "--min-better-than-random"),
        (["gate", "j", "--max-p", "5"], "--max-p"),
        (["put-model", "m"], "give one of a model, --uri and --hub"),
        (["put-model", "m", "net.py"], "name the network in it, such as net.py:network"),
        (["put-model", "m", "."], ". is a folder; for a folder of Transformers give hub='.' (on the command line --hub .)"),
        (["put-dataset", "d", "t.csv", "--column", "x"], "--column 'x' is invalid: give FIELD=COLUMN"),
        (["put-dataset", "d", "gone.csv"], "the file gone.csv does not exist"),
    ],
)
def test_command_when_an_argument_is_wrong_then_names_it_and_exits_with_2(
    run_command: RunCommand, words: list[str], message: str
) -> None:
    output = run_command(*words, states=[{"status": "succeeded"}, httpx.Response(200, json=SUMMARY.model_dump(mode="json"))])

    assert (output.code, output.out) == (2, "")
    assert message in output.err


@pytest.mark.parametrize("narrowed", [("--top", "3"), ("--cluster", "a"), ("--ranking", "gradient")])
@pytest.mark.parametrize("format", ["npz", "safetensors"])
def test_result_when_a_binary_format_is_narrowed_then_is_refused(
    run_command: RunCommand, format: str, narrowed: tuple[str, str], tmp_path: Path
) -> None:
    requests: list[httpx.Request] = []
    output = run_command("result", "j", "--format", format, *narrowed, "-o", str(tmp_path / "r"), requests=requests)

    assert (output.code, output.out, requests, list(tmp_path.iterdir())) == (2, "", [], [])
    reason = f"--format {format} writes all arrays, so --cluster, --ranking and --top do not apply"
    assert output.err == f"error: {reason}; use json or csv with them\n"


def test_result_when_fetched_as_npz_then_the_summary_is_added_and_the_arrays_are_unchanged(
    run_command: RunCommand, tmp_path: Path
) -> None:
    arrays = io.BytesIO()
    np.savez_compressed(arrays, **{"importance/gradient": np.zeros((1, 1000))})
    answers = [httpx.Response(200, content=SUMMARY.model_dump_json()), httpx.Response(200, content=arrays.getvalue())]
    output = run_command("result", "j", "--format", "npz", "-o", str(tmp_path / "r.npz"), states=[{}, *answers])
    result = unitrank.load(tmp_path / "r.npz")

    assert (output.code, output.err) == (0, "")
    assert result.summary == SUMMARY
    assert result.arrays["importance/gradient"].shape == (1, 1000)
    with zipfile.ZipFile(arrays) as archive:
        assert (tmp_path / "r.npz").read_bytes().startswith(arrays.getvalue()[: archive.start_dir])


def test_command_when_the_disk_is_full_then_prints_one_line(run_command: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "r.md")

    monkeypatch.setattr("unitrank.cli.main.app", full)
    output = run_command("result", "j")

    assert (output.code, output.err) == (2, "error: [Errno 28] No space left on device: 'r.md'\n")


@pytest.mark.parametrize(
    "words",
    [
        ["export", "net.py:make", "net.pt2", "--example", "3"],
        ["export", ".", "net.pt2", "--example", "3"],
        ["export", ".", "net.pt2"],
        ["put-model", "m", "net.py:make", "--example", "3"],
    ],
)
def test_command_when_pytorch_is_missing_then_the_error_names_the_extra(
    run_command: RunCommand, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in {"net.py": "import torch\n", "config.json": "{}", "model.safetensors": ""}.items():
        (tmp_path / name).write_text(content)
    for module in [name for name in sys.modules if name.partition(".")[0] in ("torch", "unitrank_engine")]:
        # None makes the import fail. A deleted module would be imported again by later tests.
        monkeypatch.setitem(sys.modules, module, None)
    output = run_command(*words)

    assert (output.code, output.out) == (2, "")
    assert "pip install 'unitrank[worker]'" in output.err


def test_command_when_the_key_is_invalid_then_the_error_hides_it(run_command: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNITRANK_KEY", "schlüssel")
    output = run_command("list")

    assert (output.code, output.out) == (2, "")
    assert output.err.startswith("error: the key is invalid: a key has only printable ASCII characters and no space; ")


def test_submit_when_its_help_is_read_then_no_option_takes_a_key(run_command: RunCommand) -> None:
    page = run_command("submit", "--help").out

    assert "UNITRANK_KEY" in page
    assert "--key" not in page


def test_completion_when_a_shell_asks_then_there_is_one() -> None:
    environment = os.environ | {"_UNITRANK_COMPLETE": "complete_bash", "COMP_WORDS": "unitrank put-", "COMP_CWORD": "1"}
    program = "import sys; sys.argv[0] = 'unitrank'; from unitrank.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)

    assert done.stdout.split() == ["put-model", "put-dataset"]


def test_jobs_when_filtered_then_the_service_gets_the_filters_and_the_table_shows_the_summaries(run_command: RunCommand) -> None:
    summary = {"best": "gradient", "verdict": "better_than_random", "robust": False, "area": 0.75, "clusters": 3}
    page = {"items": [JOB | {"summary": summary, "request": REQUEST | {"metadata": {"name": "First try"}}}], "next": None}
    requests: list[httpx.Request] = []
    words = ["--layer", "1", "--verdict", "fragile", "--metadata", "team=a=b", "--text", "x y", "--sort", "area", "--order", "asc"]
    output = run_command("jobs", *words, states=[httpx.Response(200, json=page)], requests=requests)

    assert output.code == 0, output.err
    sent = dict(requests[0].url.params)
    assert sent.pop("limit") == "50"
    assert sent == {"layer": "1", "verdict": "fragile", "metadata.team": "a=b", "text": "x y", "sort": "area", "order": "asc"}
    assert "First try" in output.err
    assert "fragile" in output.err
    assert "0.750" in output.err


def test_edit_when_called_then_sends_the_entries_and_removes_the_empty_ones(run_command: RunCommand) -> None:
    requests: list[httpx.Request] = []
    output = run_command("edit", "j", "--name", "New", "--tag", "a", "--tag", "b", "--notes", "", states=[{}], requests=requests)

    assert (output.code, requests[0].method, requests[0].url.path) == (0, "PATCH", "/v1/jobs/j")
    assert json.loads(requests[0].content) == {"metadata": {"name": "New", "tags": ["a", "b"], "notes": None}}


@pytest.mark.parametrize(
    ("text", "classes"), [("cat, dog", ["cat", "dog"]), ("names", "names"), ("", None), ("cat,,dog", ["cat", "", "dog"])]
)
def test_edit_when_it_gets_the_names_of_classes_then_sends_them_in_their_order(
    run_command: RunCommand, text: str, classes: list[str] | str | None
) -> None:
    requests: list[httpx.Request] = []
    output = run_command("edit", "j", "--classes", text, states=[{}], requests=requests)

    assert output.code == 0, output.err
    assert json.loads(requests[0].content) == {"metadata": {"classes": classes}}


def test_submit_when_it_has_no_layer_then_says_which_command_lists_the_layers(run_command: RunCommand) -> None:
    output = run_command("submit", "--model", "net", "--dataset", "d", "--method", "gradient")

    assert output.code == 2
    assert "unitrank layers net" in output.err


@pytest.mark.parametrize("words", [["edit", "j"], ["compare"], ["compare", "j", "--text", "x"], ["jobs", "--metadata", "team"]])
def test_command_when_its_options_make_no_sense_then_nothing_is_sent(run_command: RunCommand, words: list[str]) -> None:
    requests: list[httpx.Request] = []
    output = run_command(*words, requests=requests)

    assert (output.code, requests) == (2, [])
    assert output.err.startswith("error: ")


def test_compare_when_options_select_the_jobs_then_compares_them_on_the_service(run_command: RunCommand) -> None:
    requests: list[httpx.Request] = []
    page = {"items": [JOB | {"id": id} for id in ("j1", "j2", "j3")], "next": None}
    comparison = examples_by_schema()["JobComparison"]
    states = [httpx.Response(200, json=page), httpx.Response(200, json=comparison)]
    output = run_command("compare", "--text", "digits", states=states, requests=requests)

    assert output.code == 0, output.err
    assert (requests[0].url.params["status"], requests[0].url.params["text"]) == ("succeeded", "digits")
    assert requests[1].url.params.get_list("job") == ["j1", "j2", "j3"]
    for text in ("first try", "methods", "A: conductance", "0.010 [-0.010, 0.030]", "neither"):
        assert text in output.err


def test_unit_when_shown_then_names_importance_effect_and_examples(run_command: RunCommand) -> None:
    examples = {"largest": [{"row": 7, "value": 3.125}], "smallest": [{"row": 9, "value": -1.0}]}
    value = {"importance": 0.5, "spread": None, "rank": 2, "effect": {"value": 0.25, "source": "verify", "ranking": "g"}}
    unit = {
        "job": "j",
        "dataset": {"name": "d", "digest": "sha256:2"},
        "layer": {"name": "1", "at": "output", "cut": True, "units": "neuron", "shape": [6], "count": 6},
        "unit": 3,
        "index": [3],
        "rankings": [{"id": "g", "clusters": {"a": value | {"score": examples, "activation": None}}}],
        "missing": {"activation": "the result has no examples of this unit's values"},
    }
    answer = httpx.Response(200, json=unit)

    output = run_command("unit", "j", "3", states=[{}, answer])
    printed = run_command("unit", "j", "3", "--json", states=[{}, answer])

    for text in ("0.500", "0.25 (verify)", "7 (3.12)", "9 (-1)", "the result has no examples of this unit's values"):
        assert text in output.err
    assert json.loads(printed.out)["rankings"][0]["clusters"]["a"]["rank"] == 2


def test_unit_when_its_clusters_are_classes_then_names_them(run_command: RunCommand) -> None:
    unit = examples_by_schema()["UnitResult"]
    (ranking, *_) = unit["rankings"]
    value = next(iter(ranking["clusters"].values()))
    answer = httpx.Response(200, json=unit | {"rankings": [ranking | {"id": "gradient@3", "clusters": {"3": value, "4": value}}]})
    by_label = {"request": REQUEST | {"clusters": {"by": "label"}}}

    of_classes, others = (run_command("unit", "j", "3", states=[job, answer]).err for job in (by_label, {}))

    assert of_classes.count("gradient@3 (dog)") == others.count("gradient@3 (dog)") == 2
    assert " 3 (dog) " in of_classes
    assert " 3 (dog) " not in others


def test_comparison_when_two_ids_are_given_then_names_all_differences_of_their_requests(
    run_command: RunCommand, tmp_path: Path
) -> None:
    comparison = examples_by_schema()["JobComparison"]
    comparison["differences"] = [{"field": field, "values": [1, 2]} for field in ("methods", "keep_examples")]
    summary = httpx.Response(200, content=SUMMARY.model_dump_json(), headers={"Content-Type": "application/json"})
    archive = io.BytesIO()
    np.savez(archive, **{"importance/gradient": np.arange(1000.0)[None]})
    arrays = httpx.Response(200, content=archive.getvalue())
    one = [{"status": "succeeded"}, summary, arrays]
    states = [*one, *one, httpx.Response(200, json=comparison)]

    printed = run_command("compare", "j1", "j2", "--json", states=states)
    worded = run_command("compare", "j1", "j2", states=states)

    assert printed.code == 0, printed.err
    assert json.loads(printed.out)[0]["differences"] == ["methods", "keep_examples"]
    assert "the requests differ in: methods, keep_examples" in worded.err


def test_row_when_read_then_prints_its_values_or_writes_its_image(run_command: RunCommand, tmp_path: Path) -> None:
    row = {"dataset": "d", "digest": "sha256:" + "0" * 64, "row": 2, "fields": {"x": [1.5]}, "left_out": {}, "image": None}
    file = tmp_path / "row.png"

    printed = run_command("row", "d", "2", states=[httpx.Response(200, json=row)])
    written = run_command("row", "d", "2", "--picture", str(file), states=[httpx.Response(200, content=b"PNG")])

    undone: list[httpx.Request] = []
    numbers = ["--channels", "last", "--scale", "2", *("--mean", "0.5", "--mean", "1", "--mean", "2")]
    run_command("row", "d", "2", "--picture", str(file), *numbers, states=[httpx.Response(200, content=b"PNG")], requests=undone)
    misplaced = run_command("row", "d", "2", "--std", "2")

    assert json.loads(printed.out)["fields"] == {"x": [1.5]}
    assert undone[0].url.params.multi_items() == [
        ("channels", "last"),
        ("scale", "2.0"),
        *(("mean", each) for each in ("0.5", "1.0", "2.0")),
    ]
    assert (misplaced.code, "--std need --picture FILE" in misplaced.err) == (2, True)
    assert (written.code, file.read_bytes()) == (0, b"PNG")


def test_statistics_when_shown_then_names_the_class_balance(run_command: RunCommand) -> None:
    field = {"rows": 3, "low": 0.0, "high": 1.0, "mean": 0.333333, "values": [{"value": 0, "rows": 2}, {"value": 1, "rows": 1}]}
    answer = httpx.Response(
        200, json={"dataset": "d", "digest": "sha256:" + "0" * 64, "examples": 3, "fields": {"y": field, "x": {"rows": 3}}}
    )

    output = run_command("statistics", "d", states=[answer])

    assert "0: 2, 1: 1" in output.err
    assert "3 of 3" in output.err
