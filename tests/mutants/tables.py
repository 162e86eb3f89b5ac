"""Mutators of tables: npz and safetensors files."""

import ast
import io
import struct
from random import Random
from zipfile import ZIP_DEFLATED, ZIP_STORED

import numpy as np
from safetensors.numpy import save

from tests.mutants import Mutator, documents, raw, zips

_SHAPES = [
    "()",
    "(4,)",
    "(0,)",
    "(4, 0)",
    "(-4,)",
    "(4.0,)",
    "(True,)",
    "[4]",
    "4",
    "(4, 1152921504606846976, 16)",
    "(4, 0, 9223372036854775808)",
]
_SHAPES += ["(" + "1, " * 40 + ")", "(4, None)", "(" * 200 + "4" + ")" * 200, "'4'", "(1099511627776, 0)", "(4, -1, -1)"]
_TYPES = [
    "'<f4'",
    "'>f8'",
    "'|b1'",
    "'<U0'",
    "'<U65535'",
    "'|S1'",
    "'|O'",
    "'<c8'",
    "'<M8[s]'",
    "'|V4'",
    "'f'",
    "'<i3'",
    "''",
    "None",
    "4",
]
_TYPES += ["[('a', '<f4')]", "'<U99999999999'", "('<f4', (2,))", "'<f4\\0'", "b'<f4'", "-" * 500 + "1", "'=f2'", "'<u8'"]


def npz(*, packed: bool) -> bytes:
    """An npz with fields of all kinds, one of them in Fortran order."""
    sink = io.BytesIO()
    np.savez(
        sink,
        x=np.arange(60, dtype=np.float32).reshape(4, 5, 3),
        f=np.asfortranarray(np.ones((4, 3), dtype=">f8")),
        y=np.arange(4),
        flag=np.arange(4) > 1,
        name=np.array(["a", "bc", "é", ""]),
        raw=np.array([b"a", b"\xff", b"", b"bc"]),
        many=np.zeros((4, 5000), dtype=np.int8),
    )
    # numpy writes the time into the archive, so that its bytes would differ in each run.
    return zips.zipped(zips.contents(sink.getvalue()), ZIP_DEFLATED if packed else ZIP_STORED)


def safetensors() -> bytes:
    """A safetensors file with three fields and metadata."""
    fields = {
        "x": np.arange(12, dtype=np.float32).reshape(4, 3),
        "n": np.arange(4, dtype=np.uint8),
        "h": np.ones((4, 2), np.float16),
    }
    return save(fields, {"made": "by hand"})


def npy_headers(random: Random, content: bytes) -> bytes:
    """Change the header of one array; the zip stays valid."""
    members = zips.contents(content)
    packed = len(content) < sum(len(inside) for _, inside in members)
    at = random.randrange(len(members))
    name, inside = members[at]
    members[at] = name, _other_header(random, inside)
    return zips.zipped(members, ZIP_DEFLATED if packed else ZIP_STORED)


def _other_header(random: Random, inside: bytes) -> bytes:
    length = int(struct.unpack_from("<H", inside, 8)[0])
    text, rest = inside[10 : 10 + length], inside[10 + length :]
    match random.randrange(5):
        case 0:
            text = _changed_text(random, text)
        case 1:
            length = random.choice([0, 1, length - 1, length + 1, 0xFFFF])
            return inside[:8] + struct.pack("<H", length) + text + rest
        case 2:
            return inside[:6] + bytes([random.choice([0, 1, 2, 3, 4, 255]), random.choice([0, 1])]) + inside[8:]
        case _:
            header = ast.literal_eval(text.decode("latin-1").strip())
            words = [repr(header[key]) for key in ("descr", "fortran_order", "shape")]
            place = random.randrange(3)
            words[place] = random.choice((_TYPES, ["False", "True", "0", "None"], _SHAPES)[place])
            text = "{{'descr': {}, 'fortran_order': {}, 'shape': {}, }}\n".format(*words).encode()
    return inside[:8] + struct.pack("<H", len(text)) + text + rest


def _changed_text(random: Random, text: bytes) -> bytes:
    begin = random.randint(0, len(text))
    end = random.randint(begin, min(begin + 8, len(text)))
    return text[:begin] + random.choice([b"", b"(" * 100, b"\0", b"\xff", b"9", b"-", b",", b"'", b"{", b"9" * 5000]) + text[end:]


def safetensors_headers(random: Random, content: bytes) -> bytes:
    """Change the JSON of the header. Its stated length is sometimes wrong, too."""
    length = int.from_bytes(content[:8], "little")
    header = documents.text(random, content[8 : 8 + length])
    claimed = random.choice([len(header)] * 60 + [length, len(header) + 1, *raw.NUMBERS])
    return claimed.to_bytes(8, "little") + header + content[8 + length :]


def safetensors_texts(random: Random, content: bytes) -> bytes:
    """Change the text of the header, which then may not be JSON."""
    length = int.from_bytes(content[:8], "little")
    header = _changed_text(random, content[8 : 8 + length])
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


NPZ: dict[str, Mutator] = {
    "bytes": raw.some_bytes,
    "pieces": raw.a_piece,
    "records": zips.records,
    "entries": zips.entries,
    "headers": npy_headers,
}
SAFETENSORS: dict[str, Mutator] = {
    "bytes": raw.some_bytes,
    "pieces": raw.a_piece,
    "headers": safetensors_headers,
    "texts": safetensors_texts,
}
