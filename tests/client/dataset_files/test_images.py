"""A folder of images by class becomes a dataset with its channels first."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unitrank.dataset_files import array_of, dataset_file
from unitrank.errors import NotPossible
from unitrank_tables import open_table

RED = np.zeros((2, 3, 3), np.uint8)
RED[..., 0] = 255


def save(path: Path, pixels: Any, mode: str | None = None) -> None:
    path.parent.mkdir(exist_ok=True)
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path)


def read(folder: Path, notes: list[str] | None = None) -> dict[str, Any]:
    with dataset_file(folder, {}, note=([] if notes is None else notes).append) as path, open_table(path) as table:
        return {name: table.read(name, slice(None)) for name in table.fields}


def test_folder_when_images_have_colours_then_all_have_three_channels_first(tmp_path: Path) -> None:
    save(tmp_path / "dog" / "a.png", RED)
    save(tmp_path / "cat" / "b.png", RED[..., 1])
    notes: list[str] = []

    fields = read(tmp_path, notes)

    np.testing.assert_array_equal(fields["x"], [np.zeros((3, 2, 3)), RED.transpose(2, 0, 1)])
    assert (fields["y"].tolist(), fields["class"].tolist()) == ([0, 1], ["cat", "dog"])
    assert fields["file"].tolist() == ["cat/b.png", "dog/a.png"]
    assert notes == ["2 images of 2 classes: x is uint8 [3, 2, 3], channels first; y is the number of the class: 0 cat, 1 dog"]


def test_folder_when_all_images_are_grey_then_they_have_one_channel(tmp_path: Path) -> None:
    save(tmp_path / "a.png", RED[..., 0])

    fields = read(tmp_path)

    assert fields["x"].shape == (1, 1, 2, 3)
    assert "y" not in fields


def test_folder_when_images_cannot_be_one_array_then_the_error_names_the_image(tmp_path: Path) -> None:
    with pytest.raises(NotPossible, match="has no images"):
        read(tmp_path)
    save(tmp_path / "a" / "1.png", RED)
    save(tmp_path / "b" / "2.png", RED[:1])
    with pytest.raises(NotPossible, match=r"2\.png has 3 × 1 pixels, but .*1\.png has 3 × 2"):
        read(tmp_path)
    save(tmp_path / "3.png", RED)
    with pytest.raises(NotPossible, match=r"3\.png is in no sub-folder"):
        read(tmp_path)
    (tmp_path / "a" / "1.png").write_bytes(b"no image")
    (tmp_path / "3.png").unlink()
    with pytest.raises(NotPossible, match=r"1\.png cannot be read"):
        read(tmp_path)


def test_folder_when_pixels_have_more_than_8_bits_then_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "deep.png", np.zeros((2, 2), np.uint16))

    with pytest.raises(NotPossible, match=r"deep\.png has pixels of the kind I;16"):
        read(tmp_path)


def test_picture_when_it_is_an_item_then_its_channels_are_first() -> None:
    assert array_of(Image.fromarray(RED), "x").shape == (3, 2, 3)
