"""The number of round trips to the store that a POST of a new job takes."""

import httpx
import pytest

from tests.service.conftest import job
from tests.support.round_trips import recorded_round_trips

REQUEST_THREADS = "AnyIO worker thread"
"""Name of the threads that handle requests; other threads read the store, too."""


@pytest.mark.usefixtures("served")
def test_post_of_a_new_job_takes_nine_round_trips(client: httpx.Client) -> None:
    # The first job reads the values of the dataset, and sends the scripts.
    assert client.post("/v1/jobs", json=job()).status_code == 202
    with recorded_round_trips(REQUEST_THREADS) as packets:
        assert client.post("/v1/jobs", json=job(seed=1)).status_code == 202

    # Keys; model and dataset; equal jobs; limits; watch, read and write; the place in the queue,
    # which takes 2, because another job waits before this one.
    assert len(packets) <= 9, packets
