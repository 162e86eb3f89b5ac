"""Where in the network is a digit decided? Three layers in one job, and their units together.

A small CNN learns scikit-learn's scans of handwritten digits. One job ranks the channels of every
ReLU for each digit, and the channels of all layers together. The script prints the table over the
layers; for each digit the selectivity of each layer, and how many channels keep 90 % of the score;
and the most important channels of the whole network for one digit.

Run `python examples/layers.py`; the script takes 15 seconds.
"""

import argparse

import unitrank
from unitrank.server.demo_network import digits, train

PATTERN = "relu*"
METHODS = ["exact_ablation", "gradient_x_delta"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--digit", default="8", choices=[str(digit) for digit in range(10)], help="digit of the last line")
    digit = parser.parse_args().digit
    scans = digits(seed=0)
    network, _ = train(scans, seed=0)
    x, y = scans.test

    result = unitrank.rank(network, PATTERN, x, y, units="channel", methods=METHODS, joint=True, ablation={"random": 49})
    print(result)
    show_digits(result)
    show_units(result, digit)


def show_digits(result: unitrank.JobResult) -> None:
    """Prints for each digit and layer the selectivity, and the channels that keep 90 %."""
    print("digit | " + " | ".join(f"{layer:15}" for layer in result).rstrip())
    for cluster in result.clusters:
        lines = [line for line in result.table(cluster=cluster.name, ranking=METHODS[0]) if line.layer in result]
        cells = [f"{line.selectivity or 0:.2f}, {line.units_for_90 or '–':>2} of {line.count}" for line in lines]
        print(f"{cluster.name:5} | " + " | ".join(f"{cell:15}" for cell in cells).rstrip())


def show_units(result: unitrank.JobResult, digit: str) -> None:
    """Prints the most important channels of all layers together."""
    assert result.joint is not None
    units = result.joint.top(6, METHODS[0])[digit]
    print(f"digit {digit}: {', '.join(f'{result.joint.name_of(unit)} ({unit.importance:+.2f})' for unit in units)}")


if __name__ == "__main__":
    main()
