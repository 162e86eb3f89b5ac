"""Writes an npz, the format of numpy.savez.

numpy.savez itself takes the arrays as keywords, so that it cannot write one named `file`.
"""

import zipfile
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

# Bytes of data from which on a member of the archive needs zip64: 2 GiB less the header of the
# array, which takes less than 64 KiB.
LARGE = 2**31 - 2**16


def write_npz(file: IO[bytes], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write the arrays; the same arrays give the same bytes."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")
            with archive.open(member, "w", force_zip64=array.nbytes >= LARGE) as stream:
                np.lib.format.write_array(stream, np.asarray(array, order="C"), allow_pickle=False)
