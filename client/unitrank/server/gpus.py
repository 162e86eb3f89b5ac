"""The GPUs of this machine, found with `nvidia-smi`: a supervisor must not import torch."""

import re
import runpy
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

LISTED = re.compile(r"^\s*(GPU|MIG) .*\(UUID: ([^)\s]+)\)\s*$")
"""A line of `nvidia-smi -L`. The lines of MIG devices follow the line of their GPU."""
LIST_SECONDS = 20.0
"""Seconds after which a driver that does not answer counts as broken."""
NO_GPU = ("", "-1", "NoDevFiles")
"""Values of CUDA_VISIBLE_DEVICES that hide all GPUs on purpose."""


class Gpus(NamedTuple):
    """The GPUs that workers can use.

    `ids`: an entry of CUDA_VISIBLE_DEVICES for each GPU, or for each MIG device of a divided GPU.
    `fault`: why this machine's GPUs are not used, with the next step; None without a fault.
    """

    ids: tuple[str, ...] = ()
    fault: str | None = None


def find_gpus(environment: Mapping[str, str]) -> Gpus:
    """The GPUs that CUDA_VISIBLE_DEVICES names. Without this variable: all GPUs of the machine."""
    allowed = environment.get("CUDA_VISIBLE_DEVICES")
    program = shutil.which("nvidia-smi", path=environment.get("PATH"))
    if program is None or allowed in NO_GPU:
        return Gpus()
    try:
        gpus = _listed(program)
    except (OSError, subprocess.SubprocessError) as error:
        reason = str(getattr(error, "stdout", None) or error).strip()
        return Gpus(fault=f"`nvidia-smi -L` failed, so no GPU is used: {reason}")
    if gpus and not _torch_has_cuda():
        return Gpus(fault=f"{len(gpus)} GPUs are not used, because the installed PyTorch has no CUDA: install its CUDA build")
    if allowed is None:
        return Gpus(tuple(id for gpu in gpus for id in gpu[1:] or gpu))
    ids = _visible(allowed, gpus)
    unknown = f"CUDA_VISIBLE_DEVICES={allowed} names no GPU of this machine; `nvidia-smi -L` lists the GPUs"
    return Gpus(ids, None if ids else unknown)


def _listed(program: str) -> list[list[str]]:
    """For each GPU its UUID, and after it the UUIDs of its MIG devices."""
    listing = subprocess.run([program, "-L"], capture_output=True, text=True, errors="replace", check=True, timeout=LIST_SECONDS)
    gpus: list[list[str]] = []
    for kind, uuid in (match.groups() for match in map(LISTED.match, listing.stdout.splitlines()) if match):
        if kind == "GPU":
            gpus.append([])
        gpus[-1].append(uuid)
    return gpus


def _visible(allowed: str, gpus: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The entries of CUDA_VISIBLE_DEVICES before the first invalid one: CUDA ignores the rest.

    An entry is a GPU's number, or the beginning of a UUID.
    """
    uuids = [uuid for gpu in gpus for uuid in gpu]
    entries: list[str] = []
    for entry in map(str.strip, allowed.split(",")):
        is_number = entry.isdecimal() and int(entry) < len(gpus)
        if not is_number and not (entry.startswith(("GPU-", "MIG-")) and any(uuid.startswith(entry) for uuid in uuids)):
            break
        entries.append(entry)
    return tuple(dict.fromkeys(entries))


def _torch_has_cuda() -> bool:
    """Whether the installed PyTorch is a build with CUDA. Only its file of versions is run."""
    package = find_spec("torch")
    if package is None or package.origin is None:
        return False
    return runpy.run_path(str(Path(package.origin).with_name("version.py"))).get("cuda") is not None
