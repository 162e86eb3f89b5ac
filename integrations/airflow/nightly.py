"""A DAG that ranks the units of a network every night, and fails if the ranking is not good enough.

Put this file and `airflow_unitrank.py` into the folder of the DAGs.
"""

from datetime import datetime, timedelta

from airflow_unitrank import RankUnits, check_ranking

try:
    from airflow.sdk import dag  # 3
except ImportError:
    from airflow.decorators import dag  # 2

REQUEST = {"model": "net", "layer": "relu1", "dataset": "holdout", "methods": ["conductance"], "clusters": {"by": "label"}}


@dag(schedule="@daily", start_date=datetime(2026, 1, 1), catchup=False, default_args={"retry_delay": timedelta(minutes=1)})
def unitrank_nightly() -> None:
    rank = RankUnits(task_id="rank", request=REQUEST, timeout=1200, retries=3)
    check_ranking(rank.output, {"max_gap": 0.05, "max_p": 0.05})


unitrank_nightly()
