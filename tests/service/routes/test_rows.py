"""Rows of a dataset over HTTP: their values, their pictures, and the statistics of all rows."""

import io
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.service.conftest import assert_problem, put_dataset
from unitrank_schemas.datasets import DatasetRow, DatasetStatistics


def pixels(answer: httpx.Response) -> np.ndarray[Any, Any]:
    """The picture's numbers."""
    assert answer.headers["content-type"] == "image/png", answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def test_row_when_read_then_has_the_values_of_each_field(client: httpx.Client) -> None:
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    x[2, 1] = np.nan
    ages = np.array([1.5, 2, np.nan, np.inf], np.float32)
    put_dataset(client, x=x, y=np.arange(4), age=ages, name_of=np.array(["a", "b", "ö", "d"]))

    answer = client.get("/v1/datasets/data/rows/2")

    row = DatasetRow.model_validate_json(answer.content)
    assert (row.dataset, row.row, row.image) == ("data", 2, None)
    assert row.fields == {"x": [float(x[2, 0]), None, float(x[2, 2])], "y": 2, "age": None, "name_of": "ö"}
    assert client.get("/v1/datasets/data/rows/2", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304


def test_row_when_unknown_then_is_404_with_the_rows_that_exist(client: httpx.Client) -> None:
    put_dataset(client)

    for path in ("rows/10", "rows/10.png"):
        assert "0 to 9" in assert_problem(client.get(f"/v1/datasets/data/{path}"), 404, "row_not_found")["detail"]
    assert_problem(client.get("/v1/datasets/none/rows/0"), 404, "dataset_not_found")
    for path in ("rows/-1", "rows/one", "rows/1.jpg"):
        assert client.get(f"/v1/datasets/data/{path}").status_code == 422


def test_row_when_a_field_is_large_then_the_field_is_left_out_with_the_reason(client: httpx.Client) -> None:
    put_dataset(client, x=np.zeros((2, 2**18 + 1), np.uint8), y=[0, 1])

    row = client.get("/v1/datasets/data/rows/1").json()

    assert row["fields"] == {"x": None, "y": 1}
    assert "262145 values" in row["left_out"]["x"]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.arange(6, dtype=np.uint8).reshape(1, 2, 3) * 40, np.arange(6, dtype=np.uint8).reshape(2, 3) * 40),
        (np.arange(6, dtype=np.uint8).reshape(2, 3, 1) * 40, np.arange(6, dtype=np.uint8).reshape(2, 3) * 40),
        (np.arange(6, dtype=np.uint8).reshape(2, 3) * 40, np.arange(6, dtype=np.uint8).reshape(2, 3) * 40),
        (np.arange(18, dtype=np.uint8).reshape(3, 2, 3), np.arange(18, dtype=np.uint8).reshape(3, 2, 3).transpose(1, 2, 0)),
        (np.arange(24, dtype=np.uint8).reshape(2, 4, 3), np.arange(24, dtype=np.uint8).reshape(2, 4, 3)),
        (np.array([[[0.0, 0.5], [1.0, 0.25]]]), np.array([[0, 128], [255, 64]])),
        (np.array([[[0.0, 51.0], [255.0, 2.0]]]), np.array([[0, 51], [255, 2]])),
        (np.array([[[-1.0, 0.0], [1.0, np.nan]]]), np.array([[0, 128], [255, 0]])),
        (np.array([[[True, False], [False, True]]]), np.array([[255, 0], [0, 255]])),
    ],
    ids=["first", "last", "none", "colours-first", "colours-last", "unit-range", "bytes-as-floats", "signed", "booleans"],
)
def test_picture_when_drawn_then_has_the_pixels_of_the_row(client: httpx.Client, image: Any, expected: Any) -> None:
    put_dataset(client, image=np.stack([np.zeros_like(image), image]))

    drawn = pixels(client.get("/v1/datasets/data/rows/1.png"))

    np.testing.assert_array_equal(drawn, expected)
    assert client.get("/v1/datasets/data/rows/1").json()["image"] == "image"


