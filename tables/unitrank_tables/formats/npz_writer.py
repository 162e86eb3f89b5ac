"""Writes an npz, the format of numpy.savez.

numpy.savez takes the arrays as keywords, so it cannot write an array named `file`, which is the
name of its first parameter.
"""

import zipfile
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

# A member of the archive needs zip64 if its data have at least this number of bytes: 2 GiB less
# 64 KiB for the header of the array.
LARGE = 2**31 - 2**16


def write_npz(file: IO[bytes], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write the arrays; the same arrays give the same bytes."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")
            with archive.open(member, "w", force_zip64=array.nbytes >= LARGE) as stream:
                np.lib.format.write_array(stream, np.asarray(array, order="C"), allow_pickle=False)
