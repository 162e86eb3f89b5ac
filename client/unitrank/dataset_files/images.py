"""A folder with one sub-folder of images for each class, as columns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unitrank.dataset_files.arrays import channels_first
from unitrank.errors import NotPossible

if TYPE_CHECKING:
    from numpy.typing import NDArray

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
GREY = ("1", "L")
COLOURED = ("RGB", "RGBA", "P", "LA", "PA", "CMYK", "YCbCr")


def image_rows(folder: Path) -> Iterator[dict[str, NDArray[Any]]]:
    """One row for each image, in the order of the paths.

    Columns: `x`, the pixels as uint8 [channels, height, width]; `y`, the number of the class in the
    order of the names; `class`, its name; `file`, the path in the folder. A folder without
    sub-folders has no `y` and no `class`. Grey images have one channel; if one image has colours,
    all have three.

    Raises NotPossible if the folder has no images, or images of several sizes.
    """
    import numpy as np

    image = _pillow()
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
    if not paths:
        raise NotPossible(
            f"the folder {folder} has no images ({', '.join(ENDINGS)}); give a folder with one sub-folder for each class",
            code="no_file",
        )
    classes = _classes(folder, paths)
    mode = _mode(image, paths)
    size: tuple[int, int] | None = None
    for path in paths:
        with image.open(path) as opened:
            pixels = np.asarray(opened.convert(mode))
        size = size or opened.size
        if opened.size != size:
            raise NotPossible(
                f"the image {path} has {opened.size[0]} × {opened.size[1]} pixels, but {paths[0]} has {size[0]} × {size[1]}; "
                "give all images one size, or pass a torchvision ImageFolder with a transform that does it",
                code="invalid_request",
            )
        name = path.relative_to(folder)
        labels = {"y": np.array([classes.index(name.parts[0])]), "class": np.array([name.parts[0]])} if classes else {}
        yield {"x": channels_first(pixels)[None], **labels, "file": np.array([name.as_posix()])}


def _classes(folder: Path, paths: list[Path]) -> list[str]:
    """The names of the sub-folders; none if all images are in the folder itself."""
    loose = [path for path in paths if path.parent == folder]
    if loose and len(loose) < len(paths):
        raise NotPossible(
            f"the image {loose[0]} is in no sub-folder, but others are; put each image into the folder of its class",
            code="invalid_request",
        )
    return sorted({path.relative_to(folder).parts[0] for path in paths} if not loose else [])


def _mode(image: Any, paths: list[Path]) -> str:
    """`L` if all images are grey, else `RGB`. Raises NotPossible for other kinds of pixels."""
    modes = set()
    for path in paths:
        try:
            with image.open(path) as opened:
                modes.add(opened.mode)
        except OSError as error:
            raise NotPossible(f"the image {path} cannot be read: {error}", code="invalid_request") from error
        if opened.mode not in (*GREY, *COLOURED):
            raise NotPossible(
                f"the image {path} has pixels of the kind {opened.mode}, which do not fit into 8 bits; "
                "read it with your own code, and pass an array x=…",
                code="invalid_request",
            )
    return "L" if modes <= set(GREY) else "RGB"


def _pillow() -> Any:
    """The module PIL.Image. Raises NotPossible if Pillow is not installed."""
    try:
        from PIL import Image
    except ImportError as error:
        raise NotPossible(
            "images need Pillow, which is not installed: pip install 'unitrank[images]'", code="not_installed"
        ) from error
    return Image