def test_picture_when_the_dataset_was_preprocessed_then_shows_the_original(client: httpx.Client) -> None:
    original = np.random.default_rng(0).integers(0, 256, (1, 3, 4, 5)).astype(np.uint8)
    original[0, :, 0, :2] = [0, 255]
    scale, mean, std = 1 / 255, np.array([0.48, 0.45, 0.4]), np.array([0.22, 0.23, 0.24])
    x = ((original * scale - mean[:, None, None]) / std[:, None, None]).astype(np.float32)
    put_dataset(client, x=x)

    drawn = pixels(client.get("/v1/datasets/data/rows/0.png", params={"scale": scale, "mean": mean.tolist(), "std": std.tolist()}))

    np.testing.assert_array_equal(drawn, original[0].transpose(1, 2, 0))
    wrong = client.get("/v1/datasets/data/rows/0.png", params={"mean": [1.0, 2.0]})
    assert "3 channels" in assert_problem(wrong, 422, "invalid_request")["detail"]
    assert_problem(client.get("/v1/datasets/data/rows/0.png", params={"scale": 0}), 422, "invalid_request")


def test_picture_when_the_shape_is_ambiguous_then_the_request_can_choose(client: httpx.Client) -> None:
    image = np.arange(36, dtype=np.uint8).reshape(1, 3, 4, 3)
    put_dataset(client, x=image, y=[[1.0, 2.0]])

    first, last = (
        pixels(client.get("/v1/datasets/data/rows/0.png", params={"channels": axis, "field": "x"})) for axis in ("first", "last")
    )

    np.testing.assert_array_equal(first, image[0].transpose(1, 2, 0))
    np.testing.assert_array_equal(last, image[0])
    assert_problem(client.get("/v1/datasets/data/rows/0.png?field=y"), 422, "no_image")
    assert "nearest: 'x'" in assert_problem(client.get("/v1/datasets/data/rows/0.png?field=xx"), 404, "field_not_found")["detail"]
    assert_problem(client.get("/v1/datasets/data/rows/0.png?channels=none"), 422, "no_image")


def test_picture_when_no_field_holds_images_then_is_422(client: httpx.Client) -> None:
    put_dataset(client, x=np.zeros((2, 5)), tokens=np.zeros((2, 16, 8, 8)))

    assert_problem(client.get("/v1/datasets/data/rows/0.png"), 422, "no_image")


def test_statistics_when_read_then_equal_those_of_numpy(client: httpx.Client) -> None:
    x = np.random.default_rng(0).normal(size=(50, 2, 3)).astype(np.float32)
    x[3, 1, 2] = np.inf
    labels = np.random.default_rng(1).integers(0, 4, 50)
    put_dataset(client, x=x, y=labels, kind=np.array(["cat", "dog"] * 25))

    statistics = DatasetStatistics.model_validate_json(client.get("/v1/datasets/data/statistics").content)

    finite = x[np.isfinite(x)].astype(np.float64)
    field = statistics.fields["x"]
    assert (field.rows, field.not_finite, field.low, field.high) == (50, 1, finite.min(), finite.max())
    assert field.mean == pytest.approx(finite.mean())
    assert field.histogram
    assert sum(field.histogram.counts) == len(finite)
    np.testing.assert_allclose(field.histogram.edges, np.linspace(finite.min(), finite.max(), 21))
    balance = statistics.fields["y"].values
    assert balance
    assert [(each.value, each.rows) for each in balance] == list(enumerate(np.bincount(labels)))
    assert statistics.fields["y"].histogram
    assert statistics.fields["y"].histogram.counts == np.bincount(labels).tolist()
    kinds = statistics.fields["kind"].values
    assert kinds
    assert [(each.value, each.rows) for each in kinds] == [("cat", 25), ("dog", 25)]
    assert statistics.fields["kind"].mean is None


def test_statistics_when_a_field_is_large_then_reads_rows_from_the_whole_dataset(client: httpx.Client) -> None:
    x = np.repeat(np.arange(40, dtype=np.uint8)[:, None], 2**17, axis=1)
    put_dataset(client, x=x)

    field = client.get("/v1/datasets/data/statistics").json()["fields"]["x"]

    assert (field["rows"], field["low"], field["high"]) == (8, 0, 39)


@pytest.mark.usefixtures("idle_importer")
def test_rows_when_the_dataset_is_still_imported_then_are_409(client: httpx.Client, served: Any) -> None:
    served.backend.datasets.begin("later", "file:///nowhere.npz")

    for path in ("rows/0", "rows/0.png", "statistics"):
        assert_problem(client.get(f"/v1/datasets/later/{path}"), 409, "dataset_not_ready")
