"""JSON Pointers (RFC 6901): the place of a value in a JSON document."""


def pointer(*steps: str | int) -> str:
    """The pointer to the place that these keys and indices lead to."""
    return "".join(f"/{escaped(str(step))}" for step in steps)


def escaped(step: str) -> str:
    """One step as a pointer writes it."""
    return step.replace("~", "~0").replace("/", "~1")


def steps(pointer: str) -> list[str]:
    """The keys and indices of a pointer, each as text."""
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
