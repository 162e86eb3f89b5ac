"""Measure the upload of a large dataset over loopback, and the service's memory during the upload.

`python -m benchmarks.service.upload [--bytes 1073741824]`: curl sends the file. Goals: 200 MB/s,
and the service's memory does not grow.
"""

import argparse
import hashlib
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.support.memory import PeakMemory
from benchmarks.support.running import running_without_workers
from unitrank.addresses import url_of

ROW = 784


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bytes", type=int, default=1 << 30, help="size of the dataset")
    size = parser.parse_args().bytes
    with running_without_workers() as (settings, service), tempfile.TemporaryDirectory(prefix="unitrank-upload-") as folder:
        url = url_of(settings.host, settings.port)
        file = Path(folder) / "x.npz"
        np.savez(file, x=np.random.default_rng(0).integers(0, 255, (size // ROW, ROW), np.uint8))
        began = time.perf_counter()
        with file.open("rb") as opened:
            hashlib.file_digest(opened, "sha256")
        print(f"sha256 alone    {_rate(file, began):6.0f} MB/s")
        for number in range(3):
            with PeakMemory(service) as peak:
                began = time.perf_counter()
                _put(file, f"{url}/v1/datasets/x{number}")
                rate = _rate(file, began)
            print(f"upload          {rate:6.0f} MB/s, memory {peak.before / 1e6:.0f} MB before, at most {peak.most / 1e6:.0f} MB")


def _put(file: Path, url: str) -> None:
    command = ["curl", "-sS", "--fail", "-T", str(file), "-H", "Content-Type: application/octet-stream", "-o", "/dev/null", url]
    subprocess.run(command, check=True)


def _rate(file: Path, began: float) -> float:
    """Megabytes per second since `began`."""
    return file.stat().st_size / (time.perf_counter() - began) / 1e6


if __name__ == "__main__":
    main()
