"""A step of a pipeline: put this build's network and data, rank its units, and stop where the ranking is no better than chance.

It runs as another service would, with the client alone: `python examples/pipeline.py net.pt2 holdout.npz --layer relu1`, with
UNITRANK_URL and UNITRANK_KEY in the environment. `--idempotency-key` is to be this attempt's own name: what is sent twice under
it is one job. The exit code is 0 where the gate is met, 1 where it is not or the job failed, 2 where the request is wrong, 3
where nobody answers and 124 where it took too long. `unitrank submit` and `unitrank gate` do the same without Python.
"""

import argparse
import os
import sys
from pathlib import Path

from unitrank import Client, UnitrankError
from unitrank.cli.gate import Bounds, checks
from unitrank.client.sync import DEFAULT_URL

RANKING = "conductance"
BOUNDS = Bounds(min_better_than_random=0.9, max_p=0.05, max_gap=0.05)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="what unitrank.export wrote")
    parser.add_argument("data", type=Path, help="an .npz with x and y, of examples that the network was not trained on")
    parser.add_argument("--layer", required=True)
    parser.add_argument("--idempotency-key", help="such as the run's id and the attempt's number")
    parser.add_argument("--timeout", type=float, default=1200, help="seconds")
    arguments = parser.parse_args()
    try:
        with Client(os.environ.get("UNITRANK_URL", DEFAULT_URL), os.environ.get("UNITRANK_KEY")) as client:
            model = client.models.put(arguments.model.stem, arguments.model)
            data = client.datasets.put(arguments.data.stem, arguments.data)
            job = client.jobs.submit(
                # the exact contents: another build may have put its own under the same names meanwhile
                model=f"{model.name}@{model.digest}",
                dataset=f"{data.name}@{data.digest}",
                layer=arguments.layer,
                methods=[RANKING, "gradient_x_delta"],
                clusters={"by": "label"},
                idempotency_key=arguments.idempotency_key,
            )
            result = job.wait(arguments.timeout).summary()
    except UnitrankError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"job {job.id}, {RANKING}")
    conditions = checks(result, BOUNDS, RANKING)
    for check in conditions:
        print(f"{'met' if check.met else 'NOT MET':<8} {check.condition}: {check.value}")
    return 0 if all(check.met for check in conditions) else 1


if __name__ == "__main__":
    sys.exit(main())
