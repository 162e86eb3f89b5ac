"""A step of a pipeline: upload a network and data, rank the units, and fail if the ranking is bad.

The step needs only the client of Unitrank. Set UNITRANK_URL and UNITRANK_KEY, and run
`python examples/pipeline.py net.pt2 holdout.npz --layer relu1`. Give each attempt of the step its
own `--idempotency-key`: repeating the command with the same key does not start a second job.

The exit code is 0 if the ranking meets all conditions; 1 if it does not, or the job failed; 2 if
the request is wrong or the verdict is undecided; 3 if the service does not answer; 124 after the
timeout. `unitrank submit` and `unitrank gate` do the same in a shell.
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
    parser.add_argument("model", type=Path, help="archive that unitrank.export wrote")
    parser.add_argument("data", type=Path, help=".npz file with x and y, of examples that the network was not trained on")
    parser.add_argument("--layer", required=True, help="layer whose units are ranked")
    parser.add_argument("--idempotency-key", help="for example the run's id and the number of the attempt")
    parser.add_argument("--timeout", type=float, default=1200, help="seconds to wait for the job")
    arguments = parser.parse_args()
    try:
        with Client(os.environ.get("UNITRANK_URL", DEFAULT_URL), os.environ.get("UNITRANK_KEY")) as client:
            model = client.models.put(arguments.model.stem, arguments.model)
            data = client.datasets.put(arguments.data.stem, arguments.data)
            job = client.jobs.submit(
                # The digests name the exact contents: another build may use the same names now.
                model=f"{model.name}@{model.digest}",
                dataset=f"{data.name}@{data.digest}",
                layer=arguments.layer,
                methods=[RANKING, "gradient_x_delta"],
                clusters={"by": "label"},
                idempotency_key=arguments.idempotency_key,
            )
            result = job.wait(arguments.timeout).summary()
        print(f"job {job.id}, {RANKING}")
        # An undecided verdict meets no condition: that is an error, which names the reason.
        conditions = checks(result, BOUNDS, RANKING)
    except UnitrankError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    for check in conditions:
        print(f"{'met' if check.met else 'NOT MET':<8} {check.condition}: {check.value}")
    return 0 if all(check.met for check in conditions) else 1


if __name__ == "__main__":
    sys.exit(main())
