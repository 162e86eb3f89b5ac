"""A baseline of drawn rows: the service counts the rows before it takes the job."""

from typing import Any

import httpx
import numpy as np
import pytest

from tests.service.conftest import assert_problem, job, put_dataset

FIELDS: dict[str, Any] = {"image": np.zeros((10, 1, 2, 2), np.uint8), "dark": np.arange(10) < 3, "y": np.arange(10) % 3}


@pytest.mark.parametrize("inline", [False, True])
def test_post_when_too_few_rows_are_marked_then_is_422_and_otherwise_a_job(inline: bool, client: httpx.Client) -> None:
    if inline:
        dataset: Any = {"fields": {name: values.tolist() for name, values in FIELDS.items()}}
    else:
        put_dataset(client, "marked", **FIELDS)
        dataset = "marked"

    def answer(count: int, where: str | None = "dark") -> httpx.Response:
        baseline = {"kind": "examples", "count": count, "where": where}
        return client.post("/v1/jobs?dry_run=true", json=job(dataset=dataset, baseline=baseline))

    problem = assert_problem(answer(4), 422, "too_few_examples", "/baseline/count")
    assert problem["detail"].startswith("4 rows cannot be drawn where field 'dark' is true, because it is true in 3")
    assert_problem(answer(11, None), 422, "too_few_examples", "/baseline/count")
    assert_problem(answer(2, "y"), 422, "wrong_dtype", "/baseline/where")
    assert answer(3).status_code == answer(10, None).status_code == 200
