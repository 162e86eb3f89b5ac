"""Vets uploaded `.pt2` archives and loads them into torch.

A `.pt2` archive is the zip that `torch.export.save` writes. Its entry `models/model.json` describes
a graph: a list of nodes, each of which calls one operator on the results of earlier nodes. Further
entries hold the weights as raw bytes.

torch trusts an archive: it imports classes that the description names, evaluates expressions in it
and unpickles some entries. An upload is therefore loaded in two steps:

1. `clean` reads the upload as plain bytes, checks each part against an allow-list, and writes a new
   archive from the parts that passed.
2. `load` gives the new archive, never the upload, to torch.

`allow_operators` extends the list of operators that a node may call.

>>> import pickle
>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder:
...     upload = Path(folder, "model.pt2")
...     size = upload.write_bytes(pickle.dumps({"weight": 1}))
...     digest = clean(upload, Path(folder, "clean.pt2"))
Traceback (most recent call last):
    ...
unitrank_engine.archive.errors.ArchiveError: the file is a pickle, which can run code when it is
read: export the network with unitrank.export or torch.export.save, and upload that archive
"""

from unitrank_engine.archive.description.operators import allow_operators
from unitrank_engine.archive.errors import ArchiveError
from unitrank_engine.archive.loading import load
from unitrank_engine.archive.mark import add_mark, has_mark
from unitrank_engine.archive.named_heads import add_heads, heads_in
from unitrank_engine.archive.vetting import clean

__all__ = ["ArchiveError", "add_heads", "add_mark", "allow_operators", "clean", "has_mark", "heads_in", "load"]
