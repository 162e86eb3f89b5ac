"""The example of each schema in the OpenAPI document."""

from typing import Any

from unitrank_schemas.methods import METHODS, card
from unitrank_service.openapi.examples.contents import DATASET, DATASET_ROW, DATASET_STATISTICS, ID, MODEL
from unitrank_service.openapi.examples.jobs import complete_request, delivery, job
from unitrank_service.openapi.examples.results import comparison, layered_result, result, unit

# Examples are JSON objects.
Json = dict[str, Any]

STORE_WARNING: Json = {
    "code": "eviction",
    "detail": "the server deletes keys when its memory is full (maxmemory-policy allkeys-lru), and jobs are lost then; "
    "set maxmemory-policy noeviction",
}


def examples_by_schema() -> dict[str, Json]:
    """Return the name of each schema in the document → an example of it."""
    cards = {name: card(name).model_dump(mode="json") for name in METHODS}
    worker = {"name": "cpu-0", "device": "cpu", "queue": "unitrank-jobs", "memory": 812_000_000, "children": 2, "job": None}
    worker["models"] = ["mnist"]
    return {
        "Model": MODEL,
        "Dataset": DATASET,
        "DatasetRow": DATASET_ROW,
        "DatasetStatistics": DATASET_STATISTICS,
        "Job": job(),
        "JobChange": {"metadata": {"name": "relu1, all digits", "tags": ["paper"], "notes": None}},
        "DryRun": {"request": complete_request(), "estimate": {"passes": 1_240_000, "seconds": 18.5, "result_bytes": 161_520}},
        "Result": result(),
        "LayeredResult": layered_result(),
        "JobComparison": comparison(),
        "UnitResult": unit(),
        "ClassNames": {"classes": {"0": "cat", "3": "dog"}},
        "MethodCard": cards["conductance"],
        "Page_Model_": {"items": [MODEL], "next": None},
        "Page_Dataset_": {"items": [DATASET], "next": None},
        "Page_Job_": {"items": [job()], "next": ID},
        "Page_MethodCard_": {"items": list(cards.values()), "next": None},
        "Health": {"status": "ok"},
        "Readiness": {"status": "ok", "warnings": [STORE_WARNING]},
        "Workers": {"items": [worker], "next": None},
        "Version": {"version": "0.2.0", "api": "v1"},
        "Page_Delivery_": {"items": [delivery()], "next": None},
        "Location": {"uri": "s3://bucket/model.pt2"},
    }
