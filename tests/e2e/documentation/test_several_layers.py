"""Runs the blocks of docs/several-layers.md, in their order and in one session."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import unitrank
from unitrank.server.demo_network import digits, train

PAGE = (Path(__file__).parents[3] / "docs" / "several-layers.md").read_text()
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(sh|python|json)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.check


def test_page_when_its_blocks_run_in_order_then_none_fails(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scans = digits(seed=0)
    session: dict[str, Any] = {"url": url, "network": train(scans, seed=0)[0], "x": scans.test[0], "y": scans.test[1]}
    variables = os.environ | {"UNITRANK_URL": url, "PATH": f"{Path(sys.prefix, 'bin')}:{os.environ['PATH']}"}

    for number, (kind, code) in enumerate(BLOCKS):
        if kind == "python":
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(code, f"docs/several-layers.md, block {number}", "exec"), session)
        elif kind == "sh":
            done = subprocess.run(["sh", "-euc", code], env=variables, capture_output=True, text=True, check=False)
            assert done.returncode == 0, code + done.stdout + done.stderr
            assert "| all layers together | 84 |" in done.stdout or "all layers together" in done.stdout
        else:
            with unitrank.Client(url) as client:
                assert client.jobs.dry_run(json.loads(code)).request.layers == ["relu1", "relu3"]

    session["client"].close()
    assert {kind for kind, _ in BLOCKS} == {"sh", "python", "json"}
