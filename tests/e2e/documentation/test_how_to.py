"""Runs the blocks of docs/how-to.md, in their order and in one session."""

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

PAGE = (Path(__file__).parents[3] / "docs" / "how-to.md").read_text()
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(sh|python)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.check


def test_page_when_its_blocks_run_in_order_then_none_fails(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "people.csv").write_text("age,height,label\n30,1.5,0\n40,1.75,1\n")
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 24), nn.ReLU(), nn.Linear(24, 3))
    deep = nn.Sequential(nn.Linear(4, 24), nn.ReLU(), nn.Linear(24, 12), nn.ReLU(), nn.Linear(12, 3))
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    session = {"url": url, "network": network, "deep": deep, "x": x, "y": np.arange(60) % 3}
    variables = os.environ | {"UNITRANK_URL": url, "PATH": f"{Path(sys.prefix, 'bin')}:{os.environ['PATH']}"}

    for number, (kind, code) in enumerate(BLOCKS):
        if kind == "python":
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(code, f"docs/how-to.md, block {number}", "exec"), session)
        else:
            done = subprocess.run(["sh", "-euc", code], env=variables, capture_output=True, text=True, check=False)
            assert done.returncode == 0, code + done.stdout + done.stderr

    assert len(re.findall(r"^## ", PAGE, re.MULTILINE)) == 22
