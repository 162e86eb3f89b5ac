"""The zip: the number, sizes and names of its entries are checked before bytes are read."""

import gzip
import pickle
import struct
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
import pytest
import torch
from safetensors.torch import save

from tests.engine.archive.forging import Entries, table_of_contents, write
from unitrank_engine.archive import ArchiveError, clean, reader


def refusal(source: Path) -> str:
    """The code with which the archive is refused."""
    target = source.with_name("clean")
    with pytest.raises(ArchiveError) as refused:
        clean(source, target)
    assert not target.exists()
    return refused.value.code


@pytest.mark.parametrize("content", [b"", b"PK", b"\x80\x02}q\x00.", bytes(range(256)) * 40, b"PK\x05\x06" + bytes(18)])
def test_clean_of_bytes_that_are_no_archive_says_so(content: bytes, tmp_path: Path) -> None:
    """Empty files, random bytes, pickles and empty zips are not archives."""
    (tmp_path / "model.pt2").write_bytes(content)

    assert refusal(tmp_path / "model.pt2") == "not_an_archive"


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.99])
def test_clean_of_a_truncated_archive_says_so(kept: float, saved: Path, tmp_path: Path) -> None:
    """An incomplete upload is not an archive."""
    content = saved.read_bytes()
    (tmp_path / "model.pt2").write_bytes(content[: int(len(content) * kept)])

    assert refusal(tmp_path / "model.pt2") == "not_an_archive"


