"""The parent's handle of its child: environment, device and models."""

import json
import socket
import sys
from pathlib import Path

import pytest

from unitrank_worker.child_settings import ChildSettings
from unitrank_worker.children.handle import ALLOCATOR, ChildHandle, device_inside, environment
from unitrank_worker.process.channel import Closed

SETTINGS = ChildSettings(scratch="/nowhere")


def test_child_when_it_has_a_gpu_then_sees_no_other() -> None:
    assert environment("cuda:3", {})["CUDA_VISIBLE_DEVICES"] == "3"
    assert environment("cuda", {})["CUDA_VISIBLE_DEVICES"] == "0"
    assert "CUDA_VISIBLE_DEVICES" not in environment("cpu", {})

    assert environment("cuda:1", {"CUDA_VISIBLE_DEVICES": "4,GPU-7"})["CUDA_VISIBLE_DEVICES"] == "GPU-7"
    assert (device_inside("cuda:1"), device_inside("cpu")) == ("cuda:0", "cpu")


@pytest.mark.parametrize(
    "name",
    [
        "UNITRANK_REDIS_URL",
        "REDIS_URL",
        "AWS_SECRET_ACCESS_KEY",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "HF_TOKEN",
        "OTEL_EXPORTER_OTLP_HEADERS",
    ],
)
def test_child_when_a_variable_may_hold_a_secret_then_does_not_get_it(name: str) -> None:
    assert name not in environment("cpu", {name: "x"})


def test_child_when_a_variable_holds_the_stores_address_or_password_then_does_not_get_it() -> None:
    url = "redis://:hunter22@store:6379/0"
    variables = {"CELERY_BROKER": url, "PASS": "hunter22", "TOKENIZERS_PARALLELISM": "false", "PATH": "/bin"}

    kept = environment("cpu", variables, [url, "hunter22"])

    own = {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1", "PYTHONHASHSEED": "0"}
    assert kept == {"TOKENIZERS_PARALLELISM": "false", "PATH": "/bin", **ALLOCATOR, **own}


def test_child_when_the_operator_sets_malloc_then_keeps_the_setting() -> None:
    assert environment("cpu", {})["MALLOC_TRIM_THRESHOLD_"] == str(256 << 20)
    assert environment("cpu", {"MALLOC_TRIM_THRESHOLD_": "1"})["MALLOC_TRIM_THRESHOLD_"] == "1"


def test_handle_when_it_has_no_child_then_its_methods_work() -> None:
    child = ChildHandle(SETTINGS, "nothing:Nothing", "cpu")

    assert (child.pid, child.memory(), child.end()) == (0, 0, 0)
    with pytest.raises(Closed):
        child.send({})


def test_handle_when_the_child_cannot_be_started_then_leaves_no_open_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = ChildHandle(ChildSettings(scratch=str(tmp_path)), "nothing:Nothing", "cpu")
    ends: list[socket.socket] = []

    def pair() -> tuple[socket.socket, socket.socket]:
        ends.extend(new_pair())
        return ends[0], ends[1]

    new_pair = socket.socketpair
    monkeypatch.setattr(socket, "socketpair", pair)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    with pytest.raises(FileNotFoundError):
        child.start()
    child.end()

    assert [end.fileno() for end in ends] == [-1, -1]
    assert list(tmp_path.iterdir()) == []


def test_settings_when_sent_to_the_child_then_arrive_as_they_were() -> None:
    settings = ChildSettings(scratch="/s", operators=("aten.histc.default",), child_memory_bytes=5)

    assert ChildSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings
