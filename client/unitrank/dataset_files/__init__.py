"""Datasets as people have them, written as files that the service reads.

`dataset_file` takes arrays, frames, folders of images, files and datasets of other libraries.
"""

from unitrank.dataset_files.arrays import array_of, write_npz
from unitrank.dataset_files.dataset_file import Columns, dataset_file

__all__ = ["Columns", "array_of", "dataset_file", "write_npz"]