class Doubling(torch.nn.Module):
    """A network with a weight, so that its TorchScript has an entry data/0."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight


def save_torchscript(file: BytesIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(Doubling(), torch.ones(2)), file)


def zipped(file: BytesIO, *names: str) -> None:
    """Writes a zip whose entries are empty."""
    with ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"")


WEIGHTS = {"weight": torch.ones(2)}
EXPORT = r"unitrank\.export or torch\.export\.save"
# For each file that users upload by mistake: its writer, the code and the text of the refusal.
OTHER_FILES: dict[str, tuple[Callable[[BytesIO], object], str, str]] = {
    "state_dict": (lambda file: torch.save(WEIGHTS, file), "not_an_archive", f"written by torch.save.*{EXPORT}"),
    "old_state_dict": (
        lambda file: torch.save(WEIGHTS, file, _use_new_zipfile_serialization=False),
        "not_an_archive",
        f"is a pickle.*{EXPORT}",
    ),
    "pickle": (lambda file: pickle.dump({"weight": 1}, file), "not_an_archive", f"is a pickle.*{EXPORT}"),
    "torchscript": (save_torchscript, "not_an_archive", f"is a TorchScript archive.*{EXPORT}"),
    "safetensors": (lambda file: file.write(save(WEIGHTS)), "not_an_archive", f"safetensors.*architecture=NAME.*{EXPORT}"),
    "npz": (lambda file: np.savez(file, x=np.ones(2)), "archive_entry_refused", "upload it as a dataset"),
    "small_npz": (lambda file: np.savez_compressed(file, x=np.ones(2)), "archive_entry_refused", "upload it as a dataset"),
    "npy": (lambda file: np.save(file, np.ones(2)), "not_an_archive", f"numpy array.*{EXPORT}"),
    "onnx": (lambda file: file.write(b"\x08\x08\x12\x07pytorch"), "not_an_archive", f"ONNX model.*{EXPORT}"),
    "module": (
        lambda file: torch.save(torch.nn.Linear(2, 1), file),
        "not_an_archive",
        r"modules\.linear\.Linear",
    ),
    "weights": (lambda file: torch.save(WEIGHTS, file), "not_an_archive", "weights without a network.*load_state_dict"),
    "hdf5": (lambda file: file.write(b"\x89HDF\r\n\x1a\n\0\0"), "not_an_archive", f"HDF5, as Keras writes.*{EXPORT}"),
    "keras": (lambda file: zipped(file, "metadata.json", "config.json", "model.weights.h5"), "not_an_archive", "a Keras model"),
    "compiled": (lambda file: zipped(file, "n/data/aotinductor/model/a.so"), "archive_entry_refused", "AOTInductor"),
    "gguf": (lambda file: file.write(b"GGUF\3\0\0\0"), "not_an_archive", "GGUF file, which holds weights"),
    "lite": (lambda file: file.write(b"\x1c\0\0\0TFL3"), "not_an_archive", "TensorFlow Lite model"),
    "executorch": (lambda file: file.write(b"\x1c\0\0\0ET12"), "not_an_archive", "ExecuTorch program"),
    "gzip": (lambda file: file.write(gzip.compress(b"x")), "not_an_archive", "gzip: unpack it first"),
    "empty": (lambda file: None, "not_an_archive", "file is empty"),
}


@pytest.mark.parametrize("kind", OTHER_FILES)
def test_clean_of_another_kind_of_file_names_the_kind_and_the_next_step(kind: str, tmp_path: Path) -> None:
    """A user who uploads the wrong file reads which file it is, and how to get an archive."""
    write_to, code, sentence = OTHER_FILES[kind]
    file = BytesIO()
    write_to(file)
    (tmp_path / "model.pt2").write_bytes(file.getvalue())
    with pytest.raises(ArchiveError, match=sentence) as refused:
        clean(tmp_path / "model.pt2", tmp_path / "clean")

    assert refused.value.code == code


@pytest.mark.parametrize(
    "name",
    [
        "model/../evil",
        "model/./evil",
        "/model/models/evil",
        "model//evil",
        "C:/evil",
        "model\\evil",
        "evil",
        "model/",
        "model/models/model.json\x00.so",
        "../model/evil",
        "model/extra/\x1b[2J",
        "model/extra/" + "a" * 600,
        "other/extra/evil",
    ],
)
def test_clean_of_an_entry_outside_the_root_refuses_it(name: str, entries: Entries, tmp_path: Path) -> None:
    """Paths that leave the root folder, or that look like another path, are refused."""
    write(entries, tmp_path / "model.pt2")
    with ZipFile(tmp_path / "model.pt2", "a") as file:
        info = ZipInfo("placeholder")
        info.filename = name
        file.writestr(info, b"x")

    assert refusal(tmp_path / "model.pt2") == "archive_entry_refused"


def test_clean_of_an_entry_that_is_there_twice_refuses_it(entries: Entries, tmp_path: Path) -> None:
    """Two readers of the zip could read different entries of the same name."""
    write(entries, tmp_path / "model.pt2")
    with warnings.catch_warnings(), ZipFile(tmp_path / "model.pt2", "a") as file:
        warnings.simplefilter("ignore")
        file.writestr("model/models/model.json", b"{}")

    assert refusal(tmp_path / "model.pt2") == "archive_entry_refused"


def test_clean_of_a_compressed_archive_refuses_it(entries: Entries, tmp_path: Path) -> None:
    """An uncompressed archive cannot grow when it is read."""
    write(entries, tmp_path / "model.pt2", compression=ZIP_DEFLATED)

    assert refusal(tmp_path / "model.pt2") == "archive_entry_refused"


def test_clean_of_a_symbolic_link_refuses_it(entries: Entries, tmp_path: Path) -> None:
    """A symbolic link in the zip is refused."""
    write(entries, tmp_path / "model.pt2")
    with ZipFile(tmp_path / "model.pt2", "a") as file:
        link = ZipInfo("model/extra/link")
        link.external_attr = 0o120777 << 16
        file.writestr(link, b"/etc/passwd")

    assert refusal(tmp_path / "model.pt2") == "archive_entry_refused"


def directory_field(content: bytes, offset: int, layout: str, value: int) -> bytes:
    """The archive with one field of its first entry in the table of contents changed."""
    start = table_of_contents(content) + offset
    return content[:start] + struct.pack(layout, value) + content[start + struct.calcsize(layout) :]


@pytest.mark.parametrize(
    ("offset", "layout", "value"),
    [(8, "<H", 1), (20, "<L", 1), (24, "<L", 1), (24, "<L", 0xFFFFFFFE), (10, "<H", 99)],
    ids=["encrypted", "smaller_stored", "smaller", "larger", "unknown_compression"],
)
def test_clean_of_an_entry_that_lies_about_its_storage_refuses_it(
    offset: int, layout: str, value: int, entries: Entries, tmp_path: Path
) -> None:
    """Sizes must agree with each other, and nothing may be encrypted or compressed."""
    write(entries, tmp_path / "model.pt2")
    content = (tmp_path / "model.pt2").read_bytes()
    (tmp_path / "model.pt2").write_bytes(directory_field(content, offset, layout, value))

    assert refusal(tmp_path / "model.pt2") == "archive_entry_refused"


def test_clean_of_entries_that_claim_more_than_the_file_refuses_them(entries: Entries, tmp_path: Path) -> None:
    """Sizes that agree with each other must also agree with the file."""
    write(entries, tmp_path / "model.pt2")
    content = (tmp_path / "model.pt2").read_bytes()
    content = directory_field(content, 20, "<L", 1 << 30)
    (tmp_path / "model.pt2").write_bytes(directory_field(content, 24, "<L", 1 << 30))

    assert refusal(tmp_path / "model.pt2") == "archive_entry_refused"


def test_clean_of_too_many_entries_refuses_them(entries: Entries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of entries is limited."""
    monkeypatch.setattr(reader, "MAX_ENTRIES", 5)

    assert refusal(write(entries, tmp_path / "model.pt2")) == "archive_too_large"


