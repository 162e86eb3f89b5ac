"""`unitrank up` for a random user without a home, with a read-only root file system."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from httpx import get
from torch import nn

from tests.support.processes import line_with
from tests.support.restricted_user import STATE, USER, needs_root, restricted
from unitrank.client.sync import Client
from unitrank.exporting import export

pytestmark = [needs_root, pytest.mark.check, pytest.mark.timeout(300)]


def test_up_when_only_the_state_folder_is_writable_then_a_job_a_plot_and_a_report_succeed(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    # Owned by root, and writable for the group, as a volume of Kubernetes.
    state.chmod(0o2770)
    export(nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)), torch.zeros(2, 3), tmp_path / "net.pt2")
    x = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    np.savez_compressed(tmp_path / "data.npz", x=x)
    environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    environment |= {"HOME": "/nonexistent", "UNITRANK_STATE": STATE, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    command = restricted([sys.executable, "-P", "-m", "unitrank", "up", "--port", "0"], state)

    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, cwd="/") as process:
        try:
            assert process.stderr is not None
            url = line_with("ready on", iter(process.stderr)).split()[2]
            with Client(url) as client:
                client.models.put("m", tmp_path / "net.pt2")
                client.datasets.put("d", tmp_path / "data.npz")
                request = {"model": "m", "layer": "1", "methods": ["gradient"], "target": {"class": 0}}
                clusters = {"by": "kmeans", "k": 2, "layer": "0"}
                jobs = [
                    client.jobs.submit({**request, "dataset": "d", "clusters": clusters}).wait(),
                    client.jobs.submit({**request, "dataset": {"fields": {"x": x[:20].tolist()}}}).wait(),
                ]
            pictures = [get(f"{url}/v1/jobs/{job.id}/plots/ablation.png", trust_env=False, timeout=60).content for job in jobs]
            report = get(f"{url}/v1/jobs/{jobs[0].id}/report", trust_env=False, timeout=60).text
        finally:
            process.send_signal(signal.SIGINT)
            output = process.stderr.read()

    assert all(picture.startswith(b"\x89PNG") for picture in pictures)
    assert "<html" in report
    assert process.returncode == 0, output
    assert "Traceback" not in output
    assert "Warning" not in output
    assert {path.stat().st_uid for path in state.iterdir()} == {USER}
