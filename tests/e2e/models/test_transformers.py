"""A saved Transformers model: its weights and configuration are uploaded, and a layer is ranked."""

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.e2e.conftest import ended
from tests.support.transformers import BERT, saved

pytest.importorskip("transformers")
BYTES = {"Content-Type": "application/octet-stream"}


@pytest.mark.check
def test_saved_model_when_uploaded_with_its_configuration_then_a_layer_is_ranked(http: httpx.Client, tmp_path: Path) -> None:
    _, config = saved(tmp_path, BERT, "BertForSequenceClassification")
    config["id2label"] = {str(index): f"a class with a long name {index}" for index in range(1000)}
    put = http.put(
        "/v1/models/saved",
        params={"architecture": "transformers", "arguments": json.dumps({"config": config})},
        content=(tmp_path / "model.safetensors").read_bytes(),
        headers=BYTES,
    )
    assert put.status_code == 202, put.text
    rejected = ended(http, "/v1/models/saved")
    assert rejected["problem"]["code"] == "weights_refused", "the labels set the number of classes to 1000"
    del config["id2label"], config["label2id"]
    http.put(
        "/v1/models/saved",
        params={"architecture": "transformers", "arguments": json.dumps({"config": {**config, "num_labels": 3}})},
        content=(tmp_path / "model.safetensors").read_bytes(),
        headers=BYTES,
    )
    model = ended(http, "/v1/models/saved")
    assert model["status"] == "ready", model
    ids = np.random.default_rng(0).integers(1, 20, (40, 12))
    job: dict[str, Any] = {
        "model": "saved",
        "layer": "bert.encoder.layer.0.intermediate",
        "methods": ["gradient_x_activation"],
        "dataset": {"fields": {"ids": ids.tolist(), "mask": np.ones_like(ids).tolist()}},
        "inputs": {"input_ids": "ids", "attention_mask": "mask"},
    }

    posted = http.post("/v1/jobs", json=job)

    assert posted.status_code == 202, posted.text
    job_state = ended(http, f"/v1/jobs/{posted.json()['id']}")
    assert job_state["status"] == "succeeded", job_state


def test_saved_model_when_its_configuration_asks_for_code_then_it_is_rejected(http: httpx.Client, tmp_path: Path) -> None:
    _, config = saved(tmp_path, BERT, "BertForSequenceClassification")
    config["auto_map"] = {"AutoModel": "modeling.Model"}

    http.put(
        "/v1/models/code",
        params={"architecture": "transformers", "arguments": json.dumps({"config": config})},
        content=(tmp_path / "model.safetensors").read_bytes(),
        headers=BYTES,
    )

    problem = ended(http, "/v1/models/code")["problem"]
    assert problem["code"] == "architecture_refused"
    assert "config.auto_map asks for code" in problem["detail"]