@pytest.mark.parametrize("limit", ["MAX_TEXT", "MAX_DIRECTORY"])
def test_clean_of_too_long_a_description_refuses_it(
    limit: str, entries: Entries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the table of contents nor the program's text may fill the memory."""
    monkeypatch.setattr(reader, limit, 100)

    assert refusal(write(entries, tmp_path / "model.pt2")) == "archive_too_large"


@pytest.mark.parametrize(
    ("name", "content"),
    [("archive_format", b"onnx"), ("archive_version", b"1"), ("byteorder", b"big"), ("archive_format", None)],
)
def test_clean_of_another_format_refuses_it(name: str, content: bytes | None, entries: Entries, tmp_path: Path) -> None:
    """The entries that mark the format must exist and have the expected content."""
    if content is None:
        del entries[name]
    else:
        entries[name] = content

    assert refusal(write(entries, tmp_path / "model.pt2")) == "not_an_archive"


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"graph_module": NaN}', b"\xed\xa0\x80"])
def test_clean_of_a_program_that_is_no_json_refuses_it(content: bytes, entries: Entries, tmp_path: Path) -> None:
    """Broken, deeply nested or foreign descriptions are refused."""
    entries["models/model.json"] = content

    assert refusal(write(entries, tmp_path / "model.pt2")) == "program_refused"


def test_clean_of_a_missing_file_is_the_callers_mistake(tmp_path: Path) -> None:
    """A missing file is not an ArchiveError, which is about the bytes of a file."""
    with pytest.raises(FileNotFoundError):
        clean(tmp_path / "nothing", tmp_path / "clean")


def test_chunks_of_a_large_entry_are_small(tmp_path: Path) -> None:
    """No weight is in memory as a whole."""
    entries: Entries = {"archive_format": b"pt2", "archive_version": b"0", "byteorder": b"little"}
    entries |= {"models/model.json": b"{}", "data/weights/weight_0": bytes(3 * reader.CHUNK + 1)}
    with reader.open_archive(write(entries, tmp_path / "model.pt2")) as archive:
        sizes = [len(chunk) for chunk in archive.chunks("data/weights/weight_0")]

    assert max(sizes) <= reader.CHUNK
    assert sum(sizes) == 3 * reader.CHUNK + 1
