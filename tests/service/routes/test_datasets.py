"""Datasets over HTTP."""

import io
import socket
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from safetensors.numpy import save

from tests.service.conftest import Served, assert_problem, npz, put_dataset
from tests.support.polling import wait_until
from unitrank_schemas.datasets import Dataset

BYTES = {"Content-Type": "application/octet-stream"}


def test_put_of_a_new_dataset_shows_its_fields_at_once(client: httpx.Client) -> None:
    answer = client.put("/v1/datasets/data", content=npz(x=np.zeros((3, 1, 2), np.uint8), y=[0, 1, 2]), headers=BYTES)

    assert (answer.status_code, answer.headers["location"]) == (201, "/v1/datasets/data")
    dataset = Dataset.model_validate_json(answer.content)
    assert (dataset.status, dataset.examples) == ("ready", 3)
    assert dataset.fields
    assert {name: (field.dtype, field.shape) for name, field in dataset.fields.items()} == {
        "x": ("uint8", [None, 1, 2]),
        "y": ("int64", [None]),
    }


def test_put_of_safetensors_is_read_too(client: httpx.Client) -> None:
    answer = client.put("/v1/datasets/data", content=save({"x": np.zeros((2, 5), np.float32)}), headers=BYTES)

    assert answer.status_code == 201
    assert answer.json()["fields"] == {"x": {"dtype": "float32", "shape": [None, 5]}}


def test_put_of_the_same_bytes_again_is_200(client: httpx.Client) -> None:
    first = put_dataset(client)

    again = client.put(
        "/v1/datasets/data",
        content=npz(image=np.zeros((10, 1, 2, 2), np.uint8), y=np.arange(10, dtype=np.uint8) % 3),
        headers=BYTES,
    )

    assert again.status_code == 200
    assert again.json() == first


def test_get_of_an_older_content_by_its_digest(client: httpx.Client) -> None:
    old = put_dataset(client, x=[1, 2])
    put_dataset(client, x=[1, 2, 3])

    assert client.get(f"/v1/datasets/data@{old['digest']}").json() == old
    assert client.get("/v1/datasets/data").json()["examples"] == 3


def test_list_and_delete(client: httpx.Client) -> None:
    put_dataset(client, "a")
    put_dataset(client, "b")

    assert client.delete("/v1/datasets/a").status_code == 204
    assert [item["name"] for item in client.get("/v1/datasets").json()["items"]] == ["b"]
    assert_problem(client.get("/v1/datasets/a"), 404, "dataset_not_found")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "empty_body"),
        (b"hello, this is text", "not_a_table"),
        (npz(x=np.array([None, 1], dtype=object)), "pickled_array"),
        (npz(x=[1, 2], y=[1, 2, 3]), "unequal_lengths"),
        (npz(x=3.0), "unequal_lengths"),
        (npz(x=np.zeros((0, 2))), "no_examples"),
        (npz(x=[1j]), "unsupported_dtype"),
    ],
)
def test_put_of_an_invalid_table_has_the_reason_and_stores_nothing(client: httpx.Client, body: bytes, code: str) -> None:
    assert_problem(client.put("/v1/datasets/data", content=body, headers=BYTES), 422, code)
    assert_problem(client.get("/v1/datasets/data"), 404, "dataset_not_found")


def test_put_over_the_limit_is_413(serve: Callable[..., tuple[httpx.Client, Served]]) -> None:
    client, _ = serve(max_dataset_bytes=1000)

    assert_problem(client.put("/v1/datasets/data", content=npz(x=np.zeros(1000)), headers=BYTES), 413, "dataset_too_large")


def test_put_of_a_bomb_is_413_before_it_is_unpacked(serve: Callable[..., tuple[httpx.Client, Served]]) -> None:
    client, _ = serve(max_dataset_bytes=100_000)
    file = io.BytesIO()
    np.savez_compressed(file, x=np.zeros(1_000_000))
    assert len(file.getvalue()) < 100_000

    assert_problem(client.put("/v1/datasets/data", content=file.getvalue(), headers=BYTES), 413, "dataset_too_large")


def test_put_of_damaged_bytes_is_a_problem_of_the_client(client: httpx.Client) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00\xff\xff{'descr'")

    answer = client.put("/v1/datasets/data", content=file.getvalue(), headers=BYTES)

    assert answer.status_code == 422


def test_put_over_the_quota_is_503_and_keeps_nothing(serve: Callable[..., tuple[httpx.Client, Served]], tmp_path: Path) -> None:
    client, _ = serve(quota_bytes=2000)
    put_dataset(client, "data", x=np.zeros(100))

    def stream() -> Iterator[bytes]:
        yield npz(x=np.ones(200))

    for body in (npz(x=np.ones(200)), stream()):
        answer = client.put("/v1/datasets/more", content=body, headers={"Content-Type": "application/octet-stream"})
        assert_problem(answer, 503, "store_full")
        assert answer.headers["retry-after"]
    assert [item["name"] for item in client.get("/v1/datasets").json()["items"]] == ["data"]
    assert len([file for file in (tmp_path / "blobs").rglob("*") if file.is_file() and file.suffix != ".chunks"]) == 1


def test_put_when_the_client_goes_away_keeps_nothing(served: Served, client: httpx.Client) -> None:
    folder = served.backend.blobs.path(put_dataset(client)["digest"]).parent.parent
    before = sorted(folder.rglob("*"))
    with socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2]))) as line:
        head = [
            "PUT /v1/datasets/cut HTTP/1.1",
            "Host: 127.0.0.1",
            "Content-Type: application/octet-stream",
            "Content-Length: 100000",
        ]
        line.sendall("\r\n".join([*head, "", "PK"]).encode() + bytes(50_000))
        wait_until(lambda: sorted(folder.rglob("incoming-*")))

    wait_until(lambda: sorted(folder.rglob("*")) == before)
    assert client.get("/v1/datasets/cut").status_code == 404
