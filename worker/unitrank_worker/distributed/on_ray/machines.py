"""The machines of a Ray cluster that can compute."""

from typing import Any, NamedTuple


class Machine(NamedTuple):
    """A machine. `place`: its address. `options`: of an actor there. `capacity`: of actors."""

    place: str
    options: dict[str, Any]
    capacity: int


def machines() -> dict[str, Machine]:
    """Ray's id of a machine → the machine. Machines with GPUs are preferred to all others."""
    import ray

    alive = [node for node in ray.nodes() if node["Alive"]]
    kind = "GPU" if any(node["Resources"].get("GPU") for node in alive) else "CPU"
    options = {"num_gpus": 1, "num_cpus": 0} if kind == "GPU" else {"num_cpus": 1}
    return {
        node["NodeID"]: Machine(node["NodeManagerAddress"], options, int(node["Resources"].get(kind, 0)))
        for node in alive
        if node["Resources"].get(kind)
    }
